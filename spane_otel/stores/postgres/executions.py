"""Executions: read, listed, changed and deleted."""

import json
from collections.abc import Mapping
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from msgspec import UNSET, UnsetType

from spane_otel.errors import InvalidValueError, UnknownExecutionError
from spane_otel.ids import execution_trace_id, hash16
from spane_otel.jsontext import encode_payload
from spane_otel.records import EXECUTION_STATUSES, STALE_AFTER_SECONDS, Change, Execution, ExecutionStatus, Page
from spane_otel.stores.admission import (
    check_limit,
    check_offset,
    check_operation,
    check_status_filter,
    is_storable,
)
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.bounds import bounded_ns, bounded_offset
from spane_otel.stores.postgres.columns import change_columns
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.links import read_links, read_owners
from spane_otel.stores.postgres.part import Part
from spane_otel.stores.postgres.payloads import Payloads, unpack
from spane_otel.stores.postgres.reading import read_execution
from spane_otel.stores.protocols import StatusFilter
from spane_otel.stores.transitions import FINAL_STATUSES, changes_status
from spane_otel.values import clean_text

STALE: Final = float(STALE_AFTER_SECONDS)


class Executions(Part):
    """Executions: read, changed and deleted."""

    async def get_execution(self, execution_id: str) -> Execution | None:
        if not is_storable(execution_id):
            return None

        async def read(session: Session) -> Execution | None:
            row = await session.fetchrow("get_execution", execution_id=execution_id, stale_seconds=STALE)
            return None if row is None else read_execution(row)

        return await self._database.run("read", read)

    async def list_executions(
        self,
        workflow_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
        *,
        status: StatusFilter | None = None,
        since: int | None = None,
        until: int | None = None,
        cursor: str | None = None,
    ) -> Page[Execution]:
        check_status_filter(status)
        check_limit(limit)
        check_offset(offset)
        before_ns, before_id = (None, None) if cursor is None else decode_cursor(cursor, int, str)
        if not is_storable(workflow_id or ""):
            return Page([])

        async def read(session: Session) -> Page[Execution]:
            items = await select_executions(
                session,
                newest_first=True,
                workflow_id=workflow_id,
                status="running" if status == "abandoned" else status,
                is_alive=status == "running",
                is_abandoned=status == "abandoned",
                since=bounded_ns(since),
                until=bounded_ns(until),
                before_ns=before_ns,
                before_id=before_id,
                limit=limit + 1,
                offset=bounded_offset(offset),
            )
            last = items[limit - 1] if len(items) > limit else None
            return Page(items[:limit], None if last is None else encode_cursor(last.started_ns, last.execution_id))

        return await self._database.run("read", read)

    async def get_execution_count(self, workflow_id: str | None = None) -> int:
        if workflow_id is not None and not (workflow_id and is_storable(workflow_id)):
            return 0  # no workflow is called so; in the counts, the empty text stands for none

        async def read(session: Session) -> int:
            (row,) = await session.fetch("count_executions", workflow_id=workflow_id)
            return int(row["count"])

        return await self._database.run("read", read)

    async def set_execution_status(
        self,
        execution_id: str,
        status: ExecutionStatus,
        *,
        error: str | None = None,
        result: Any | UnsetType = UNSET,
        operation: str | None = None,
    ) -> bool:
        if status not in EXECUTION_STATUSES:
            raise InvalidValueError(f"{status!r} is no execution status", reason="status")
        check_operation(operation)
        error = None if error is None else clean_text(str(error))
        text = None if result is UNSET else encode_payload(result)
        operation_id = None if operation is None else UUID(hash16(operation.encode(errors="surrogatepass")))
        if not is_storable(execution_id):
            raise UnknownExecutionError(execution_id)
        now_ns = self._clock.now_ns()

        async def change(session: Session) -> bool:
            async with session.transaction():
                held = await _lock(session, execution_id)
                if operation_id is not None and await _was_done(session, execution_id, operation_id):
                    return True
                if not changes_status(execution_id, held["status"], status):
                    return False
                payloads = Payloads()
                inline, payload_id = payloads.split(execution_id, text)
                await session.execute(
                    "change_status",
                    execution_id=execution_id,
                    status=status,
                    now_ns=now_ns,
                    ended_ns=now_ns if status in FINAL_STATUSES else None,
                    error=error,
                    has_result=None if text is None else True,
                    result=inline,
                    result_payload=payload_id,
                    actor=self._actor,
                    **payloads.columns(),
                    **_audit_columns(held, status, operation_id, error),
                )
            return True

        return await self._database.run("write", change)

    async def update_execution_metadata(self, execution_id: str, metadata: Mapping[str, Any]) -> None:
        if not isinstance(metadata, Mapping):
            raise InvalidValueError("metadata must be a mapping", reason="metadata")
        given = json.loads(encode_payload(dict(metadata)))
        if not is_storable(execution_id):
            raise UnknownExecutionError(execution_id)
        now_ns = self._clock.now_ns()

        async def merge(session: Session) -> None:
            async with session.transaction():
                await _lock(session, execution_id)
                row = await session.fetchrow("read_metadata", execution_id=execution_id)
                held = _metadata_text(row)
                merged = encode_payload({**json.loads(held), **given})
                if merged != held:
                    await self._write_metadata(session, execution_id, merged, now_ns)
                    if row is not None and row["metadata_payload"] is not None:
                        payload_id = row["metadata_payload"]
                        await session.execute("drop_payload", execution_id=execution_id, payload_id=payload_id)

        await self._database.run("write", merge)

    async def delete_execution(self, execution_id: str) -> bool:
        if not is_storable(execution_id):
            return False
        self._load.forget_execution(execution_id)
        try:
            return await self._database.run("write", lambda session: _delete(session, execution_id))
        finally:
            self._load.forget_execution(execution_id)  # also what was written meanwhile
            self._forget_added(execution_id)

    async def _write_metadata(self, session: Session, execution_id: str, text: str, now_ns: int) -> None:
        payloads = Payloads()
        inline, payload_id = payloads.split(execution_id, text)
        await session.execute(
            "write_metadata",
            execution_id=execution_id,
            metadata="{}" if inline is None else inline,
            metadata_payload=payload_id,
            now_ns=now_ns,
            actor=self._actor,
            **payloads.columns(),
        )


async def select_executions(session: Session, **choice: Any) -> list[Execution]:
    """Return the executions that `choice`, of the parameters of the statement `list_executions`, selects and orders."""
    values = {"limit": None, "offset": 0, **{name: value for name, value in choice.items() if value is not False}}
    rows = await session.fetch("list_executions", stale_seconds=STALE, **values)
    return [read_execution(row) for row in rows]


async def announce(session: Session, execution_id: str) -> None:
    await session.execute("insert_changes", **change_columns([Change("execution", execution_id=execution_id)]))


async def _lock(session: Session, execution_id: str) -> Record:
    """Lock an execution's row until the transaction ends, and return what decides about a change of it.

    Raises:
        UnknownExecutionError: there is none.

    """
    held = await session.fetchrow("lock_execution", execution_id=execution_id)
    if held is None:
        raise UnknownExecutionError(execution_id)
    return held


async def _was_done(session: Session, execution_id: str, operation_id: UUID) -> bool:
    """Whether an operation has changed the status before; one that changed nothing has left no trace, nor need it."""
    done = await session.fetchrow("find_operation", execution_id=execution_id, operation_id=operation_id)
    return done is not None


def _audit_columns(
    held: Record, status: ExecutionStatus, operation_id: UUID | None, error: str | None
) -> dict[str, list[Any]]:
    """Return the audit rows of a change of status, preceded by one that says that the execution became a caller's."""
    rows: list[tuple[Any, ...]] = [(operation_id, "status", held["status"], status, error)]
    if held["origin"] == "spans":
        rows.insert(0, (None, "adopted", held["status"], held["status"], None))
    names = ("operation_id", "change", "old_value", "new_value", "detail")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _metadata_text(row: Record | None) -> str:
    if row is None:
        return "{}"
    text: str = row["metadata"] if row["metadata_kept"] is None else unpack(row["metadata_kept"])
    return text


async def _delete(session: Session, execution_id: str) -> bool:
    async with session.transaction():
        held = await session.fetchrow("lock_execution_to_delete", execution_id=execution_id)
        if held is None:
            return False
        await _delete_telemetry(session, execution_id)
        await session.execute("delete_execution", execution_id=execution_id)
        await announce(session, execution_id)
        await session.execute("add_execution_counts", workflow_ids=[held["workflow_id"]], deltas=[-1])
    return True


async def _delete_telemetry(session: Session, execution_id: str) -> None:
    links = await read_links(session, [execution_id])
    keys = list(dict.fromkeys((*links[execution_id], UUID(execution_trace_id(execution_id)))))
    owners = await read_owners(session, keys)
    shared = [key for key in keys if len(owners[key]) > 1]
    own = [key for key in keys if len(owners[key]) <= 1]
    for trace_ids, stamped_with in ((own, None), (shared, execution_id)):
        if trace_ids:
            await session.execute("delete_spans", trace_ids=trace_ids, execution_id=stamped_with)
            await session.execute("delete_logs", trace_ids=trace_ids, execution_id=stamped_with)
