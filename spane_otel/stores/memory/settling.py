"""Rows of what was added by hand, made when somebody looks: the same that would have been made at once."""

import threading
from types import TracebackType

from msgspec import Struct
from msgspec.structs import replace

from spane_otel.ids import added_span_id
from spane_otel.records import ResourceRow, SpanRow
from spane_otel.stores.added import SCOPE, log_row, new_change, span_row
from spane_otel.stores.memory.held.additions import (
    AddedLog,
    AddedSpan,
    ExecutionAdditions,
    FoldedChange,
    GivenLog,
    GivenSpan,
)
from spane_otel.stores.memory.held.state import State


class Settling(Struct):
    """Makes the rows that are missing; whoever calls it holds the lock."""

    state: State
    resource: ResourceRow
    """Of what is written by hand."""

    def settle(self, *execution_ids: str) -> None:
        """Make the rows of executions and of those with which they share traces."""
        executions = self.state.executions
        for execution_id in execution_ids:
            family = {execution_id}
            for trace_id in executions.trace_ids(execution_id):
                family.update(executions.executions_of(trace_id))
            for each in family:
                self._settle(each)

    def settle_all(self) -> None:
        """Make all rows."""
        for execution_id in list(self.state.additions.unsettled):
            self._settle(execution_id)

    def _settle(self, execution_id: str) -> None:
        of = self.state.additions.unsettled.get(execution_id)
        if of is None:
            return
        self.state.telemetry.introduce(self.resource, SCOPE)
        for added in of.pending:
            if added.is_gone:
                continue
            if isinstance(added, AddedLog):
                self._settle_log(of, added, added.given)
            else:
                self._settle_span(of, added)
        of.pending.clear()
        del self.state.additions.unsettled[execution_id]
        if of.trimmed:
            self.state.telemetry.trace(of.trace_id).trimmed += of.trimmed
            of.trimmed = 0

    def _settle_span(self, of: ExecutionAdditions, added: AddedSpan) -> None:
        telemetry = self.state.telemetry
        if added.given is not None:
            row = _make_span(of, added, added.given, self.resource)
            telemetry.keep_span(row)
            self.state.additions.new_spans -= 1
            added.given = None
            added.key = row.trace_id, row.span_id, row.start_ns
        if added.change is not None and added.key is not None:
            row = telemetry.traces[added.key[0]].spans[added.key[1:]]
            telemetry.change_span(_change(row, added.change))
            added.change = None

    def _settle_log(self, of: ExecutionAdditions, added: AddedLog, given: GivenLog | None) -> None:
        if given is None:
            return
        row = log_row(
            of.execution_id,
            added.text,
            given.message,
            resource=self.resource,
            now_ns=given.now_ns,
            level=given.level,
            node_id=given.node_id,
            time_ns=added.time_ns,
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


class Settled:
    """The store's lock, for who looks at rows of any execution: with it held, all have been made."""

    def __init__(self, lock: threading.Lock, settling: Settling) -> None:
        self._lock = lock
        self._settling = settling

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            self._settling.settle_all()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()


def _make_span(of: ExecutionAdditions, added: AddedSpan, given: GivenSpan, resource: ResourceRow) -> SpanRow:
    row = span_row(
        of.execution_id,
        added.text,
        resource=resource,
        now_ns=given.now_ns,
        name=given.name,
        node_id=given.node_id,
        parent_id=given.parent_id,
        start_ns=given.start_ns,
        status=given.status,
        error=given.error,
        metadata=given.metadata,
    )
    if given.parent_id is not None:
        row.parent_id = added_span_id(of.execution_id, given.parent_id)
    row.seq = added.seq
    return row


def _change(row: SpanRow, folded: FoldedChange) -> SpanRow:
    change = new_change(
        now_ns=row.start_ns,  # its end is known already
        end_ns=folded.end_ns,
        status=folded.status,
        error=folded.error,
        metadata=folded.metadata,
    )
    return replace(change, times=folded.times).apply(row)
