"""A workflow that shares its machine: it works in slices and rests between them."""

import asyncio
import time
from collections.abc import Awaitable, Callable


class Pace:
    """Keeps what runs on this event loop at or below a share of one core.

    Call `rest()` after each slice of work; the time the slice used, and what others under the same pace used, is
    paid back in sleep. `cpu_share` is above 0 and at most 1, where 1 only lets other tasks take their turn.
    """

    def __init__(
        self,
        cpu_share: float,
        *,
        used: Callable[[], float] = time.thread_time,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not 0 < cpu_share <= 1:
            raise ValueError(f"a share of a core is above 0 and at most 1, not {cpu_share}")
        self.cpu_share = cpu_share
        self._used = used
        self._now = now
        self._sleep = sleep
        self._resumed_at = used()
        self._free_at = now()

    async def rest(self) -> None:
        """Sleep until the work done so far is within the share."""
        spent = self._used() - self._resumed_at
        now = self._now()
        self._free_at = max(self._free_at, now) + spent * (1 / self.cpu_share - 1)
        await self._sleep(self._free_at - now)
        self._resumed_at = self._used()
