"""Doing something with a sink again and again until it succeeds; which errors mean "again", and when to give up."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from msgspec import Struct

from spane_otel.errors import ConfigurationError, SchemaError, SpaneError
from spane_otel.stores.protocols import TelemetrySink

T = TypeVar("T")

SHUTDOWN_SECONDS: Final = 10.0
"""What is left when a process ends is written for at most so long (reliability.md, section 10)."""

_log: Final = logging.getLogger(__name__)


class RetryPace(Struct, frozen=True):
    """How long to wait, in seconds (reliability.md, section 10; the longest delay is promise P7)."""

    attempt_timeout: float = 30.0
    first_delay: float = 0.1
    """Before the first retry, at most; doubled each time, with full jitter."""
    longest_delay: float = 5.0
    """A sink that comes back is noticed within it."""
    longest_retry_after: float = 60.0
    """However long a sink asks for."""
    unexpected_attempts: int = 5
    """Before an error that no sink should raise counts as a refusal."""


class SinkSource(Struct, frozen=True):
    """Where a sink comes from."""

    open: Callable[[], TelemetrySink]
    """Return a sink that has not connected yet; called again in a forked child."""
    is_lent: bool = False
    """The sink is the caller's, who closes it."""
    hint: str = ""
    """What to do if nobody answers."""


class RefusedError(Exception):
    """The sink refused, and will again."""


class GaveUpError(Exception):
    """The deadline passed before the sink answered."""


class Persistence:
    """Opens one sink when it is first needed, and repeats what it can't do now."""

    def __init__(self, source: SinkSource, pace: RetryPace, wake: asyncio.Event) -> None:
        self._source: Final = source
        self._pace: Final = pace
        self._wake: Final = wake
        """Set: try again now."""
        self._sink: TelemetrySink | None = None
        self._has_warned = False
        self.has_succeeded = False
        self.deadline: float | None = None
        """Of `time.monotonic`; None: never give up."""

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    async def repeat(self, action: Callable[[TelemetrySink], Awaitable[T]]) -> T:
        """Return what `action` returns, as soon as it does.

        Raises:
            RefusedError: trying again would change nothing.
            GaveUpError: the deadline has passed.

        """
        attempt = 0
        while True:
            attempt += 1
            try:
                value = await self._try(action)
            except Exception as error:
                if not self._is_worth_retrying(error, attempt):
                    raise RefusedError(str(error)) from error
                self._warn(error)
                await self._back_off(attempt, error)
                if self.is_late():
                    raise GaveUpError(str(error)) from error
            else:
                self._succeeded()
                return value

    async def close(self) -> None:
        """Close the sink, within a second; one that is lent is its owner's to close."""
        sink, self._sink = self._sink, None
        if sink is None or self._source.is_lent:
            return
        with suppress(Exception):
            async with asyncio.timeout(1.0):
                await sink.aclose()

    async def _try(self, action: Callable[[TelemetrySink], Awaitable[T]]) -> T:
        left = self._pace.attempt_timeout
        if self.deadline is not None:
            left = min(left, self.deadline - time.monotonic())
        async with asyncio.timeout(left):
            if self._sink is None:
                self._sink = self._source.open()
            return await action(self._sink)

    def _is_worth_retrying(self, error: Exception, attempt: int) -> bool:
        if isinstance(error, SchemaError | ConfigurationError):
            return True  # somebody migrates the database, or installs what is missing, and we go on
        if isinstance(error, SpaneError):
            return error.retryable
        return isinstance(error, OSError) or attempt < self._pace.unexpected_attempts  # TimeoutError is an OSError

    async def _back_off(self, attempt: int, error: Exception) -> None:
        longest = min(self._pace.first_delay * 2 ** min(attempt - 1, 16), self._pace.longest_delay)
        delay = random.uniform(0, longest)  # noqa: S311 - jitter, no secret
        asked = min(getattr(error, "retry_after", None) or 0.0, self._pace.longest_retry_after)
        if self.deadline is not None:
            left = max(self.deadline - time.monotonic(), 0.0)
            asked, delay = min(asked, left), min(delay, left)
        if asked:
            await asyncio.sleep(asked)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), delay)
        self._wake.clear()

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            text = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
            hint = f" ({self._source.hint})" if self._source.hint else ""
            _log.warning("telemetry can't be written now, it is kept and tried again: %s%s", text, hint)

    def _succeeded(self) -> None:
        self.has_succeeded = True
        if self._has_warned:
            self._has_warned = False
            _log.info("telemetry is written again")
