"""Spans and logs as they are held: the greatest version of each identity."""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from spane_otel.derivation import version_of
from spane_otel.records import (
    STATUS_ERROR,
    TRACE_SPAN_LIMIT,
    Counts,
    LogRow,
    ResourceRow,
    ScopeRow,
    SpanRow,
)

REMOTE_PARENT: Final = 768
"""OTLP's SpanFlags: whether the parent is remote is known (256), and it is (512)."""
_WARNINGS: Final = range(13, 17)
_ROW_BYTES: Final = 600
"""About what Python needs for a row beside its texts."""


class HeldTrace(Struct):
    """What is held under one trace key: a trace, or an execution's logs that have no trace."""

    trace_key: bytes
    spans: dict[tuple[int, int], SpanRow] = field(default_factory=dict)
    """By (span_id, start_ns)."""
    logs: dict[tuple[bytes, int], LogRow] = field(default_factory=dict)
    """By (log_id, time_ns)."""
    trimmed: int = 0
    """How many of its spans had to go."""

    def keep_span(self, row: SpanRow) -> tuple[bool, bool]:
        """Keep `row` unless a version at least as great is held; return whether it is kept, and whether it is new."""
        key = row.span_id, row.start_ns
        held = self.spans.get(key)
        if held is None:
            self.spans[key] = replace(row)
            return True, True
        if version_of(row.end_ns, row.revision) <= version_of(held.end_ns, held.revision):
            return False, False
        self.spans[key] = replace(row, seq=held.seq)
        return True, False

    def keep_log(self, row: LogRow) -> bool:
        """Keep `row` unless it is held; return whether it is new."""
        key = row.log_id, row.time_ns
        if key in self.logs:
            return False
        self.logs[key] = replace(row)
        return True

    def ordered_spans(self) -> list[SpanRow]:
        return sorted(self.spans.values(), key=span_order)

    def root(self) -> SpanRow | None:
        """Return the earliest span without a parent, else the earliest whose parent is remote, else None."""
        parentless = [row for row in self.spans.values() if row.parent_id is None]
        entries = parentless or [row for row in self.spans.values() if row.flags & REMOTE_PARENT == REMOTE_PARENT]
        return min(entries, key=span_order, default=None)


class Telemetry(Struct):
    """All spans and logs, oldest trace first, with the resources and scopes that they point to."""

    traces: dict[bytes, HeldTrace] = field(default_factory=dict)
    resources: dict[bytes, ResourceRow] = field(default_factory=dict)
    scopes: dict[bytes, ScopeRow] = field(default_factory=dict)
    span_count: int = 0
    log_count: int = 0
    _roots: dict[bytes, SpanRow | None] = field(default_factory=dict)

    def holds_span(self, row: SpanRow) -> bool:
        trace = self.traces.get(row.trace_id)
        return trace is not None and (row.span_id, row.start_ns) in trace.spans

    def holds_log(self, row: LogRow) -> bool:
        trace = self.traces.get(row.trace_key)
        return trace is not None and (row.log_id, row.time_ns) in trace.logs

    def keep_span(self, row: SpanRow) -> bool:
        """Keep a span's version if it is the greatest; return whether anything changed."""
        changed, is_new = self.trace(row.trace_id).keep_span(row)
        self.span_count += is_new
        if changed:
            self._roots.pop(row.trace_id, None)
        return changed

    def change_span(self, row: SpanRow) -> None:
        """Hold the next version of a span that is held, whatever it says."""
        self.traces[row.trace_id].spans[row.span_id, row.start_ns] = row
        self._roots.pop(row.trace_id, None)

    def keep_log(self, row: LogRow) -> bool:
        """Keep a log record once; return whether it is new."""
        is_new = self.trace(row.trace_key).keep_log(row)
        self.log_count += is_new
        return is_new

    def introduce(self, resource: ResourceRow, scope: ScopeRow) -> None:
        """Hold what rows point to."""
        self.resources.setdefault(resource.resource_id, resource)
        self.scopes.setdefault(scope.scope_id, scope)

    def trace(self, trace_key: bytes) -> HeldTrace:
        """Return what is held under a key, nothing yet if it is the first time."""
        held = self.traces.get(trace_key)
        if held is None:
            held = self.traces[trace_key] = HeldTrace(trace_key)
        return held

    def drop_span(self, key: tuple[bytes, int, int]) -> None:
        """Let go of a span, by trace id, span id and start."""
        trace = self.traces[key[0]]
        del trace.spans[key[1:]]
        trace.trimmed += 1
        self.span_count -= 1
        self._roots.pop(key[0], None)

    def drop_log(self, key: tuple[bytes, bytes, int]) -> None:
        """Let go of a log record, by trace key, log id and time."""
        del self.traces[key[0]].logs[key[1:]]
        self.log_count -= 1

    def roots(self) -> Iterator[SpanRow]:
        """Yield the root of every trace that has one."""
        for trace_key, trace in self.traces.items():
            if trace_key not in self._roots:
                self._roots[trace_key] = trace.root()
            root = self._roots[trace_key]
            if root is not None:
                yield root

    def remove(self, trace_key: bytes, stamped_with: str | None = None) -> None:
        """Remove a trace and its logs; with `stamped_with`, only what carries that execution."""
        trace = self.traces.get(trace_key)
        if trace is None:
            return
        self.span_count -= len(trace.spans)
        self.log_count -= len(trace.logs)
        self._roots.pop(trace_key, None)
        if stamped_with is not None:
            trace.spans = {key: row for key, row in trace.spans.items() if row.execution_id != stamped_with}
            trace.logs = {key: row for key, row in trace.logs.items() if row.execution_id != stamped_with}
            self.span_count += len(trace.spans)
            self.log_count += len(trace.logs)
        if stamped_with is None or not (trace.spans or trace.logs):
            del self.traces[trace_key]

    def sweep(self) -> None:
        """Let go of resources and scopes that nothing points to."""
        rows: list[SpanRow | LogRow] = []
        for trace in self.traces.values():
            rows += trace.spans.values()
            rows += trace.logs.values()
        resource_ids = {row.resource_id for row in rows}
        scope_ids = {row.scope_id for row in rows}
        self.resources = {key: row for key, row in self.resources.items() if key in resource_ids}
        self.scopes = {key: row for key, row in self.scopes.items() if key in scope_ids}

    def approx_bytes(self) -> int:
        """Return about how much memory the rows need."""
        total = 0
        for trace in self.traces.values():
            for span in trace.spans.values():
                total += _ROW_BYTES + len(span.name) + len(span.attributes)
                total += len(span.events or "") + len(span.links or "")
            total += sum(_ROW_BYTES + len(log.body) + len(log.attributes) for log in trace.logs.values())
        return total


def span_order(row: SpanRow) -> tuple[int, int, int, bytes]:
    """Return what orders spans; the trace id only decides between traces."""
    return row.start_ns, row.seq, row.span_id, row.trace_id


def log_order(row: LogRow) -> tuple[int, int, bytes, bytes]:
    """Return what orders logs; the trace key only decides between traces."""
    return row.time_ns, row.seq, row.log_id, row.trace_key


def first_spans(traces: Iterable[HeldTrace]) -> tuple[list[SpanRow], bool]:
    """Return the first TRACE_SPAN_LIMIT spans of `traces` in order, and whether there are, or were, more."""
    rows: list[SpanRow] = []
    trimmed = 0
    for trace in traces:
        rows += trace.spans.values()
        trimmed += trace.trimmed
    rows.sort(key=span_order)
    return rows[:TRACE_SPAN_LIMIT], trimmed > 0 or len(rows) > TRACE_SPAN_LIMIT


def count_traces(traces: Iterable[tuple[HeldTrace, bool]], execution_id: str) -> tuple[Counts, set[str]]:
    """Return an execution's numbers over its traces, without nodes, and the nodes whose spans have all ended.

    The flag says that a trace is shared with other executions.
    """
    spans: list[SpanRow] = []
    logs: list[LogRow] = []
    truncated = False
    for trace, is_shared in traces:
        own_spans = [row for row in trace.ordered_spans() if not is_shared or row.execution_id == execution_id]
        own_logs = [
            row
            for row in sorted(trace.logs.values(), key=log_order)
            if not is_shared or row.execution_id == execution_id
        ]
        truncated = truncated or trace.trimmed > 0 or max(len(own_spans), len(own_logs)) > TRACE_SPAN_LIMIT
        spans += own_spans[:TRACE_SPAN_LIMIT]
        logs += own_logs[:TRACE_SPAN_LIMIT]
    open_nodes = {row.node_id for row in spans if row.end_ns is None}
    ended = {row.node_id for row in spans if row.node_id is not None and row.node_id not in open_nodes}
    counts = Counts(
        spans=len(spans),
        errors=sum(row.status == STATUS_ERROR for row in spans),
        logs=len(logs),
        warnings=sum(row.severity in _WARNINGS for row in logs),
        truncated=truncated,
    )
    return counts, ended
