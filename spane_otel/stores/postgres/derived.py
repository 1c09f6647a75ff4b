"""Executions from spans, inside the transaction that stores them (architecture.md, *Load path* and *Executions*)."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from asyncpg import Record
from msgspec.structs import replace

from spane_otel.derivation import ExecutionTraceRow, fold, supersedes
from spane_otel.errors import StoreUnavailableError
from spane_otel.records import Stamp
from spane_otel.stores.postgres.columns import derived_columns, execution_trace_columns
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.known import Known

Links = Known[tuple[str, bytes, int, int], ExecutionTraceRow]
"""What this writer has committed, so that ordinary batches leave executions alone."""

_LOCK_ATTEMPTS: Final = 10


def unknown_rows(links: Links, rows: Iterable[ExecutionTraceRow]) -> list[ExecutionTraceRow]:
    """Return the rows that may change something."""
    return [row for row in rows if (held := links.get(row.key)) is None or supersedes(row, held)]


def remember_rows(links: Links, rows: Iterable[ExecutionTraceRow]) -> None:
    """Note rows as committed: what orders them, not the payloads, which may be large."""
    links.add((row.key, replace(row, error=None, stamp=Stamp())) for row in rows)


async def derive_executions(session: Session, rows: Sequence[ExecutionTraceRow]) -> list[str]:
    """Store links and roots and bring their executions up to date; return the ids of those that changed.

    `rows` are sorted by their keys. The executions' rows are locked until the transaction ends.
    """
    execution_ids = sorted({row.execution_id for row in rows})
    await _lock(session, execution_ids)
    changed = await session.fetch("upsert_execution_traces", **execution_trace_columns(rows))
    changed_ids = sorted({row["execution_id"] for row in changed})
    if changed_ids:
        # A new statement, so that it sees what others committed before we had the lock.
        held = await session.fetch("list_execution_traces", execution_ids=changed_ids)
        ordered = sorted((_read_row(record) for record in held), key=lambda row: row.execution_id)
        derived = [fold(list(group)) for _, group in groupby(ordered, key=lambda row: row.execution_id)]
        await session.execute("update_derived_executions", **derived_columns(derived))
    return changed_ids


async def _lock(session: Session, execution_ids: Sequence[str]) -> None:
    """Make and lock the executions' rows; one may be deleted between the two, then it is made again.

    Raises:
        StoreUnavailableError: somebody deletes them as fast as they are made.

    """
    for _ in range(_LOCK_ATTEMPTS):
        await session.execute("insert_derived_executions", execution_ids=execution_ids)
        locked = await session.fetch("lock_executions", execution_ids=execution_ids)
        if len(locked) == len(execution_ids):
            return
    raise StoreUnavailableError("executions are deleted as fast as they are made")


def _read_row(record: Record) -> ExecutionTraceRow:
    return ExecutionTraceRow(
        execution_id=record["execution_id"],
        trace_id=record["trace_id"].bytes,
        root_span_id=record["root_span_id"],
        root_start_ns=record["root_start_ns"],
        start_ns=record["start_ns"],
        end_ns=record["end_ns"],
        state=record["state"],
        revision=record["revision"],
        process_id=record["process_id"],
        error=record["error"],
        stamp=Stamp(
            workflow_id=record["workflow_id"],
            workflow_version=record["workflow_version"],
            version_label=record["version_label"],
            parent_execution_id=record["parent_execution_id"],
            root_execution_id=record["root_execution_id"],
            depth=record["depth"],
            external_id=record["external_id"],
            input=record["input"],
            output=record["output"],
        ),
    )
