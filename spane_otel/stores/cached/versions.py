"""Workflow versions in memory: only pairs of workflow and number, which can't change, so none is ever out of date.

Which version is current is asked of the store each time: what one process saves, another pins at once.
"""

import asyncio
import threading
from typing import Final

from msgspec import Struct

from spane_otel.clock import Clock, SystemClock
from spane_otel.errors import ConfigurationError
from spane_otel.state import Workflow
from spane_otel.stores.state_protocols import WorkflowStore

_MILLISECOND: Final = 1_000_000


class WorkflowCacheOptions(Struct, frozen=True, kw_only=True):
    """How much of a store's workflow versions is kept in memory; SPANE's defaults.

    Raises:
        ConfigurationError: a number is below 0.

    """

    max_size: int = 1_000
    """Versions kept; the one that was not asked for longest goes first. 0: none is kept."""
    ttl_ms: int = 7_200_000
    """Milliseconds after which a version is read again, two hours: bounds what is kept, for it never changes."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise ConfigurationError(f"WorkflowCacheOptions.{name} must not be negative")


class WorkflowCache:
    """Reads versions of workflows through memory; may be used from any thread and event loop.

    The same object is handed to everybody who asks: nobody may change it.
    """

    def __init__(
        self, store: WorkflowStore, options: WorkflowCacheOptions | None = None, *, clock: Clock | None = None
    ) -> None:
        self._store: Final = store
        self._options: Final = options or WorkflowCacheOptions()
        self._clock: Final = clock or SystemClock()
        self._lock: Final = threading.Lock()
        self._held: Final[dict[tuple[str, int], _Held]] = {}
        """The one that was not asked for longest stands first."""
        self._reading: Final[dict[_Reading, asyncio.Task[Workflow | None]]] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def get(self, workflow_id: str, version: int) -> Workflow | None:
        """Return a version of a workflow, None if there is none; many who miss it at once read it once.

        A version that is not there yet is asked for again next time, and so is one whose reading failed.

        Raises:
            StoreUnavailableError: the store does not answer.

        """
        key = (workflow_id, version)
        with self._lock:
            held = self._held.pop(key, None)
            if held is not None and self._clock.now_ns() < held.until_ns:
                self._held[key] = held
                return held.workflow
        place = (asyncio.get_running_loop(), key)
        task = self._reading.get(place)
        if task is None:
            task = asyncio.create_task(self._read(key), name="spane-workflow-version")
            self._reading[place] = task
            task.add_done_callback(lambda done: self._finish(place, done))
        return await asyncio.shield(task)  # who is cancelled takes nobody else's answer away

    async def _read(self, key: tuple[str, int]) -> Workflow | None:
        workflow = await self._store.get_workflow(*key)
        if workflow is not None and self._options.max_size:
            until_ns = self._clock.now_ns() + self._options.ttl_ms * _MILLISECOND
            with self._lock:
                self._held.pop(key, None)
                self._held[key] = _Held(workflow, until_ns)
                while len(self._held) > self._options.max_size:
                    del self._held[next(iter(self._held))]
        return workflow

    def _finish(self, place: "_Reading", task: asyncio.Task[Workflow | None]) -> None:
        self._reading.pop(place, None)
        if not task.cancelled():
            task.exception()  # else asyncio complains where every caller was cancelled


class _Held(Struct, frozen=True):
    workflow: Workflow
    until_ns: int


_Reading = tuple[asyncio.AbstractEventLoop, tuple[str, int]]
