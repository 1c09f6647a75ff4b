"""One batch into the in-memory store."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from spane_otel.counters import Signal
from spane_otel.derivation import execution_trace_rows, version_of
from spane_otel.records import Batch, LogRow, Rejection, SpanRow, WriteResult
from spane_otel.stores.admission import Window, refuse_log, refuse_span
from spane_otel.stores.memory.held.state import State
from spane_otel.stores.memory.room import Room

STORE_FULL: Final = "store_full"
"""The reason of a new row for which no room can be made, since all that is held is running."""


class Admitted(Struct):
    """The rows of a batch that can be stored, with their positions, and the others' rejections."""

    spans: list[tuple[int, SpanRow]] = field(default_factory=list)
    logs: list[tuple[int, LogRow]] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    def reject_full(self, signal: Signal, indexes: list[int]) -> None:
        """Move rows from what was admitted to what is rejected for want of room."""
        refused = frozenset(indexes)
        if signal == "spans":
            self.spans = [each for each in self.spans if each[0] not in refused]
        else:
            self.logs = [each for each in self.logs if each[0] not in refused]
        detail = "the store is full of what still runs"
        self.rejected += [Rejection(signal, index, STORE_FULL, detail) for index in indexes]

    def trace_keys(self) -> frozenset[bytes]:
        return frozenset((*(row.trace_id for _, row in self.spans), *(row.trace_key for _, row in self.logs)))


def admit(batch: Batch, window: Window) -> Admitted:
    """Return what of `batch` can be stored; needs no lock."""
    admitted = Admitted()
    for index, span in enumerate(batch.spans):
        refusal = refuse_span(span, window)
        if refusal is None:
            admitted.spans.append((index, span))
        else:
            admitted.rejected.append(Rejection("spans", index, refusal.reason, refusal.detail))
    for index, log in enumerate(batch.logs):
        refusal = refuse_log(log, window)
        if refusal is None:
            admitted.logs.append((index, log))
        else:
            admitted.rejected.append(Rejection("logs", index, refusal.reason, refusal.detail))
    return admitted


def store_batch(state: State, room: Room, batch: Batch, admitted: Admitted, now_ns: int) -> WriteResult:
    """Store what was admitted of `batch`, and what it says of executions and processes; the caller holds the lock."""
    _make_room(state, room, admitted, now_ns)
    _hear(state, batch, admitted, now_ns)
    changed = _keep(state, batch, admitted)
    rows = execution_trace_rows(row for _, row in admitted.spans)
    state.add_execution_changes(state.executions.take_rows(rows), now_ns)
    return _conclude(state, admitted, changed, now_ns)


def store_rows(state: State, room: Room, batch: Batch, admitted: Admitted, now_ns: int) -> WriteResult:
    """Store what was admitted of `batch` and nothing else; the caller holds the lock."""
    _make_room(state, room, admitted, now_ns)
    spans, logs = _keep(state, batch, admitted)
    state.additions.take_spans(spans)
    state.additions.take_logs(logs)
    return _conclude(state, admitted, (spans, logs), now_ns)


def _keep(state: State, batch: Batch, admitted: Admitted) -> tuple[list[SpanRow], list[LogRow]]:
    """Hold rows and what they point to; return those that changed something."""
    _take_resources(state, batch)
    spans = [row for row in _greatest(row for _, row in admitted.spans) if state.telemetry.keep_span(row)]
    logs = [row for _, row in admitted.logs if state.telemetry.keep_log(row)]
    return spans, logs


def _conclude(
    state: State, admitted: Admitted, changed: tuple[list[SpanRow], list[LogRow]], now_ns: int
) -> WriteResult:
    spans, logs = changed
    for change in state.row_changes(spans, logs):
        state.add_change(change, now_ns)
    return WriteResult(
        spans_stored=len(admitted.spans),
        logs_stored=len(admitted.logs),
        spans_duplicate=len(admitted.spans) - len(spans),
        logs_duplicate=len(admitted.logs) - len(logs),
        rejected=sorted(admitted.rejected, key=lambda each: (each.signal, each.index)),
    )


def _greatest(rows: Iterable[SpanRow]) -> Iterable[SpanRow]:
    """Return the greatest version of each span of a batch, of equals the first."""
    kept: dict[tuple[bytes, int, int], SpanRow] = {}
    for row in rows:
        key = row.trace_id, row.span_id, row.start_ns
        held = kept.get(key)
        if held is None or version_of(row.end_ns, row.revision) > version_of(held.end_ns, held.revision):
            kept[key] = row
    return kept.values()


def _make_room(state: State, room: Room, admitted: Admitted, now_ns: int) -> None:
    """Move the new rows for which no room can be made from what was admitted to what is rejected."""
    telemetry = state.telemetry
    new_spans = {_span_key(row) for _, row in admitted.spans if not telemetry.holds_span(row)}
    new_logs = {_log_key(row) for _, row in admitted.logs if not telemetry.holds_log(row)}
    free = room.make(state, len(new_spans), len(new_logs), admitted.trace_keys(), now_ns)
    homeless = set(sorted(new_spans)[max(free.spans, 0) :])
    admitted.reject_full("spans", [index for index, row in admitted.spans if _span_key(row) in homeless])
    homeless_logs = set(sorted(new_logs)[max(free.logs, 0) :])
    admitted.reject_full("logs", [index for index, row in admitted.logs if _log_key(row) in homeless_logs])


def _span_key(row: SpanRow) -> tuple[bytes, int, int]:
    return row.trace_id, row.start_ns, row.span_id


def _log_key(row: LogRow) -> tuple[bytes, int, bytes]:
    return row.trace_key, row.time_ns, row.log_id


def _take_resources(state: State, batch: Batch) -> None:
    for resource in batch.resources.values():
        state.telemetry.resources.setdefault(resource.resource_id, resource)
    for scope in batch.scopes.values():
        state.telemetry.scopes.setdefault(scope.scope_id, scope)


def _hear(state: State, batch: Batch, admitted: Admitted, now_ns: int) -> None:
    """Note which processes are alive; what a stale one runs has changed."""
    named = {row.process_id for _, row in admitted.spans} | {row.process_id for _, row in admitted.logs}
    for process_id in named:
        if process_id is not None:
            state.processes.introduce(process_id, now_ns)
    revived = frozenset(each for each in batch.heartbeats if state.processes.heartbeat(each, now_ns))
    if revived:
        state.add_execution_changes(list(state.executions.run_by(revived)), now_ns)
