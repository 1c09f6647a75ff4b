"""Counts and durations of what an engine does: for an OpenTelemetry meter, and as samples for `/metrics`."""

import threading
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final, Protocol

from opentelemetry.metrics import Meter, get_meter

from spane_otel.counters import Sample, SampleKind
from spane_otel.records import ExecutionStatus
from spane_otel.state import NodeState
from spane_otel.version import __version__

OTHER: Final = "other"
"""The label of whatever comes after `MOST_LABELS` others."""
MOST_LABELS: Final = 100
"""Of workflows, and of node types: more would be a series each, without end."""

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0)
"""Seconds."""


class MetricsCollector(Protocol):
    """Is told what an engine does."""

    def execution_started(self, workflow_id: str) -> None: ...

    def execution_ended(self, workflow_id: str, status: ExecutionStatus, seconds: float) -> None:
        """Take note of an execution that this engine brought to its end, `seconds` after it was made."""
        ...

    def execution_given_up(self, workflow_id: str) -> None:
        """Take note of an execution that goes on elsewhere: its lease was lost or the engine was closed."""
        ...

    def node_ended(self, workflow_id: str, node_type: str, state: NodeState, seconds: float) -> None:
        """Take note of one attempt at a node."""
        ...

    def node_retried(self, workflow_id: str, node_type: str) -> None:
        """Take note that a failed attempt will be followed by another."""
        ...


class NoMetrics:
    """Counts nothing."""

    def execution_started(self, workflow_id: str) -> None: ...
    def execution_ended(self, workflow_id: str, status: ExecutionStatus, seconds: float) -> None: ...
    def execution_given_up(self, workflow_id: str) -> None: ...
    def node_ended(self, workflow_id: str, node_type: str, state: NodeState, seconds: float) -> None: ...
    def node_retried(self, workflow_id: str, node_type: str) -> None: ...


class EngineMetrics:
    """Counts in memory, as a source for `/metrics`, and in the instruments of `meter`, by default the global one's.

    Labels are bounded: the first hundred workflows and the first hundred node types have their names, the rest
    share `other`. Thread-safe.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = meter or get_meter("spane_otel", __version__)
        self._lock: Final = threading.Lock()
        self._names: Final[dict[str, set[str]]] = {"workflow": set(), "type": set()}
        self._families: Final = {
            "executions_started": _Counter(
                "spane_engine_executions_started_total", "Executions begun or resumed.", meter
            ),
            "executions": _Counter("spane_engine_executions_total", "Executions ended, by status.", meter),
            "given_up": _Counter("spane_engine_executions_given_up_total", "Executions left to others.", meter),
            "execution_seconds": _Histogram(
                "spane_engine_execution_seconds", "From an execution's start to its end.", meter
            ),
            "nodes": _Counter("spane_engine_node_attempts_total", "Attempts at nodes, by what they came to.", meter),
            "node_seconds": _Histogram("spane_engine_node_seconds", "Duration of attempts at nodes.", meter),
            "retries": _Counter("spane_engine_node_retries_total", "Failed attempts that another one follows.", meter),
        }
        self._running = _Gauge("spane_engine_executions_running", "Executions that this engine runs now.", meter)

    def execution_started(self, workflow_id: str) -> None:
        labels = self._labels(workflow=workflow_id)
        with self._lock:
            self._families["executions_started"].add(labels, 1)
            self._running.add(labels, 1)

    def execution_ended(self, workflow_id: str, status: ExecutionStatus, seconds: float) -> None:
        labels = self._labels(workflow=workflow_id)
        with self._lock:
            self._families["executions"].add({**labels, "status": status}, 1)
            self._families["execution_seconds"].add(labels, seconds)
            self._running.add(labels, -1)

    def execution_given_up(self, workflow_id: str) -> None:
        labels = self._labels(workflow=workflow_id)
        with self._lock:
            self._families["given_up"].add(labels, 1)
            self._running.add(labels, -1)

    def node_ended(self, workflow_id: str, node_type: str, state: NodeState, seconds: float) -> None:
        labels = self._labels(workflow=workflow_id, type=node_type)
        with self._lock:
            self._families["nodes"].add({**labels, "state": state}, 1)
            self._families["node_seconds"].add(labels, seconds)

    def node_retried(self, workflow_id: str, node_type: str) -> None:
        labels = self._labels(workflow=workflow_id, type=node_type)
        with self._lock:
            self._families["retries"].add(labels, 1)

    def samples(self) -> Iterator[Sample]:
        """Yield everything as it is now, a family's samples one after another."""
        with self._lock:
            families = [*self._families.values(), self._running]
            yield from [sample for family in families for sample in family.samples()]

    def _labels(self, **given: str) -> dict[str, str]:
        return {key: self._bounded(key, value) for key, value in given.items()}

    def _bounded(self, key: str, value: str) -> str:
        known = self._names[key]
        if value in known:
            return value
        with self._lock:
            if len(known) >= MOST_LABELS:
                return OTHER
            known.add(value)
            return value


_Labels = tuple[tuple[str, str], ...]


class _Counter:
    """A sum that only grows."""

    kind: SampleKind = "counter"

    def __init__(self, name: str, text: str, meter: Meter) -> None:
        self.name = name
        self._help = text
        self._instrument: Any = self._make(meter)
        self._values: dict[_Labels, float] = {}

    def _make(self, meter: Meter) -> Any:
        return meter.create_counter(self.name.removesuffix("_total").replace("_", "."), description=self._help)

    def add(self, labels: dict[str, str], value: float) -> None:
        key = tuple(labels.items())
        self._values[key] = self._values.get(key, 0) + value
        self._instrument.add(value, labels)

    def samples(self) -> Iterator[Sample]:
        for key, value in self._values.items():
            yield self.name, self.kind, self._help, dict(key), value


class _Gauge(_Counter):
    """A sum that grows and shrinks."""

    kind: SampleKind = "gauge"

    def _make(self, meter: Meter) -> Any:
        return meter.create_up_down_counter(self.name.replace("_", "."), description=self._help)


class _Histogram(_Counter):
    """How many were how long, in seconds."""

    kind: SampleKind = "histogram"

    def __init__(self, name: str, text: str, meter: Meter) -> None:
        super().__init__(name, text, meter)
        self._held: dict[_Labels, list[float]] = {}
        """For each bucket and for what is longer its count, then the sum."""

    def _make(self, meter: Meter) -> Any:
        name = self.name.removesuffix("_seconds").replace("_", ".") + ".duration"
        return meter.create_histogram(
            name, unit="s", description=self._help, explicit_bucket_boundaries_advisory=_BUCKETS
        )

    def add(self, labels: dict[str, str], value: float) -> None:
        held = self._held.setdefault(tuple(labels.items()), [0.0] * (len(_BUCKETS) + 2))
        held[bisect_left(_BUCKETS, value)] += 1
        held[-1] += value
        self._instrument.record(value, labels)

    def samples(self) -> Iterator[Sample]:
        for key, held in self._held.items():
            labels = dict(key)
            count = 0.0
            for bound, number in zip((*(f"{each:g}" for each in _BUCKETS), "+Inf"), held, strict=False):
                count += number
                yield f"{self.name}_bucket", self.kind, self._help, {**labels, "le": bound}, count
            yield f"{self.name}_sum", self.kind, self._help, labels, held[-1]
            yield f"{self.name}_count", self.kind, self._help, labels, count
