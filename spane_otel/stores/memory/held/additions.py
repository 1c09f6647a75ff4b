"""Which spans and logs were written by hand: found by the text that they were added with."""

from collections.abc import Iterable

from spane_otel.ids import hash16
from spane_otel.records import LogRow, SpanRow

SpanKey = tuple[bytes, int, int]
"""Trace id, span id, start."""


class Additions:
    """What was added to each execution."""

    def __init__(self) -> None:
        self.spans: dict[str, dict[str, SpanKey]] = {}
        """By execution and text."""
        self.logs: dict[str, set[bytes]] = {}
        """The ids of log records, by execution."""

    def add_span(self, row: SpanRow) -> None:
        if row.execution_id is not None and row.added_id is not None:
            self.spans.setdefault(row.execution_id, {})[row.added_id] = row.trace_id, row.span_id, row.start_ns

    def add_log(self, row: LogRow) -> None:
        if row.execution_id is not None:
            self.logs.setdefault(row.execution_id, set()).add(row.log_id)

    def find(self, spans: Iterable[SpanRow], logs: Iterable[LogRow]) -> None:
        """Take those rows of another store that were added by hand there."""
        for span in spans:
            self.add_span(span)
        for log in logs:
            if (
                log.execution_id is not None
                and log.uid is not None
                and log.log_id == added_log_id(log.execution_id, log.uid)
            ):
                self.add_log(log)

    def remove(self, execution_id: str) -> None:
        self.spans.pop(execution_id, None)
        self.logs.pop(execution_id, None)


def added_log_id(execution_id: str, text: str) -> bytes:
    """Return the id of a log record that is added by hand."""
    return hash16(b"added", execution_id.encode(), text.encode())
