"""Time, injected so that tests move it by hand."""

import time
from typing import Protocol

SECOND = 1_000_000_000
"""Nanoseconds in a second: times are integer nanoseconds since 1970 everywhere."""


class Clock(Protocol):
    """Where the time comes from."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now_ns(self) -> int:
        return time.time_ns()


class ManualClock:
    """A clock that stands still until it is moved; for tests, ours and those of users."""

    def __init__(self, now_ns: int = 1_700_000_000 * SECOND) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        self._now_ns += int(seconds * SECOND)
