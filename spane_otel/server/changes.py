"""One poll of the change feed for all live pages of a service."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

from msgspec import Struct

from spane_otel.errors import InvalidValueError, StoreUnavailableError
from spane_otel.records import Change
from spane_otel.stores.protocols import Store

_log: Final = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.25
OUTAGE_SECONDS: Final = 1.0
"""How long to wait before asking a store again that did not answer."""
PENDING_LIMIT: Final = 256
"""A listener that is slower than this many different changes is told to look at everything instead."""

Kind = Literal["spans", "logs", "execution"]
EVERYTHING: Final[tuple[Change, ...]] = tuple(Change(kind) for kind in get_args(Kind))
"""Changes that name nothing: look at all of it again."""


class Delivery(Struct, frozen=True):
    """What a listener has to be told now."""

    available: bool | None
    """Whether the store answers, if that is news."""
    changes: Sequence[Change]
    cursor: str | None
    """Where to resume once all of `changes` was seen."""
    resume: str | None
    """Where to resume until then."""


class Listener:
    """One live page: what it wants to hear, and what it has not heard yet; bounded, duplicates fall together."""

    def __init__(self, execution_id: str | None, trace_id: str | None, cursor: str | None) -> None:
        self.execution_id: Final = execution_id
        self.trace_id: Final = trace_id
        self.trace_ids: set[str] = set()
        """The traces of `execution_id`: their changes may name no execution."""
        self.joined = False
        self.closed = False
        self.cursor = cursor
        self._resume = cursor
        self._available: bool | None = None
        self._told: bool | None = None
        self._pending: dict[Change, None] = {}
        self._news: Final = asyncio.Event()

    def matches(self, change: Change) -> bool:
        """Whether this listener asked for `change`; one that names nothing is for everybody."""
        if change.execution_id is None and change.trace_id is None:
            return True
        if self.execution_id is not None:
            if change.execution_id == self.execution_id:
                if change.trace_id is not None:
                    self.trace_ids.add(change.trace_id)
            elif change.trace_id not in self.trace_ids:
                return False
        return self.trace_id in (None, change.trace_id)

    def push(self, cursor: str | None, changes: Iterable[Change]) -> None:
        """Note what was committed up to `cursor`."""
        self.cursor = cursor
        for change in changes:
            if self.matches(change) and Change(change.kind) not in self._pending:
                self._pending[change] = None
        if len(self._pending) > PENDING_LIMIT:
            self._pending = dict.fromkeys(Change(change.kind) for change in self._pending)
        if self._pending:
            self._news.set()

    def tell(self, *, available: bool) -> None:
        """Note whether the store answers."""
        self._available = available
        if available != self._told:
            self._news.set()

    def close(self) -> None:
        self.closed = True
        self._news.set()

    async def wait(self) -> None:
        """Return once there is something to take, or the listener is closed."""
        await self._news.wait()

    def take(self) -> Delivery:
        """Return what there is to tell, and forget it."""
        self._news.clear()
        available = self._available if self._available != self._told else None
        delivery = Delivery(available, list(self._pending), self.cursor, self._resume)
        self._pending.clear()
        self._told, self._resume = self._available, self.cursor
        return delivery


class ChangeHub:
    """Polls the store's change feed while somebody listens, and tells each listener what it asked for.

    An outage of the store ends no stream: listeners hear that it does not answer, later that it does, and nothing of
    what was committed meanwhile is missed.
    """

    def __init__(self, store: Store, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._store: Final = store
        self._poll_seconds: Final = poll_seconds
        self._listeners: dict[Listener, None] = {}
        self._cursor: str | None = None
        self._wake: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(
        self, execution_id: str | None = None, trace_id: str | None = None, cursor: str | None = None
    ) -> Listener:
        """Return a listener; give it back with `leave`.

        With a cursor it hears what was committed since, else what is committed from the moment on at which it first
        hears that the store is available.
        """
        listener = Listener(execution_id, trace_id, cursor)
        if self._closed:
            listener.close()
            return listener
        self._listeners[listener] = None
        self._wake.set()
        if self._task is None:
            self._cursor = None
            self._task = asyncio.create_task(self._run(), name="spane-changes")
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def aclose(self) -> None:
        """End every stream and stop polling."""
        self._closed = True
        task, self._task = self._task, None
        for listener in list(self._listeners):
            listener.close()
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            pause = self._poll_seconds
            self._wake.clear()
            try:
                await self._poll()
            except StoreUnavailableError:
                pause = OUTAGE_SECONDS
                self._tell(available=False)
            except Exception:  # noqa: BLE001 - live pages outlive any failure of the store
                _log.exception("polling the change feed failed")
                pause = OUTAGE_SECONDS
                self._tell(available=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _tell(self, *, available: bool) -> None:
        for listener in self._listeners:
            listener.tell(available=available)

    async def _poll(self) -> None:
        try:
            self._cursor, changes = await self._store.poll_changes(self._cursor)
        except InvalidValueError:
            _log.warning("the change feed begins anew: another database seems to stand behind the same address")
            self._cursor, _ = await self._store.poll_changes()
            changes = list(EVERYTHING)
        for listener in list(self._listeners):
            if listener.joined:
                listener.push(self._cursor, changes)
            else:
                await self._join(listener)
            listener.tell(available=True)

    async def _join(self, listener: Listener) -> None:
        """Bring a new listener up to the hub's cursor; what it is told twice does no harm."""
        if listener.execution_id is not None:
            execution = await self._store.get_execution(listener.execution_id)
            listener.trace_ids.update(execution.trace_ids if execution is not None else ())
        if listener.cursor is None:
            listener.push(self._cursor, ())
        else:
            try:
                listener.push(*await self._store.poll_changes(listener.cursor))
            except InvalidValueError:
                listener.push(self._cursor, EVERYTHING)
        listener.joined = True
