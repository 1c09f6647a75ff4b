"""Marks on the bars of a timeline: log records and span events."""

from collections.abc import Iterable
from typing import Final, Literal

from spane_otel.records import Log, Span
from spane_otel.traces.origin import is_failed
from spane_otel.traces.tree import SpanKey

MarkKind = Literal["debug", "info", "event", "warning", "error"]
Mark = tuple[int, MarkKind]
"""Nanoseconds since the beginning of the axis, and what it is."""

MARKS_PER_ROW: Final = 60


def log_marks(logs: Iterable[Log], base_ns: int) -> dict[SpanKey, list[Mark]]:
    marks: dict[SpanKey, list[Mark]] = {}
    for log in logs:
        if log.trace_id is not None and log.span_id is not None:
            marks.setdefault((log.trace_id, log.span_id), []).append((log.time_ns - base_ns, mark_kind(log)))
    return marks


def mark_kind(log: Log) -> MarkKind:
    """Return which mark stands for a log record."""
    match log.level:
        case "error" | "fatal":
            return "error"
        case "warn":
            return "warning"
        case "trace" | "debug":
            return "debug"
        case _:
            return "info"


def span_marks(span: Span, base_ns: int, logs: dict[SpanKey, list[Mark]]) -> list[Mark]:
    marks = list(logs.get((span.trace_id, span.span_id), ()))
    if span.events.text != "[]":
        told = is_failed(span) or span.state == "cancelled"  # the bar and its label tell the exception
        marks.extend(
            (int(event.get("time_ns") or 0) - base_ns, "event")
            for event in span.events
            if not (told and event.get("name") == "exception")
        )
    return sorted(marks)[:MARKS_PER_ROW]
