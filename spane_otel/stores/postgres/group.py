"""Group commit: calls that come at the same time share one statement and one commit.

Calls of one *family* (an execution) are never in two commits at once, and a commit holds at most one call of each key,
so that calls of one key happen in the order in which they came. A caller who is cancelled cancels nobody else.

A commit costs far more than one call more in it. So calls wait for the commit that is on its way, unless so many wait
that a second one pays, or that one hangs: it waits, say, for a row that somebody else has locked.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from spane_otel.errors import InvalidValueError

Call = TypeVar("Call")
Answer = TypeVar("Answer")

MOST: Final = 512
"""Calls in a commit."""
ENOUGH: Final = 16
"""Calls that wait and are worth a commit beside one that is on its way."""
PATIENCE_SECONDS: Final = 0.02
"""A commit that takes longer than this is not waited for."""
LANES: Final = 4
"""Commits on their way at the same time, at most; two where none of them hangs."""


class Group(Generic[Call, Answer]):
    """Commits calls together; each event loop has its own queue.

    `commit` takes calls of different keys and returns an answer, or the error to raise, for each. If it raises an
    `InvalidValueError` for several calls, each is committed by itself, so that only the guilty one fails; any other
    error is every caller's. Keys are compared within a family.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Call]], Awaitable[Sequence["Answer | Exception"]]],
        *,
        family: Callable[[Call], Hashable],
        key: Callable[[Call], Hashable],
    ) -> None:
        self._commit = commit
        self._family = family
        self._key = key
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[Call, Answer]] = WeakKeyDictionary()

    async def run(self, call: Call) -> Answer:
        """Return the answer to `call` once it is committed."""
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues[loop] = _Queue(self._commit, self._key)
        answer: asyncio.Future[Answer] = loop.create_future()
        queue.put(loop, self._family(call), call, answer)
        return await answer


class _Queue(Generic[Call, Answer]):
    """The calls of one loop that wait, by family in the order of arrival."""

    def __init__(
        self,
        commit: Callable[[Sequence[Call]], Awaitable[Sequence["Answer | Exception"]]],
        key: Callable[[Call], Hashable],
    ) -> None:
        self._commit = commit
        self._key = key
        self._waiting: dict[Hashable, deque[tuple[Call, asyncio.Future[Answer]]]] = {}
        self._waiting_calls = 0
        self._busy: set[Hashable] = set()
        self._lanes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        """The lanes' tasks: a loop alone keeps no task alive."""
        self._alarm: asyncio.TimerHandle | None = None

    def put(
        self, loop: asyncio.AbstractEventLoop, family: Hashable, call: Call, answer: "asyncio.Future[Answer]"
    ) -> None:
        waiting = self._waiting.get(family)
        if waiting is None:
            waiting = self._waiting[family] = deque()
        waiting.append((call, answer))
        self._waiting_calls += 1
        if not self._lanes or (self._lanes == 1 and self._waiting_calls >= ENOUGH):
            self._open_lane(loop)
        elif self._alarm is None:
            self._alarm = loop.call_later(PATIENCE_SECONDS, self._lose_patience, loop)

    def _lose_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        if self._lanes < LANES and any(family not in self._busy for family in self._waiting):
            self._open_lane(loop)

    def _open_lane(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lanes += 1
        task = loop.create_task(self._run_lane(), name="spane-group-commit")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_lane(self) -> None:
        try:
            while entries := self._take():
                families = {family for family, _, _ in entries}
                try:
                    await self._settle([(call, answer) for _, call, answer in entries])
                finally:
                    self._busy -= families
        finally:
            self._lanes -= 1

    def _take(self) -> list[tuple[Hashable, Call, "asyncio.Future[Answer]"]]:
        """Return calls of families that no other lane works on, and mark those families as busy."""
        taken: list[tuple[Hashable, Call, asyncio.Future[Answer]]] = []
        most = MOST
        if not self._busy and self._waiting_calls >= 2 * ENOUGH:
            most = min(MOST, (self._waiting_calls + 1) // 2)  # so that two commits take turns with the database
        for family in [each for each in self._waiting if each not in self._busy]:
            queue = self._waiting[family]
            keys: set[Hashable] = set()
            while queue and len(taken) < MOST:
                call, answer = queue[0]
                key = self._key(call)
                if key in keys:
                    break
                queue.popleft()
                self._waiting_calls -= 1
                if not answer.done():  # else its caller was cancelled before anything happened
                    keys.add(key)
                    taken.append((family, call, answer))
            if not queue:
                del self._waiting[family]
            if len(taken) >= most:
                break
        self._busy |= {family for family, _, _ in taken}
        return taken

    async def _settle(self, entries: list[tuple[Call, "asyncio.Future[Answer]"]]) -> None:
        try:
            outcomes = await self._commit([call for call, _ in entries])
        except InvalidValueError as error:
            if len(entries) == 1:
                _answer(entries[0][1], error)
                return
            for entry in entries:
                await self._settle([entry])
        except Exception as error:  # noqa: BLE001 - it is raised where the calls are awaited
            for _, answer in entries:
                _answer(answer, error)
        except BaseException:
            for _, answer in entries:
                answer.cancel()
            raise
        else:
            for (_, answer), outcome in zip(entries, outcomes, strict=True):
                _answer(answer, outcome)


def _answer(answer: "asyncio.Future[Answer]", outcome: "Answer | Exception") -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
