"""All that the in-memory store holds, and what touches several parts of it."""

from collections.abc import Iterable

from msgspec import Struct, field

from spane_otel.ids import execution_trace_id
from spane_otel.records import Change, Execution, Span, SpanRow
from spane_otel.stores.memory.changes import Changes
from spane_otel.stores.memory.executions import Executions, HeldExecution, execution_record
from spane_otel.stores.memory.processes import Processes
from spane_otel.stores.memory.reading import Reading
from spane_otel.stores.memory.traces import HeldTrace, Telemetry


class State(Struct):
    """Whoever touches it holds the store's lock."""

    telemetry: Telemetry = field(default_factory=Telemetry)
    executions: Executions = field(default_factory=Executions)
    processes: Processes = field(default_factory=Processes)
    changes: Changes = field(default_factory=Changes)

    def traces_of(self, execution_id: str) -> list[HeldTrace]:
        """Return what is held of an execution's traces, oldest first."""
        held = self.telemetry.traces
        return [held[trace_id] for trace_id in self.executions.trace_ids(execution_id) if trace_id in held]

    def keys_of(self, execution_id: str) -> list[bytes]:
        """Return an execution's trace keys: its traces', and the one of its logs that have no trace."""
        return list(dict.fromkeys((*self.executions.trace_ids(execution_id), execution_trace_id(execution_id))))

    def shared_trace_ids(self, execution_id: str) -> frozenset[str]:
        """Return, as hex, an execution's traces that hold others too."""
        trace_ids = self.executions.trace_ids(execution_id)
        return frozenset(trace_id.hex() for trace_id in trace_ids if self.executions.is_shared(trace_id))

    def abandoned_since_ns(self, held: HeldExecution, now_ns: int) -> int | None:
        """Return when the process of a running execution was last heard of, if it is stale."""
        if held.status != "running" or not self.processes.is_stale(held.process_id, now_ns):
            return None
        return self.processes.last_seen_ns(held.process_id)

    def execution(self, held: HeldExecution, now_ns: int) -> Execution:
        """Return what a reader sees of an execution."""
        trace_ids = self.executions.trace_ids(held.execution_id)
        return execution_record(held, trace_ids, self.abandoned_since_ns(held, now_ns))

    def reading(self, now_ns: int) -> Reading:
        return Reading(self.telemetry, self.processes, now_ns)

    def spans(self, rows: Iterable[SpanRow], now_ns: int) -> list[Span]:
        return self.reading(now_ns).spans(rows)

    def add_execution_changes(self, execution_ids: Iterable[str], now_ns: int) -> None:
        for execution_id in execution_ids:
            self.changes.add(Change("execution", execution_id), now_ns)

    def delete_execution(self, execution_id: str, now_ns: int) -> None:
        """Delete an execution that is held, with its own traces and what others' traces hold of it."""
        for trace_key in self.keys_of(execution_id):
            stamped_with = execution_id if self.executions.is_shared(trace_key) else None
            self.telemetry.remove(trace_key, stamped_with)
        self.executions.remove(execution_id)
        self.add_execution_changes([execution_id], now_ns)
