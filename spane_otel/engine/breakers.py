"""Circuit breakers: what fails again and again is left alone for a while."""

import threading
from collections import deque
from typing import Final, Literal, Protocol

from msgspec import Struct

from spane_otel.clock import SECOND, Clock, SystemClock
from spane_otel.errors import CircuitOpenError, ConfigurationError

CircuitState = Literal["closed", "open", "half_open"]


class Breaker(Protocol):
    """Guards calls of one kind."""

    def enter(self) -> None:
        """Let a call begin; its end is told to `leave`.

        Raises:
            CircuitOpenError: no call may begin now.

        """
        ...

    def leave(self, outcome: Literal["success", "failure", "neither"]) -> None:
        """Take note of how a call ended; `neither` where that says nothing of what is guarded: it was cancelled."""
        ...


class BreakerRegistry(Protocol):
    """The breakers of an engine."""

    def breaker(self, name: str) -> Breaker:
        """Return the breaker of this name, made when first asked for."""
        ...


class BreakerOptions(Struct, frozen=True, kw_only=True):
    """When a circuit opens, and when it is tried again.

    Raises:
        ConfigurationError: a number makes no sense.

    """

    failure_threshold: int = 5
    """It opens when so many of the last `window` calls have failed."""
    window: int = 10
    """How many calls are remembered."""
    open_seconds: float = 30.0
    """So long it lets nothing through; then it is half open."""
    trial_calls: int = 1
    """Half open it lets so many calls through at once; when as many have succeeded it closes, one failure opens it."""

    def __post_init__(self) -> None:
        if not 1 <= self.failure_threshold <= self.window:
            raise ConfigurationError("a breaker's failure_threshold must be in 1..window")
        if self.open_seconds < 0 or self.trial_calls < 1:
            raise ConfigurationError("a breaker's open_seconds must be from 0, its trial_calls from 1")


class CircuitBreaker:
    """Closed it lets calls through, open it does not, half open it lets a few through to see. Thread-safe."""

    def __init__(self, name: str, options: BreakerOptions | None = None, *, clock: Clock | None = None) -> None:
        self.name: Final = name
        self._options: Final = options or BreakerOptions()
        self._clock: Final = clock or SystemClock()
        self._lock: Final = threading.Lock()
        self._failures: Final[deque[bool]] = deque(maxlen=self._options.window)
        self._open_until_ns: int | None = None
        self._trials = 0
        self._successes = 0

    @property
    def state(self) -> CircuitState:
        if self._open_until_ns is None:
            return "closed"
        return "half_open" if self._clock.now_ns() >= self._open_until_ns else "open"

    def enter(self) -> None:
        with self._lock:
            state = self.state
            if state == "open" or (state == "half_open" and self._trials >= self._options.trial_calls):
                raise CircuitOpenError(self.name)
            self._trials += state == "half_open"

    def leave(self, outcome: Literal["success", "failure", "neither"]) -> None:
        with self._lock:
            if self.state == "half_open":
                self._end_trial(outcome)
            elif self.state == "closed" and outcome != "neither":
                self._failures.append(outcome == "failure")
                if sum(self._failures) >= self._options.failure_threshold:
                    self._open()

    def _end_trial(self, outcome: Literal["success", "failure", "neither"]) -> None:
        self._trials = max(self._trials - 1, 0)
        if outcome == "failure":
            self._open()
        elif outcome == "success":
            self._successes += 1
            if self._successes >= self._options.trial_calls:
                self._failures.clear()
                self._open_until_ns = None
                self._trials = self._successes = 0

    def _open(self) -> None:
        self._open_until_ns = self._clock.now_ns() + int(self._options.open_seconds * SECOND)
        self._trials = self._successes = 0


class CircuitBreakerRegistry:
    """A breaker for each name, all with the same options, but for those named in `by_name`."""

    def __init__(
        self,
        options: BreakerOptions | None = None,
        *,
        by_name: dict[str, BreakerOptions] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._options: Final = options or BreakerOptions()
        self._by_name: Final = dict(by_name or {})
        self._clock: Final = clock or SystemClock()
        self._lock: Final = threading.Lock()
        self._breakers: Final[dict[str, CircuitBreaker]] = {}

    def breaker(self, name: str) -> CircuitBreaker:
        with self._lock:
            found = self._breakers.get(name)
            if found is None:
                options = self._by_name.get(name, self._options)
                found = self._breakers[name] = CircuitBreaker(name, options, clock=self._clock)
            return found

    @property
    def states(self) -> dict[str, CircuitState]:
        """The state of every circuit that was asked for."""
        with self._lock:
            return {name: breaker.state for name, breaker in self._breakers.items()}
