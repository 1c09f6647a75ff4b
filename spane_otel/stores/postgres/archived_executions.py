"""Executions with all that is kept of them but their spans and logs, on their way from one store to another."""

from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from msgspec.structs import replace

from spane_otel.archives import ExecutionArchive
from spane_otel.derivation import fold
from spane_otel.jsontext import encode_payload
from spane_otel.records import Change
from spane_otel.state import AuditEntry
from spane_otel.stores.postgres.columns import Columns, change_columns, execution_trace_columns
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.dead_letters import read_dead_letter
from spane_otel.stores.postgres.derived import read_trace_row
from spane_otel.stores.postgres.executions import STALE
from spane_otel.stores.postgres.node_results import read_node_result
from spane_otel.stores.postgres.payloads import Payloads
from spane_otel.stores.postgres.reading import read_execution as read_execution_record

_ALL: Final = 2**62
"""More rows than there can be."""


async def read_execution(session: Session, execution_id: str) -> ExecutionArchive | None:
    """Return all that is held of an execution at one moment."""
    async with session.snapshot():
        row = await session.fetchrow("get_execution", execution_id=execution_id, stale_seconds=STALE)
        state = await session.fetchrow("read_archived_state", execution_id=execution_id)
        if row is None or state is None:
            return None
        traces = await session.fetch("list_archived_traces", execution_id=execution_id)
        results = await session.fetch("list_archived_node_results", execution_id=execution_id)
        audit = await session.fetch("list_audit", execution_id=execution_id, limit=_ALL)
        letters = await session.fetch("list_dead_letters", execution_id=execution_id, limit=_ALL)
    # Whether its process is stale is the other store's to find out.
    execution = replace(read_execution_record(row), abandoned_since_ns=None)
    return ExecutionArchive(
        execution=execution,
        nodes_total=state["nodes_total"],
        content_hash=None if state["content_hash"] is None else state["content_hash"].bytes,
        timeout_ns=state["timeout_ns"],
        process_id=state["process_id"],
        traces=[read_trace_row(each) for each in traces],
        node_results=[read_node_result(each) for each in results],
        audit=[_read_audit(each) for each in audit],
        dead_letters=[read_dead_letter(each) for each in letters],
        has_initial_data=state["has_initial_data"],
        has_result=state["has_result"],
    )


async def write_execution(session: Session, archive: ExecutionArchive) -> None:
    """Put an execution in the place of what is held of it."""
    execution = archive.execution
    execution_id = execution.execution_id
    payloads = Payloads()
    columns = _execution_columns(archive, payloads)
    results = _node_result_columns(archive, payloads)
    letters = _dead_letter_columns(archive, payloads)
    metadata, metadata_payload = payloads.split(execution_id, encode_payload(execution.metadata))
    async with session.transaction():
        made = await session.execute("insert_archived_execution", execution_id=execution_id)
        (held,) = await session.fetch("lock_archived_execution", execution_id=execution_id)
        await session.execute("clear_execution", execution_id=execution_id)
        await session.execute("update_archived_execution", **columns)
        if execution.metadata:
            await session.execute(
                "insert_archived_metadata",
                execution_id=execution_id,
                metadata="{}" if metadata is None else metadata,
                metadata_payload=metadata_payload,
            )
        await session.execute("insert_archived_payloads", **payloads.columns())
        await session.execute("upsert_execution_traces", **execution_trace_columns(archive.traces))
        await session.execute("insert_archived_node_results", execution_id=execution_id, **results)
        await session.execute("insert_archived_audit", execution_id=execution_id, **_audit_columns(archive))
        await session.execute("insert_archived_dead_letters", execution_id=execution_id, **letters)
        await session.fetch("recount_nodes", execution_id=execution_id)
        await session.execute("insert_changes", **change_columns([Change("execution", execution_id=execution_id)]))
        moved = [(execution.workflow_id, 1), *([] if made else [(held["workflow_id"], -1)])]
        await session.fetch(
            "add_execution_counts",
            workflow_ids=[workflow_id for workflow_id, _ in moved],
            deltas=[delta for _, delta in moved],
        )


def _execution_columns(archive: ExecutionArchive, payloads: Payloads) -> dict[str, Any]:
    execution = archive.execution
    given, made = _payload_texts(archive)
    initial_data, initial_data_payload = payloads.split(execution.execution_id, given)
    result, result_payload = payloads.split(execution.execution_id, made)
    names = (
        *("execution_id", "started_ns", "ended_ns", "depth", "origin", "status", "workflow_id", "workflow_version"),
        *("version_label", "external_id", "parent_execution_id", "root_execution_id", "error"),
    )
    return {
        **{name: getattr(execution, name) for name in names},
        "content_hash": None if archive.content_hash is None else UUID(archive.content_hash),
        "process_id": archive.process_id,
        "timeout_ns": archive.timeout_ns,
        "nodes_total": archive.nodes_total,
        "initial_data": initial_data,
        "initial_data_payload": initial_data_payload,
        "result": result,
        "result_payload": result_payload,
        "changed_ns": max((entry.changed_ns for entry in archive.audit), default=0),
        "audit_seq": max((entry.seq for entry in archive.audit), default=0),
    }


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


def _node_result_columns(archive: ExecutionArchive, payloads: Payloads) -> Columns:
    execution_id = archive.execution.execution_id
    results = archive.node_results
    data = [payloads.split(execution_id, encode_payload(each.data) if each.has_data else None) for each in results]
    given = [payloads.split(execution_id, encode_payload(each.input) if each.has_input else None) for each in results]
    started_ns = archive.execution.started_ns
    return {
        "node_id": [each.node_id for each in results],
        "iteration": [each.iteration for each in results],
        "attempt": [each.attempt for each in results],
        "started_ns": [each.started_ns for each in results],
        "ended_ns": [started_ns if each.ended_ns is None else each.ended_ns for each in results],
        "data_payload": [payload_id for _, payload_id in data],
        "input_payload": [payload_id for _, payload_id in given],
        "success": [each.success for each in results],
        "skipped": [each.skipped for each in results],
        "is_final": [each.is_final for each in results],
        "worker": [each.worker for each in results],
        "error": [each.error for each in results],
        "next_nodes": [None if each.next_nodes is None else encode_payload(list(each.next_nodes)) for each in results],
        "data": [text for text, _ in data],
        "input": [text for text, _ in given],
    }


def _audit_columns(archive: ExecutionArchive) -> Columns:
    names = (
        *("seq", "changed_ns", "iteration", "attempt", "change", "old_value", "new_value", "node_id", "actor"),
        "detail",
    )
    return {name: [getattr(entry, name) for entry in archive.audit] for name in names}


def _dead_letter_columns(archive: ExecutionArchive, payloads: Payloads) -> Columns:
    execution_id = archive.execution.execution_id
    letters = archive.dead_letters
    data = [
        payloads.split(execution_id, encode_payload(each.job_data) if each.has_job_data else None) for each in letters
    ]
    names = (
        *("failed_ns", "retried_ns", "iteration", "attempt", "attempts_made", "node_id", "workflow_id", "job_id"),
        "error",
    )
    return {
        **{name: [getattr(letter, name) for letter in letters] for name in names},
        "dead_letter_id": [UUID(letter.dead_letter_id) for letter in letters],
        "job_data_payload": [payload_id for _, payload_id in data],
        "job_data": [text for text, _ in data],
    }


def _read_audit(row: Record) -> AuditEntry:
    return AuditEntry(**{name: row[name] for name in AuditEntry.__struct_fields__})
