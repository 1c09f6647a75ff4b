"""Rows of what was added by hand, made when somebody looks: the same that would have been made at once."""

import threading
from types import TracebackType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from spane_otel.derivation import NO_ROOT, ExecutionTraceRow
from spane_otel.ids import added_span_id
from spane_otel.records import Change, ResourceRow, SpanRow
from spane_otel.stores.added import SCOPE, new_change, new_log, new_span
from spane_otel.stores.admission import Window
from spane_otel.stores.memory.held.additions import (
    AddedLog,
    AddedSpan,
    ExecutionAdditions,
    FoldedChange,
    GivenSpan,
)
from spane_otel.stores.memory.held.state import State

ANY_TIME: Final = Window(-(2**63), 2**63 - 1)
"""Times were checked when they were given."""


class Settled:
    """The store's lock, for all that looks at rows: with it held, what was added by hand has its rows."""

    def __init__(self, lock: threading.Lock, state: State, resource: ResourceRow) -> None:
        self._lock = lock
        self._state = state
        self._resource = resource

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._state.additions.unsettled:
            try:
                Settling(self._state, self._resource).run()
            except BaseException:
                self._lock.release()
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


class Settling(Struct):
    """One run over all that is pending; whoever makes it holds the lock."""

    state: State
    resource: ResourceRow

    def run(self) -> None:
        """Make the rows that are missing, and announce them."""
        introduce(self.state, self.resource)
        unsettled = self.state.additions.unsettled
        while unsettled:
            execution_id, of = next(iter(unsettled.items()))
            self._settle(of)
            del unsettled[execution_id]

    def _settle(self, of: ExecutionAdditions) -> None:
        changes: dict[Change, None] = {}
        for added in of.pending:
            if added.is_gone:
                continue
            change = self._settle_span(of, added) if isinstance(added, AddedSpan) else self._settle_log(of, added)
            changes.pop(change, None)
            changes[change] = None
        of.pending.clear()
        self._link(of)
        for change in changes:
            self.state.add_change(change, of.heard_ns)

    def _settle_span(self, of: ExecutionAdditions, added: AddedSpan) -> Change:
        telemetry = self.state.telemetry
        if added.given is not None:
            row = self._make_span(of, added, added.given)
            telemetry.keep_span(row)
            self.state.additions.new_spans -= 1
            added.given = None
            added.key = row.trace_id, row.span_id, row.start_ns
            of.begin(row.start_ns)
        key = added.key or (of.trace_id, 0, 0)
        if added.change is not None:
            telemetry.change_span(_change(added.change, of.heard_ns, telemetry.traces[key[0]].spans[key[1:]]))
            added.change = None
        return Change("spans", of.execution_id, key[0].hex())

    def _make_span(self, of: ExecutionAdditions, added: AddedSpan, given: GivenSpan) -> SpanRow:
        _, new = new_span(
            of.execution_id,
            resource=self.resource,
            now_ns=given.now_ns,
            window=ANY_TIME,
            name=given.name,
            id=added.text,
            node_id=given.node_id,
            parent_id=given.parent_id,
            start_ns=given.start_ns,
            status=given.status,
            error=given.error,
            metadata=given.metadata,
        )
        if given.parent_id is not None:
            new.place(of.trace_id, added_span_id(of.execution_id, given.parent_id))
        new.row.seq = added.seq
        return new.row

    def _settle_log(self, of: ExecutionAdditions, added: AddedLog) -> Change:
        given = added.given
        if given is None:
            return Change("logs", of.execution_id)
        _, row = new_log(
            of.execution_id,
            given.message,
            resource=self.resource,
            now_ns=given.now_ns,
            window=ANY_TIME,
            level=given.level,
            node_id=given.node_id,
            id=added.text,
            time_ns=given.time_ns,
            metadata=given.metadata,
        )
        if given.span_id is not None:
            row.trace_id = of.trace_id
            row.span_id = added_span_id(of.execution_id, given.span_id)
        row.seq = added.seq
        self.state.telemetry.keep_log(row)
        self.state.additions.new_logs -= 1
        added.given = None
        added.key = row.trace_key, row.log_id, row.time_ns
        return Change("logs", of.execution_id, None if row.trace_id is None else row.trace_id.hex())

    def _link(self, of: ExecutionAdditions) -> None:
        """Link the execution's own trace, also where those that it was linked for went before they had a row."""
        if of.earliest_ns is not None:
            link(self.state, of.execution_id, of.trace_id, of.earliest_ns, of.heard_ns)
            of.earliest_ns = None
        if of.trimmed:
            self.state.telemetry.trace(of.trace_id).trimmed += of.trimmed
            of.trimmed = 0


def link(state: State, execution_id: str, trace_id: bytes, start_ns: int, now_ns: int) -> None:
    """Link a trace to an execution that a span of it was added to."""
    row = ExecutionTraceRow(execution_id, trace_id, NO_ROOT, NO_ROOT, start_ns)
    state.add_execution_changes(state.executions.take_rows([row]), now_ns)


def introduce(state: State, resource: ResourceRow) -> None:
    """Hold what rows written by hand point to."""
    state.telemetry.resources.setdefault(resource.resource_id, resource)
    state.telemetry.scopes.setdefault(SCOPE.scope_id, SCOPE)


def _change(folded: FoldedChange, now_ns: int, row: SpanRow) -> SpanRow:
    change = new_change(
        now_ns=now_ns, end_ns=folded.end_ns, status=folded.status, error=folded.error, metadata=folded.metadata
    )
    return replace(change, times=folded.times).apply(row)
