"""Spans: read by execution, by trace, in lists."""

import heapq

from msgspec.structs import replace

from spane_otel.ids import trace_id_from_hex
from spane_otel.records import Page, SpanRow, Trace, TraceSummary
from spane_otel.stores.admission import check_limit
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.memory.held.telemetry import first_spans
from spane_otel.stores.memory.part import Part


class Traces(Part):
    """Traces, and the spans of executions."""

    async def get_trace(self, execution_id: str, *, include_children: bool = False) -> Trace | None:
        now_ns = self._clock.now_ns()
        with self._lock:
            state = self._state
            if execution_id not in state.executions.held:
                return None
            family = state.executions.with_descendants(execution_id) if include_children else [execution_id]
            self._settling.settle(*family)
            trace_ids = list(dict.fromkeys(key for each in family for key in state.executions.trace_ids(each)))
            rows, truncated = first_spans(each for key in trace_ids if (each := state.telemetry.traces.get(key)))
            rows = state.select_rows(rows, family, now_ns)
            trace = self._trace(rows, now_ns, truncated=truncated)
        return replace(trace, execution_id=execution_id, trace_ids=tuple(key.hex() for key in trace_ids))

    def _trace(self, rows: list[SpanRow], now_ns: int, *, truncated: bool) -> Trace:
        reading = self._state.reading(now_ns)
        spans = reading.spans(rows)
        return Trace(spans=spans, resources=reading.resources, scopes=reading.scopes, truncated=truncated)

    async def get_trace_by_id(self, trace_id: str) -> Trace | None:
        key = trace_id_from_hex(trace_id)
        now_ns = self._clock.now_ns()
        with self._settled:
            held = None if key is None else self._state.telemetry.traces.get(key)
            if held is None or not held.spans:
                return None
            rows, truncated = first_spans([held])
            trace = self._trace(rows, now_ns, truncated=truncated)
        return replace(trace, trace_id=held.trace_key.hex())

    async def list_traces(
        self,
        *,
        service: str | None = None,
        name: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[TraceSummary]:
        check_limit(limit)
        before = None if cursor is None else decode_cursor(cursor, int, bytes)
        now_ns = self._clock.now_ns()
        with self._settled:
            matching = (
                root
                for root in self._state.telemetry.roots()
                if (service is None or root.service == service)
                and (name is None or root.name == name)
                and (since is None or root.start_ns >= since)
                and (until is None or root.start_ns < until)
                and (before is None or (root.start_ns, root.trace_id) < before)
            )
            found = heapq.nlargest(limit + 1, matching, key=lambda root: (root.start_ns, root.trace_id))
            reading = self._state.reading(now_ns)
            items = [
                reading.summary(
                    self._state.telemetry.traces[root.trace_id],
                    root,
                    self._state.executions.executions_of(root.trace_id),
                )
                for root in found[:limit]
            ]
        last = found[limit - 1] if len(found) > limit else None
        return Page(items, None if last is None else encode_cursor(last.start_ns, last.trace_id))
