"""What this writer knows to be in the database, so that it need not ask again."""

import threading
from collections.abc import Callable, Hashable, Iterable
from time import monotonic
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KNOWN_LIMIT: Final = 50_000
KNOWN_SECONDS: Final = 60.0
"""Others may delete what was known: nothing is believed for longer."""


class Known(Generic[K, V]):
    """A bounded memory of committed values by their keys; used from several threads."""

    def __init__(
        self, limit: int = KNOWN_LIMIT, seconds: float = KNOWN_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[K, tuple[float, V]] = {}

    def get(self, key: K) -> V | None:
        """Return what is known under `key`, None if nothing is, or too old."""
        held = self._values.get(key)
        return None if held is None or self._clock() - held[0] > self._seconds else held[1]

    def unknown(self, keys: Iterable[K]) -> list[K]:
        """Return those of `keys` that aren't known, each once."""
        return [key for key in dict.fromkeys(keys) if self.get(key) is None]

    def add(self, values: Iterable[tuple[K, V]]) -> None:
        """Remember `values`; the oldest make room."""
        now = self._clock()
        with self._lock:
            for key, value in values:
                self._values.pop(key, None)
                self._values[key] = (now, value)
            while len(self._values) > self._limit:
                del self._values[next(iter(self._values))]

    def forget(self, doomed: Callable[[K], bool]) -> None:
        """Forget every key that `doomed` names."""
        with self._lock:
            self._values = {key: held for key, held in self._values.items() if not doomed(key)}
