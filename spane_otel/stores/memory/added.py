"""Spans and logs that are written by hand."""

from collections.abc import Mapping
from typing import Any

from spane_otel.derivation import NO_ROOT, ExecutionTraceRow
from spane_otel.errors import SpanExistsError, StoreUnavailableError, UnknownSpanError
from spane_otel.ids import added_span_id, execution_trace_id, span_id_from_hex
from spane_otel.records import Change, SpanRow
from spane_otel.stores.added import SCOPE, new_change, new_log, new_span
from spane_otel.stores.admission import window_at
from spane_otel.stores.memory.part import Part
from spane_otel.stores.protocols import AddedStatus


class AddedTelemetry(Part):
    """Spans and logs that are written by hand."""

    async def add_log(
        self,
        execution_id: str,
        message: str,
        *,
        level: str = "info",
        node_id: str | None = None,
        id: str | None = None,  # noqa: A002 - the name in the API
        time_ns: int | None = None,
        span_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        now_ns = self._clock.now_ns()
        text, row = new_log(
            execution_id,
            message,
            resource=self._resource,
            now_ns=now_ns,
            window=window_at(now_ns, self._accept_past_days),
            level=level,
            node_id=node_id,
            id=id,
            time_ns=time_ns,
            metadata=metadata,
        )
        with self._lock:
            self._load(execution_id)
            state = self._state
            if row.log_id in state.additions.logs.get(execution_id, ()):
                return text
            if span_id is not None:
                trace_id, row.span_id = self._place_of(execution_id, span_id)
                row.trace_id = row.trace_key = trace_id
            if self._room.make(state, 0, 1, frozenset([row.trace_key]), now_ns).logs < 1:
                raise StoreUnavailableError("the store is full of what still runs")
            self._introduce()
            row.seq = state.next_seq()
            state.telemetry.keep_log(row)
            state.additions.add_log(row)
            trace_hex = None if row.trace_id is None else row.trace_id.hex()
            state.changes.add(Change("logs", execution_id, trace_hex), now_ns)
        return text

    async def add_span(
        self,
        execution_id: str,
        *,
        name: str,
        id: str | None = None,  # noqa: A002 - the name in the API
        node_id: str | None = None,
        parent_id: str | None = None,
        start_ns: int | None = None,
        status: AddedStatus = "running",
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        now_ns = self._clock.now_ns()
        text, new = new_span(
            execution_id,
            resource=self._resource,
            now_ns=now_ns,
            window=window_at(now_ns, self._accept_past_days),
            name=name,
            id=id,
            node_id=node_id,
            parent_id=parent_id,
            start_ns=start_ns,
            status=status,
            error=error,
            metadata=metadata,
        )
        with self._lock:
            self._load(execution_id)
            held = self._added(execution_id, text)
            if held is not None:
                if new.is_same(held):
                    return text
                raise SpanExistsError(execution_id, text)
            if parent_id is not None:
                new.place(*self._place_of(execution_id, parent_id))
            row = new.row
            if self._room.make(self._state, 1, 0, frozenset([row.trace_id]), now_ns).spans < 1:
                raise StoreUnavailableError("the store is full of what still runs")
            self._introduce()
            row.seq = self._state.next_seq()
            self._keep_span(row, now_ns)
        return text

    async def update_span(
        self,
        execution_id: str,
        span_id: str,
        *,
        end_ns: int | None = None,
        status: AddedStatus | None = None,
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        change = new_change(now_ns=self._clock.now_ns(), end_ns=end_ns, status=status, error=error, metadata=metadata)
        with self._lock:
            self._load(execution_id)
            held = self._added(execution_id, span_id)
            if held is None:
                raise UnknownSpanError(execution_id, span_id)
            if not change.is_empty:
                self._state.telemetry.change_span(change.apply(held))
                self._state.changes.add(Change("spans", execution_id, held.trace_id.hex()), change.now_ns)

    def _added(self, execution_id: str, text: str) -> SpanRow | None:
        """Return the span that was added to an execution with a text."""
        key = self._state.additions.spans.get(execution_id, {}).get(text)
        return None if key is None else self._state.telemetry.traces[key[0]].spans[key[1:]]

    def _place_of(self, execution_id: str, text: str) -> tuple[bytes, int]:
        """Return trace and span id of what a text stands for: a span that was added, else one of the traces by its id.

        One that isn't there may be added later, in the execution's own trace.
        """
        row = self._added(execution_id, text)
        if row is not None:
            return row.trace_id, row.span_id
        span_id = span_id_from_hex(text)
        if span_id is not None:
            for trace in self._state.traces_of(execution_id):
                if any(each == span_id for each, _ in trace.spans):
                    return trace.trace_key, span_id
        return execution_trace_id(execution_id), added_span_id(execution_id, text)

    def _introduce(self) -> None:
        telemetry = self._state.telemetry
        telemetry.resources.setdefault(self._resource.resource_id, self._resource)
        telemetry.scopes.setdefault(SCOPE.scope_id, SCOPE)

    def _keep_span(self, row: SpanRow, now_ns: int) -> None:
        state = self._state
        execution_id = row.execution_id or ""
        state.telemetry.keep_span(row)
        state.additions.add_span(row)
        link = ExecutionTraceRow(execution_id, row.trace_id, NO_ROOT, NO_ROOT, row.start_ns)
        state.add_execution_changes(state.executions.take_rows([link]), now_ns)
        state.changes.add(Change("spans", execution_id, row.trace_id.hex()), now_ns)
