"""All that the in-memory store holds, and what touches several parts of it."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from spane_otel.derivation import NO_ROOT, ExecutionTraceRow, select_execution
from spane_otel.ids import execution_trace_id
from spane_otel.records import Change, Execution, LogRow, Span, SpanRow
from spane_otel.stores.memory.held.additions import Additions
from spane_otel.stores.memory.held.changes import Changes
from spane_otel.stores.memory.held.executions import HeldExecution, HeldExecutions, execution_record
from spane_otel.stores.memory.held.processes import Processes
from spane_otel.stores.memory.held.reading import Reading
from spane_otel.stores.memory.held.telemetry import HeldTrace, Telemetry, first_spans
from spane_otel.stores.memory.held.workflows import HeldWorkflows


class State(Struct):
    """Whoever touches it holds the store's lock."""

    telemetry: Telemetry = field(default_factory=Telemetry)
    executions: HeldExecutions = field(default_factory=HeldExecutions)
    workflows: HeldWorkflows = field(default_factory=HeldWorkflows)
    processes: Processes = field(default_factory=Processes)
    changes: Changes = field(default_factory=Changes)
    additions: Additions = field(default_factory=Additions)
    finished: dict[str, int] = field(default_factory=dict)
    """When each finished execution was last heard of, the one of which nothing was heard for longest first."""

    @property
    def span_count(self) -> int:
        """How many spans are held, those that have no row yet among them."""
        return self.telemetry.span_count + self.additions.new_spans

    @property
    def log_count(self) -> int:
        """How many log records are held, those that have no row yet among them."""
        return self.telemetry.log_count + self.additions.new_logs

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
        journal = self.executions.journals[held.execution_id]
        trace_ids = self.executions.trace_ids(held.execution_id)
        return execution_record(held, journal, trace_ids, self.abandoned_since_ns(held, now_ns))

    def reading(self, now_ns: int) -> Reading:
        return Reading(self.telemetry, self.processes, now_ns)

    def spans(self, rows: Iterable[SpanRow], now_ns: int) -> list[Span]:
        return self.reading(now_ns).spans(rows)

    def select_rows(self, rows: list[SpanRow], family: Sequence[str], now_ns: int) -> list[SpanRow]:
        """Return the rows that belong to one of `family`; of shared traces not all do."""
        if len(family) == 1 and not self.shared_trace_ids(family[0]):
            return rows
        spans = self.spans(rows, now_ns)
        row_of = {id(span): row for span, row in zip(spans, rows, strict=True)}
        chosen: set[int] = set()
        for execution_id in family:
            own_traces = {key.hex() for key in self.executions.trace_ids(execution_id)}
            own = [span for span in spans if span.trace_id in own_traces]
            shared = self.shared_trace_ids(execution_id)
            chosen.update(id(span) for span in select_execution(own, execution_id, shared))
        return [row_of[id(span)] for span in spans if id(span) in chosen]

    def own_spans(self, execution_id: str, now_ns: int) -> list[Span]:
        """Return the first spans of an execution over all its traces; of shared ones its part."""
        rows, _ = first_spans(self.traces_of(execution_id))
        return self.spans(self.select_rows(rows, [execution_id], now_ns), now_ns)

    def concerned(self, trace_key: bytes, stamped: str | None) -> list[str | None]:
        """Return whom a row concerns: the execution it is stamped with, else all of its trace, else nobody (None)."""
        if stamped is not None:
            return [stamped]
        owners: list[str | None] = list(self.executions.executions_of(trace_key))
        return owners or [None]

    def row_changes(self, spans: Iterable[SpanRow], logs: Iterable[LogRow]) -> dict[Change, None]:
        """Return the changes that rows make: one for each trace and each execution that it concerns."""
        changes: dict[Change, None] = {}
        for span in spans:
            for execution_id in self.concerned(span.trace_id, span.execution_id):
                changes[Change("spans", execution_id, span.trace_id.hex())] = None
        for log in logs:
            trace_id = None if log.trace_id is None else log.trace_id.hex()
            for execution_id in self.concerned(log.trace_key, log.execution_id):
                changes[Change("logs", execution_id, trace_id)] = None
        return changes

    def everything(self) -> Iterator[Change]:
        """Yield a change for all that is held."""
        for execution_id in self.executions.held:
            yield Change("execution", execution_id)
        for trace in self.telemetry.traces.values():
            yield from self.row_changes(trace.spans.values(), trace.logs.values())

    def hear(self, execution_id: str, now_ns: int) -> None:
        """Note that an execution was heard of."""
        self.finished.pop(execution_id, None)
        held = self.executions.held.get(execution_id)
        if held is not None and held.is_final:
            self.finished[execution_id] = now_ns

    def add_change(self, change: Change, now_ns: int) -> None:
        """Announce a change: its execution was heard of."""
        self.changes.add(change, now_ns)
        if change.execution_id is not None:
            self.hear(change.execution_id, now_ns)

    def link(self, execution_id: str, trace_id: bytes, start_ns: int, now_ns: int) -> None:
        """Link a trace to an execution that a span of it was added to."""
        row = ExecutionTraceRow(execution_id, trace_id, NO_ROOT, NO_ROOT, start_ns)
        self.add_execution_changes(self.executions.take_rows([row]), now_ns)

    def add_execution_changes(self, execution_ids: Iterable[str], now_ns: int) -> None:
        for execution_id in execution_ids:
            self.add_change(Change("execution", execution_id), now_ns)

    def delete_execution(self, execution_id: str, now_ns: int) -> None:
        """Delete an execution that is held, with its own traces and what others' traces hold of it."""
        for trace_key in self.keys_of(execution_id):
            stamped_with = execution_id if self.executions.is_others(trace_key, execution_id) else None
            self.telemetry.remove(trace_key, stamped_with)
        self.executions.remove(execution_id)
        self.additions.remove(execution_id)
        self.finished.pop(execution_id, None)
        self.add_execution_changes([execution_id], now_ns)
