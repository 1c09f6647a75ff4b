"""What of a batch is tried, and what became of it."""

from typing import Any, Final

from msgspec import Struct, field

from spane_otel.derivation import version_of
from spane_otel.ids import ZERO_TRACE_ID
from spane_otel.records import (
    SPAN_KINDS,
    SPAN_STATUSES,
    TIME_SOURCES,
    Batch,
    LogRow,
    Rejection,
    ResourceRow,
    ScopeRow,
    SpanRow,
    WriteResult,
)
from spane_otel.stores.admission import Refusal, Window, refuse_log, refuse_span

Row = SpanRow | LogRow
Key = tuple[Any, ...]

_UINT32: Final = 2**32
_KINDS: Final = len(SPAN_KINDS)
_STATUSES: Final = len(SPAN_STATUSES)
_TIME_SOURCES: Final = len(TIME_SOURCES)


class Admitted(Struct):
    """Of each identity in a batch the greatest version, by key, and how many deliveries there were."""

    spans: dict[tuple[bytes, int, int], SpanRow] = field(default_factory=dict)
    logs: dict[tuple[bytes, bytes, int], LogRow] = field(default_factory=dict)
    span_deliveries: int = 0
    log_deliveries: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    lesser: dict[tuple[bytes, int, int], list[SpanRow]] = field(default_factory=dict)
    """Stamped versions of a span that lost within the batch: they link their traces all the same."""

    def rows(self) -> list[Row]:
        """Return every row, spans first, each kind in the order of its key: the order in which rows are locked."""
        return [row for _, row in self.items()]

    def items(self) -> list[tuple[Key, Row]]:
        """Return keys and rows, in the same order."""
        return [*sorted(self.spans.items(), key=_first), *sorted(self.logs.items(), key=_first)]


class Outcome(Struct):
    """What the database did with rows: how many it wrote, and which it refused, by key."""

    spans_written: int = 0
    logs_written: int = 0
    refused: dict[Key, Refusal] = field(default_factory=dict)


def admit(batch: Batch, window: Window, *, is_strict: bool) -> Admitted:
    """Return what of `batch` is tried.

    Not strict, values that the database checks itself (text, the JSON's syntax) are left to it: looking at them here
    costs more than storing them, and a batch that it refuses is admitted again, strictly.
    """
    admitted = Admitted()
    for index, span in enumerate(batch.spans):
        if is_strict or not _is_plain_span(span, window):
            refusal = refuse_span(span, window)
            if refusal is not None:
                admitted.rejected.append(Rejection("spans", index, refusal.reason, refusal.detail))
                continue
        admitted.span_deliveries += 1
        key = span_key(span)
        held = admitted.spans.setdefault(key, span)
        if held is not span:
            lesser = span
            if version_of(span.end_ns, span.revision) > version_of(held.end_ns, held.revision):
                admitted.spans[key], lesser = span, held
            if lesser.stamp is not None:
                admitted.lesser.setdefault(key, []).append(lesser)
    for index, log in enumerate(batch.logs):
        if is_strict or not _is_plain_log(log, window):
            refusal = refuse_log(log, window)
            if refusal is not None:
                admitted.rejected.append(Rejection("logs", index, refusal.reason, refusal.detail))
                continue
        admitted.log_deliveries += 1
        admitted.logs.setdefault((log.trace_key, log.log_id, log.time_ns), log)
    return admitted


def result_of(batch: Batch, admitted: Admitted, outcome: Outcome) -> WriteResult:
    """Return what became of `batch`, in deliveries."""
    rejected = list(admitted.rejected)
    if outcome.refused:
        rejected += _refused_deliveries(batch, outcome.refused, {(each.signal, each.index) for each in rejected})
    refused_spans = sum(each.signal == "spans" for each in rejected) - _count(admitted.rejected, "spans")
    refused_logs = sum(each.signal == "logs" for each in rejected) - _count(admitted.rejected, "logs")
    spans_stored = admitted.span_deliveries - refused_spans
    logs_stored = admitted.log_deliveries - refused_logs
    return WriteResult(
        spans_stored=spans_stored,
        logs_stored=logs_stored,
        spans_duplicate=spans_stored - outcome.spans_written,
        logs_duplicate=logs_stored - outcome.logs_written,
        rejected=sorted(rejected, key=lambda each: (each.signal, each.index)),
    )


def span_key(row: SpanRow) -> tuple[bytes, int, int]:
    """Return a span's identity."""
    return row.trace_id, row.span_id, row.start_ns


def key_of(row: Row) -> Key:
    """Return a row's identity."""
    if isinstance(row, SpanRow):
        return span_key(row)
    return row.trace_key, row.log_id, row.time_ns


def depends_on(row: Row, target: ResourceRow | ScopeRow | str) -> bool:
    """Whether a row points to a resource, a scope or a process."""
    match target:
        case ResourceRow():
            return row.resource_id == target.resource_id
        case ScopeRow():
            return row.scope_id == target.scope_id
        case _:
            return row.process_id == target


def _first(item: tuple[Any, Any]) -> Any:
    return item[0]


def _is_plain_span(row: SpanRow, window: Window) -> bool:
    """Whether nothing about a span asks for a closer look: what the database would take although it is wrong."""
    return (
        window.earliest_ns <= row.start_ns <= window.latest_ns
        and row.span_id != 0
        and row.trace_id != ZERO_TRACE_ID
        and len(row.trace_id) == len(row.resource_id) == len(row.scope_id) == 16
        and 0 <= row.kind < _KINDS
        and 0 <= row.status < _STATUSES
        and 0 <= row.flags < _UINT32
        and row.revision >= 0
        and row.seq >= 0
        and row.attributes[:1] == "{"
        and "\\u" not in row.attributes  # an escaped NUL or surrogate, which json takes and jsonb doesn't
        and (row.events is None or (row.events[:1] == "[" and "\\u" not in row.events))
        and (row.links is None or (row.links[:1] == "[" and "\\u" not in row.links))
        and 0 <= row.dropped_attributes_count < _UINT32
        and 0 <= row.dropped_events_count < _UINT32
        and 0 <= row.dropped_links_count < _UINT32
    )


def _is_plain_log(row: LogRow, window: Window) -> bool:
    return (
        window.earliest_ns <= row.time_ns <= window.latest_ns
        and len(row.trace_key) == len(row.log_id) == len(row.resource_id) == len(row.scope_id) == 16
        and (row.trace_id is None or len(row.trace_id) == 16)
        and 0 <= row.time_source < _TIME_SOURCES
        and 0 <= row.flags < _UINT32
        and row.seq >= 0
        and -(2**15) <= row.severity < 2**15
        and row.attributes[:1] == "{"
        and "\\u" not in row.attributes
        and "\\u" not in row.body
        and 0 <= row.dropped_attributes_count < _UINT32
    )


def _refused_deliveries(batch: Batch, refused: dict[Key, Refusal], settled: set[tuple[str, int]]) -> list[Rejection]:
    """Return a rejection for each delivery of a refused identity that has none yet."""
    rejections = []
    for index, span in enumerate(batch.spans):
        refusal = refused.get(key_of(span))
        if refusal is not None and ("spans", index) not in settled:
            rejections.append(Rejection("spans", index, refusal.reason, refusal.detail))
    for index, log in enumerate(batch.logs):
        refusal = refused.get(key_of(log))
        if refusal is not None and ("logs", index) not in settled:
            rejections.append(Rejection("logs", index, refusal.reason, refusal.detail))
    return rejections


def _count(rejected: list[Rejection], signal: str) -> int:
    return sum(each.signal == signal for each in rejected)
