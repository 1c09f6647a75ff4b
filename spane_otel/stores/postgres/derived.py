"""Executions from spans, inside the transaction that stores them (architecture.md, *Load path* and *Executions*)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from asyncpg import Record
from msgspec import Struct, field
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


class Derived(Struct):
    """What a batch did to executions."""

    changed_ids: list[str] = field(default_factory=list)
    moved: Counter[str | None] = field(default_factory=Counter)
    """By workflow, how many executions more it has; what has none yet is counted under None."""


async def derive_executions(session: Session, rows: Sequence[ExecutionTraceRow]) -> Derived:
    """Store links and roots and bring their executions up to date; return what changed.

    `rows` are sorted by their keys. The executions' rows are locked until the transaction ends.
    """
    derived = Derived()
    execution_ids = sorted({row.execution_id for row in rows})
    held = await _lock(session, execution_ids, derived.moved)
    changed = await session.fetch("upsert_execution_traces", **execution_trace_columns(rows))
    derived.changed_ids = sorted({row["execution_id"] for row in changed})
    if derived.changed_ids:
        # A new statement, so that it sees what others committed before we had the lock.
        records = await session.fetch("list_execution_traces", execution_ids=derived.changed_ids)
        ordered = sorted((read_trace_row(record) for record in records), key=lambda row: row.execution_id)
        folded = [fold(list(group)) for _, group in groupby(ordered, key=lambda row: row.execution_id)]
        await session.execute("update_derived_executions", **derived_columns(folded))
        for execution in folded:
            if held[execution.execution_id]["origin"] == "spans":
                derived.moved[held[execution.execution_id]["workflow_id"]] -= 1
                derived.moved[execution.stamp.workflow_id] += 1
    return derived


async def count_moved(session: Session, derived: Derived) -> None:
    """Bring the counts of executions up to date: last in a transaction, since others wait for their rows."""
    moved = {workflow_id: delta for workflow_id, delta in derived.moved.items() if delta}
    if moved:
        await session.execute("add_execution_counts", workflow_ids=list(moved), deltas=list(moved.values()))


async def _lock(session: Session, execution_ids: Sequence[str], moved: Counter[str | None]) -> dict[str, Record]:
    """Make and lock the executions' rows, and return them; one may be deleted between the two, then it is made again.

    Raises:
        StoreUnavailableError: somebody deletes them as fast as they are made.

    """
    for _ in range(_LOCK_ATTEMPTS):
        made = await session.fetch("insert_derived_executions", execution_ids=execution_ids)
        moved[None] += len(made)
        locked = await session.fetch("lock_executions", execution_ids=execution_ids)
        if len(locked) == len(execution_ids):
            return {row["execution_id"]: row for row in locked}
    raise StoreUnavailableError("executions are deleted as fast as they are made")


def read_trace_row(record: Record) -> ExecutionTraceRow:
    """Return a link or a root as it was stored."""
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
