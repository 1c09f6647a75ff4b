"""Spans and logs that are written by hand.

What is plain is kept as it was given, its row made when somebody looks (`settling.py`). All else, also what is to be
refused, goes the long way: the row is made at once.
"""

from collections.abc import Mapping
from typing import Any

from spane_otel.errors import SpanExistsError, StoreUnavailableError, UnknownSpanError
from spane_otel.ids import added_span_id, new_execution_id, span_id_from_hex
from spane_otel.records import Change, SpanRow
from spane_otel.stores.added import FINAL, SCOPE, new_change, new_log, new_span
from spane_otel.stores.admission import ACCEPT_FUTURE_NS, window_at
from spane_otel.stores.memory.held.additions import (
    FOLDED_METADATA,
    AddedLog,
    AddedSpan,
    ExecutionAdditions,
    FoldedChange,
    GivenChange,
    GivenLog,
    GivenSpan,
)
from spane_otel.stores.memory.part import Part
from spane_otel.stores.memory.plain import is_plain_change, is_plain_log, is_plain_span
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
        text = new_execution_id() if id is None else id
        given = GivenLog(self._clock.now_ns(), message, level, node_id, time_ns, span_id, metadata)
        if is_plain_log(text, given):
            with self._lock:
                if self._take_log(execution_id, text, given):
                    return text
        self._store_log(execution_id, text, given)
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
        text = new_execution_id() if id is None else id
        given = GivenSpan(self._clock.now_ns(), name, node_id, parent_id, start_ns, status, error, metadata)
        if is_plain_span(text, given):
            with self._lock:
                if self._take_span(execution_id, text, given):
                    return text
        self._store_span(execution_id, text, given)
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
        given = GivenChange(self._clock.now_ns(), end_ns, status, error, metadata)
        if is_plain_change(given):
            with self._lock:
                if self._take_change(execution_id, span_id, given):
                    return
        self._store_change(execution_id, span_id, given)

    # --- kept as it was given; False: it goes the long way ---

    def _take_span(self, execution_id: str, text: str, given: GivenSpan) -> bool:
        state = self._state
        additions = state.additions
        now_ns = given.now_ns
        start_ns = now_ns if given.start_ns is None else given.start_ns
        if (
            execution_id not in state.executions.held
            or not now_ns - self._past_ns <= start_ns <= now_ns + ACCEPT_FUTURE_NS
            or state.telemetry.span_count + additions.new_spans >= self._room.limits.max_spans
        ):
            return False
        of = additions.of_execution(execution_id)
        parent = None
        if given.parent_id is not None:
            parent = of.spans.get(given.parent_id)
            if parent is None or not of.is_own(parent):
                return False
        if text in of.spans:
            return False
        if given.metadata is not None:
            given.metadata = dict(given.metadata)
        end_ns = max(now_ns, start_ns) if given.status in FINAL else None
        span = AddedSpan(text, start_ns, additions.next_seq(), end_ns, parent is not None, parent, given)
        of.put_span(span)
        additions.wait(of, span)
        additions.new_spans += 1
        if of.linked_ns is None or start_ns < of.linked_ns:
            of.linked_ns = start_ns
            state.link(execution_id, of.trace_id, start_ns, now_ns)
        if not of.has_spans:
            of.has_spans = True
            additions.unannounced[execution_id] = of
        if execution_id in state.finished:
            state.hear(execution_id, now_ns)
        if len(of.spans) > self._room.limits.max_spans_per_execution:
            self._room.bound_spans(state, of, span)
        return True

    def _take_change(self, execution_id: str, text: str, given: GivenChange) -> bool:
        additions = self._state.additions
        of = additions.of.get(execution_id)
        span = None if of is None else of.spans.get(text)
        if of is None or span is None or not of.is_own(span):
            return False
        if given.is_empty:
            return True
        change = span.change or FoldedChange()
        if given.metadata is not None:
            if change.metadata is None:
                change.metadata = dict(given.metadata)
            elif len(change.metadata) + len(given.metadata) > FOLDED_METADATA:
                return False
            else:
                change.metadata.update(given.metadata)
        if given.end_ns is not None:
            span.end_ns = change.end_ns = given.end_ns
        elif span.end_ns is None and given.status in FINAL:
            span.end_ns = change.end_ns = max(given.now_ns, span.start_ns)
        of.reconsider(span)
        if given.status is not None:
            change.status = given.status
        if given.error is not None:
            change.error = given.error
        change.times += 1
        if span.given is None and span.change is None:
            additions.wait(of, span)
        span.change = change
        if not of.has_spans:
            of.has_spans = True
            additions.unannounced[execution_id] = of
        if execution_id in self._state.finished:
            self._state.hear(execution_id, given.now_ns)
        return True

    def _take_log(self, execution_id: str, text: str, given: GivenLog) -> bool:
        state = self._state
        additions = state.additions
        now_ns = given.now_ns
        time_ns = now_ns if given.time_ns is None else given.time_ns
        if (
            execution_id not in state.executions.held
            or not now_ns - self._past_ns <= time_ns <= now_ns + ACCEPT_FUTURE_NS
            or state.telemetry.log_count + additions.new_logs >= self._room.limits.max_logs
        ):
            return False
        of = additions.of_execution(execution_id)
        if given.span_id is not None:
            span = of.spans.get(given.span_id)
            if span is None or not of.is_own(span):
                return False
        if text in of.logs:
            return True
        if given.metadata is not None:
            given.metadata = dict(given.metadata)
        log = AddedLog(text, time_ns, additions.next_seq(), given)
        of.logs[text] = log
        additions.wait(of, log)
        additions.new_logs += 1
        if given.span_id is None:
            of.has_logs = True
        else:
            of.has_span_logs = True
        additions.unannounced[execution_id] = of
        if execution_id in state.finished:
            state.hear(execution_id, now_ns)
        if len(of.logs) > self._room.limits.max_logs_per_execution:
            self._room.bound_logs(state, of, log)
        return True

    # --- the long way: checked in full, and its row made at once ---

    def _store_span(self, execution_id: str, text: str, given: GivenSpan) -> None:
        _, new = new_span(
            execution_id,
            resource=self._resource,
            now_ns=given.now_ns,
            window=window_at(given.now_ns, self._accept_past_days),
            name=given.name,
            id=text,
            node_id=given.node_id,
            parent_id=given.parent_id,
            start_ns=given.start_ns,
            status=given.status,
            error=given.error,
            metadata=given.metadata,
        )
        row = new.row
        with self._lock:
            self._load(execution_id)
            self._settling.settle(execution_id)
            state = self._state
            of = state.additions.of_execution(execution_id)
            held = of.spans.get(text)
            if held is not None:
                if new.is_same(self._row_of(held)):
                    return
                raise SpanExistsError(execution_id, text)
            parent = None
            if given.parent_id is not None:
                parent = of.spans.get(given.parent_id)
                new.place(*self._place_of(of, given.parent_id))
            self._make_room(1, 0, row.trace_id, given.now_ns)
            row.seq = state.additions.next_seq()
            span = AddedSpan(text, row.start_ns, row.seq, row.end_ns, row.parent_id is not None, parent)
            span.key = row.trace_id, row.span_id, row.start_ns
            state.telemetry.keep_span(row)
            of.put_span(span)
            state.link(execution_id, row.trace_id, row.start_ns, given.now_ns)
            state.add_change(Change("spans", execution_id, row.trace_id.hex()), given.now_ns)
            self._room.bound_spans(state, of, span)

    def _store_change(self, execution_id: str, text: str, given: GivenChange) -> None:
        change = new_change(
            now_ns=given.now_ns,
            end_ns=given.end_ns,
            status=given.status,
            error=given.error,
            metadata=given.metadata,
        )
        with self._lock:
            self._load(execution_id)
            self._settling.settle(execution_id)
            of = self._state.additions.of.get(execution_id)
            span = None if of is None else of.spans.get(text)
            if of is None or span is None:
                raise UnknownSpanError(execution_id, text)
            if change.is_empty:
                return
            row = change.apply(self._row_of(span))
            span.end_ns = row.end_ns
            of.reconsider(span)
            self._state.telemetry.change_span(row)
            self._state.add_change(Change("spans", execution_id, row.trace_id.hex()), given.now_ns)

    def _store_log(self, execution_id: str, text: str, given: GivenLog) -> None:
        _, row = new_log(
            execution_id,
            given.message,
            resource=self._resource,
            now_ns=given.now_ns,
            window=window_at(given.now_ns, self._accept_past_days),
            level=given.level,
            node_id=given.node_id,
            id=text,
            time_ns=given.time_ns,
            metadata=given.metadata,
        )
        with self._lock:
            self._load(execution_id)
            self._settling.settle(execution_id)
            state = self._state
            of = state.additions.of_execution(execution_id)
            if text in of.logs:
                return
            if given.span_id is not None:
                trace_id, row.span_id = self._place_of(of, given.span_id)
                row.trace_id = row.trace_key = trace_id
            self._make_room(0, 1, row.trace_key, given.now_ns)
            row.seq = state.additions.next_seq()
            state.telemetry.keep_log(row)
            log = AddedLog(text, row.time_ns, row.seq, key=(row.trace_key, row.log_id, row.time_ns))
            of.logs[text] = log
            trace_hex = None if row.trace_id is None else row.trace_id.hex()
            state.add_change(Change("logs", execution_id, trace_hex), given.now_ns)
            self._room.bound_logs(state, of, log)

    def _make_room(self, spans: int, logs: int, trace_key: bytes, now_ns: int) -> None:
        """See to it that one more row fits, and that the store holds what it points to.

        Raises:
            StoreUnavailableError: all that could make room still runs.

        """
        free = self._room.make(self._state, spans, logs, frozenset([trace_key]), now_ns)
        if free.spans < spans or free.logs < logs:
            raise StoreUnavailableError("the store is full of what still runs")
        self._state.telemetry.introduce(self._resource, SCOPE)

    def _row_of(self, span: AddedSpan) -> SpanRow:
        key = span.key or (b"", 0, 0)  # what is settled has one
        return self._state.telemetry.traces[key[0]].spans[key[1:]]

    def _place_of(self, of: ExecutionAdditions, text: str) -> tuple[bytes, int]:
        """Return trace and span id of what a text stands for: a span that was added, else one of the traces by its id.

        One that isn't there may be added later, in the execution's own trace.
        """
        span = of.spans.get(text)
        if span is not None and span.key is not None:
            return span.key[0], span.key[1]
        span_id = span_id_from_hex(text)
        if span_id is not None:
            for trace in self._state.traces_of(of.execution_id):
                if any(each == span_id for each, _ in trace.spans):
                    return trace.trace_key, span_id
        return of.trace_id, added_span_id(of.execution_id, text)
