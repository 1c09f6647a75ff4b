"""Counts of what happened to telemetry, kept so that they add up.

At any moment, in deliveries: accepted = stored + rejected(reason) + dropped(reason) + buffered. A delivery whose
version lost to a greater one counts as stored, and in `duplicates`. A log record that carried no time at all is
`untimed`: it gets that of its receipt, so that a redelivery is a second record.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Protocol, runtime_checkable

Signal = Literal["spans", "logs"]
Fate = Literal["accepted", "stored", "duplicates", "rejected", "dropped", "repaired", "untimed"]

SampleKind = Literal["counter", "gauge", "histogram"]
Sample = tuple[str, SampleKind, str, Mapping[str, str], float]
"""A figure for Prometheus: name, kind, help, labels, value; of a histogram its `_bucket`, `_sum` and `_count` each."""


@runtime_checkable
class MetricSource(Protocol):
    """Has figures of its own, which `/metrics` shows."""

    def samples(self) -> Iterable[Sample]:
        """Return them as they are now; reads memory alone."""
        ...


class Counters:
    """Thread-safe counts by signal, fate and reason."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[Signal, Fate, str], int] = {}

    def add(self, signal: Signal, fate: Fate, count: int, reason: str = "") -> None:
        """Count `count` more items; a reason is a short word from a closed list, never user data."""
        if count:
            key = (signal, fate, reason)
            with self._lock:
                self._counts[key] = self._counts.get(key, 0) + count

    def get(self, signal: Signal, fate: Fate, reason: str | None = None) -> int:
        """Return a count; without a reason, the sum over all reasons."""
        with self._lock:
            return sum(
                count
                for (each_signal, each_fate, each_reason), count in self._counts.items()
                if each_signal == signal and each_fate == fate and reason in (None, each_reason)
            )

    def buffered(self, signal: Signal) -> int:
        """Return what was accepted and has met no fate yet."""
        fates: tuple[Fate, ...] = ("stored", "rejected", "dropped")
        return self.get(signal, "accepted") - sum(self.get(signal, fate) for fate in fates)

    def __iter__(self) -> Iterator[tuple[Signal, Fate, str, int]]:
        with self._lock:
            items = sorted(self._counts.items())
        return iter([(signal, fate, reason, count) for (signal, fate, reason), count in items])
