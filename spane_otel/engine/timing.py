"""The engine's time: what the clock says, and waiting until it says something later."""

import asyncio
import heapq
from itertools import count
from typing import Final, Protocol

from spane_otel.clock import SECOND, Clock, ManualClock, SystemClock

_LONGEST_SLEEP: Final = 60.0
"""Seconds, after which the clock is looked at again: it may have been set."""


class EngineClock(Clock, Protocol):
    """A clock that can be waited for."""

    async def sleep_until(self, at_ns: int) -> None:
        """Return as soon as the clock shows `at_ns` or later."""
        ...


class SystemEngineClock(SystemClock):
    """The clock of this machine."""

    async def sleep_until(self, at_ns: int) -> None:
        while (left_ns := at_ns - self.now_ns()) > 0:  # noqa: ASYNC110 - what is waited for is the time
            await asyncio.sleep(min(left_ns / SECOND, _LONGEST_SLEEP))


class ManualEngineClock(ManualClock):
    """A clock that stands still until it is moved, and wakes who waits for it; for tests, ours and those of users.

    Of one event loop.
    """

    def __init__(self, now_ns: int = 1_700_000_000 * SECOND) -> None:
        super().__init__(now_ns)
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order: Final = count()
        self._changed: asyncio.Event | None = None

    async def sleep_until(self, at_ns: int) -> None:
        if at_ns <= self.now_ns():
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at_ns, next(self._order), sleeper))
        if self._changed is not None:
            self._changed.set()
        await sleeper

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds` and wake who waits for a time until then."""
        super().advance(seconds)
        while self._sleepers and self._sleepers[0][0] <= self.now_ns():
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    @property
    def awaited_ns(self) -> list[int]:
        """The times that somebody waits for, in order."""
        return sorted(at_ns for at_ns, _, sleeper in self._sleepers if not sleeper.done())

    async def until_awaited(self, at_ns: int) -> None:
        """Return once somebody waits for exactly `at_ns`."""
        while at_ns not in self.awaited_ns:
            self._changed = asyncio.Event()
            await self._changed.wait()
