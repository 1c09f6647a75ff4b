"""Logs: which of them a reader asked for, and a page of them."""

from collections.abc import Iterable

from msgspec import Struct

from spane_otel.derivation import select_execution
from spane_otel.errors import InvalidValueError
from spane_otel.ids import span_id_from_hex, span_id_to_hex, trace_id_from_hex
from spane_otel.records import LogPage, LogRow, least_severity
from spane_otel.stores.admission import check_limit
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.memory.held.reading import message_of
from spane_otel.stores.memory.held.state import State
from spane_otel.stores.memory.held.telemetry import HeldTrace, first_spans, log_order
from spane_otel.stores.memory.part import Part


class Logs(Part):
    """Logs: read by execution, by trace, in lists."""

    async def get_logs(
        self,
        execution_id: str,
        *,
        level: str | None = None,
        node_id: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LogPage:
        check_limit(limit)
        wanted = LogFilter(least_severity=severity_of(level), node_id=node_id, text=text)
        now_ns = self._clock.now_ns()
        with self._lock:
            known = execution_id in self._state.executions.held
            self._settling.settle(execution_id)
            rows = execution_logs(self._state, execution_id, now_ns) if known else ()
            return page_logs(self._state, rows, wanted, limit, cursor, now_ns)

    async def list_logs(
        self,
        *,
        trace_id: str | None = None,
        span_id: str | None = None,
        level: str | None = None,
        text: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LogPage:
        check_limit(limit)
        span = None if span_id is None else span_id_from_hex(span_id)
        wanted = LogFilter(least_severity=severity_of(level), span_id=span, text=text, since=since, until=until)
        now_ns = self._clock.now_ns()
        with self._settled:
            traces = [] if span_id is not None and span is None else self._traces_with(trace_id)
            rows = (row for trace in traces for row in trace.logs.values())
            return page_logs(self._state, rows, wanted, limit, cursor, now_ns)

    def _traces_with(self, trace_id: str | None) -> list[HeldTrace]:
        traces = self._state.telemetry.traces
        if trace_id is None:
            return list(traces.values())
        key = trace_id_from_hex(trace_id)
        return [traces[key]] if key in traces else []


class LogFilter(Struct, frozen=True, kw_only=True):
    """What a log must meet; None asks for nothing."""

    least_severity: int | None = None
    node_id: str | None = None
    span_id: int | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None

    def admits(self, row: LogRow) -> bool:
        return (
            (self.least_severity is None or row.severity >= self.least_severity)
            and (self.node_id is None or row.node_id == self.node_id)
            and (self.span_id is None or row.span_id == self.span_id)
            and (self.since is None or row.time_ns >= self.since)
            and (self.until is None or row.time_ns < self.until)
            and (self.text is None or self.text.lower() in message_of(row).lower())
        )


def severity_of(level: str | None) -> int | None:
    """Return the least severity that a level admits.

    Raises:
        InvalidValueError: it is no level.

    """
    if level is None:
        return None
    try:
        return least_severity(level)
    except ValueError:
        raise InvalidValueError(f"{level!r} is no level", reason="level") from None


def execution_logs(state: State, execution_id: str, now_ns: int) -> Iterable[LogRow]:
    """Yield an execution's logs: those without a trace, all of its own traces, its part of shared ones."""
    for trace_key in state.keys_of(execution_id):
        trace = state.telemetry.traces.get(trace_key)
        if trace is None:
            continue
        if not state.executions.is_shared(trace_key):
            yield from trace.logs.values()
            continue
        own_spans = _own_spans(state, trace, execution_id, now_ns)
        for row in trace.logs.values():
            span_id = None if row.span_id is None else span_id_to_hex(row.span_id)
            if row.execution_id == execution_id or (row.execution_id is None and span_id in own_spans):
                yield row


def page_logs(
    state: State, rows: Iterable[LogRow], wanted: LogFilter, limit: int, cursor: str | None, now_ns: int
) -> LogPage:
    """Return the first `limit` of `rows` after `cursor` that meet the filter, in order.

    Raises:
        InvalidValueError: the cursor is not one of ours.

    """
    after = None if cursor is None else decode_cursor(cursor, int, int, bytes, bytes)
    found = sorted(
        (row for row in rows if wanted.admits(row) and (after is None or log_order(row) > after)), key=log_order
    )
    shown = found[:limit]
    following = encode_cursor(*log_order(shown[-1])) if len(found) > limit else None
    reading = state.reading(now_ns)
    return LogPage(reading.logs(shown), following, reading.resources, reading.scopes)


def _own_spans(state: State, trace: HeldTrace, execution_id: str, now_ns: int) -> frozenset[str]:
    """Return the ids of the spans of a shared trace that belong to an execution; another's first span doesn't."""
    rows, _ = first_spans([trace])
    shared = frozenset([trace.trace_key.hex()])
    chosen = select_execution(state.spans(rows, now_ns), execution_id, shared)
    return frozenset(span.span_id for span in chosen if span.execution_id in (None, execution_id))
