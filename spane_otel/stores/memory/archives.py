"""What moves between stores."""

import heapq
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from spane_otel.archives import ExecutionArchive, TelemetryArchive
from spane_otel.derivation import fold
from spane_otel.ids import span_id_to_bytes
from spane_otel.jsontext import encode_payload
from spane_otel.records import Batch, LogRow, SpanRow, WriteResult
from spane_otel.stores.admission import Window, check_execution_id, check_limit
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.memory.held.executions import HeldExecution
from spane_otel.stores.memory.held.journal import (
    Journal,
    dead_letter_record,
    held_dead_letter,
    held_result,
    result_record,
)
from spane_otel.stores.memory.logs import execution_logs
from spane_otel.stores.memory.part import Part
from spane_otel.stores.memory.writing import admit, store_rows

ANY_TIME: Final = Window(-(2**63), 2**63 - 1)

Key = tuple[bytes, int, int, bytes]
"""Trace key, 0 for a span and 1 for a log, start or time, id: the order in which rows are handed on."""


class Archives(Part):
    """Executions and telemetry: given and taken whole."""

    async def read_execution(self, execution_id: str) -> ExecutionArchive | None:
        now_ns = self._clock.now_ns()
        with self._lock:
            executions = self._state.executions
            held = executions.held.get(execution_id)
            if held is None:
                return None
            journal = executions.journals[execution_id]
            letters = sorted(journal.dead_letters.values(), key=lambda each: each.order)
            return ExecutionArchive(
                # Whether its process is stale is the other store's to find out.
                execution=replace(self._state.execution(held, now_ns), abandoned_since_ns=None),
                nodes_total=journal.nodes_total,
                content_hash=journal.content_hash,
                timeout_ns=journal.timeout_ns,
                process_id=held.process_id,
                traces=[replace(row) for row in executions.rows_of(execution_id)],
                node_results=[result_record(each) for each in journal.results()],
                audit=list(journal.audit),
                dead_letters=[dead_letter_record(each, execution_id) for each in letters],
                has_initial_data=held.initial_data is not None,
                has_result=held.result is not None,
            )

    async def write_execution(self, archive: ExecutionArchive) -> None:
        held = _held(archive)
        check_execution_id(held.execution_id)
        journal = _journal(archive)
        now_ns = self._clock.now_ns()
        with self._lock:
            executions = self._state.executions
            if held.execution_id in executions.held:
                executions.remove(held.execution_id)
            executions.put(held)
            executions.journals[held.execution_id] = journal
            executions.put_rows(held.execution_id, [replace(row) for row in archive.traces])
            version = held.workflow_version
            pinned = None if version is None else self._state.workflows.version(held.workflow_id, version)
            journal.pin(None if pinned is None or held.origin == "spans" else pinned.nodes)
            if journal.nodes_total is None:
                journal.nodes_total = archive.nodes_total
            self._announce(held.execution_id, now_ns)
            self._room.bound_executions(self._state, now_ns)
            self._room.clean(self._state, now_ns)

    async def read_telemetry(
        self, execution_id: str | None = None, *, limit: int = 1_000, cursor: str | None = None
    ) -> TelemetryArchive:
        check_limit(limit)
        after: Key | None = None if cursor is None else decode_cursor(cursor, bytes, int, int, bytes)
        now_ns = self._clock.now_ns()
        with self._lock:
            if execution_id is None:
                self._settling.settle_all()
            else:
                self._settling.settle(execution_id)
            rows = self._all_rows(after, limit) if execution_id is None else self._own_rows(execution_id, now_ns)
            found: list[tuple[Key, SpanRow | LogRow]] = []
            for key, row in rows:
                if after is None or key > after:
                    found.append((key, row))
                    if len(found) > limit:
                        break
            return TelemetryArchive(
                batch=self._batch([row for _, row in found[:limit]]),
                next=encode_cursor(*found[limit - 1][0]) if len(found) > limit else None,
            )

    def _all_rows(self, after: Key | None, limit: int) -> Iterator[tuple[Key, SpanRow | LogRow]]:
        """Yield rows in order, from the trace of `after` on, at least `limit` + 1 after it if there are."""
        traces = self._state.telemetry.traces
        keys = (key for key in traces if after is None or key >= after[0])
        for key in heapq.nsmallest(limit + 2, keys):
            trace = traces[key]
            yield from _ordered([*trace.spans.values(), *trace.logs.values()])

    def _own_rows(self, execution_id: str, now_ns: int) -> Iterator[tuple[Key, SpanRow | LogRow]]:
        if execution_id not in self._state.executions.held:
            return
        spans = [row for trace in self._state.traces_of(execution_id) for row in trace.ordered_spans()]
        spans = self._state.select_rows(spans, [execution_id], now_ns)
        yield from _ordered([*spans, *execution_logs(self._state, execution_id, now_ns)])

    def _batch(self, rows: list[SpanRow | LogRow]) -> Batch:
        telemetry = self._state.telemetry
        batch = Batch()
        for row in rows:
            if isinstance(row, SpanRow):
                batch.spans.append(replace(row, stamp=None))  # what it says of its execution goes with that
            else:
                batch.logs.append(replace(row))
            resource = telemetry.resources.get(row.resource_id)
            if resource is not None:
                batch.resources[row.resource_id] = resource
            scope = telemetry.scopes.get(row.scope_id)
            if scope is not None:
                batch.scopes[row.scope_id] = scope
        return batch

    async def write_telemetry(self, batch: Batch) -> WriteResult:
        admitted = admit(batch, ANY_TIME)
        now_ns = self._clock.now_ns()
        with self._settled:
            return store_rows(self._state, self._room, batch, admitted, now_ns)


def _ordered(rows: list[SpanRow | LogRow]) -> Iterator[tuple[Key, SpanRow | LogRow]]:
    return iter(sorted(((_key(row), row) for row in rows), key=lambda each: each[0]))


def _key(row: SpanRow | LogRow) -> Key:
    if isinstance(row, SpanRow):
        return row.trace_id, 0, row.start_ns, span_id_to_bytes(row.span_id)
    return row.trace_key, 1, row.time_ns, row.log_id


def _held(archive: ExecutionArchive) -> HeldExecution:
    execution = archive.execution
    initial_data, result = _payload_texts(archive)
    return HeldExecution(
        execution_id=execution.execution_id,
        workflow_id=execution.workflow_id,
        workflow_version=execution.workflow_version,
        version_label=execution.version_label,
        external_id=execution.external_id,
        origin=execution.origin,
        status=execution.status,
        started_ns=execution.started_ns,
        ended_ns=execution.ended_ns,
        parent_execution_id=execution.parent_execution_id,
        root_execution_id=execution.root_execution_id,
        depth=execution.depth,
        initial_data=initial_data,
        result=result,
        error=execution.error,
        process_id=archive.process_id,
    )


def _payload_texts(archive: ExecutionArchive) -> tuple[str | None, str | None]:
    """Return the JSON texts of initial data and result; those that came from spans exactly as they came."""
    execution = archive.execution
    if execution.origin == "spans" and archive.traces:
        stamp = fold(archive.traces).stamp
        return stamp.input, stamp.output
    return (
        encode_payload(execution.initial_data) if archive.has_initial_data else None,
        encode_payload(execution.result) if archive.has_result else None,
    )


def _journal(archive: ExecutionArchive) -> Journal:
    journal = Journal(
        metadata=encode_payload(archive.execution.metadata),
        content=archive.content_hash,
        timeout_ns=archive.timeout_ns,
        changed_ns=archive.audit[-1].changed_ns if archive.audit else 0,
        audit=list(archive.audit),
        dead_letters={each.dead_letter_id: held_dead_letter(each) for each in archive.dead_letters},
    )
    for result in archive.node_results:
        journal.put_result(held_result(result))
    return journal
