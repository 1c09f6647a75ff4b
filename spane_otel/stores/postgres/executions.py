"""Executions: made by callers, read by everybody."""

from typing import Final

from asyncpg.pgproto.pgproto import UUID

from spane_otel.errors import InvalidTransitionError, InvalidValueError, UnknownExecutionError
from spane_otel.ids import execution_trace_id
from spane_otel.records import EXECUTION_STATUSES, STALE_AFTER_SECONDS, Change, Execution, ExecutionStatus, Page
from spane_otel.stores.admission import (
    check_limit,
    check_offset,
    check_status_filter,
    is_storable,
)
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.bounds import bounded_ns, bounded_offset
from spane_otel.stores.postgres.columns import change_columns
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.links import read_links, read_owners
from spane_otel.stores.postgres.part import Part
from spane_otel.stores.postgres.reading import read_execution
from spane_otel.stores.protocols import StatusFilter
from spane_otel.values import clean_text

FINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled"})
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
            rows = await session.fetch(
                "list_executions",
                workflow_id=workflow_id,
                status="running" if status == "abandoned" else status,
                is_alive=True if status == "running" else None,
                is_abandoned=True if status == "abandoned" else None,
                since=bounded_ns(since),
                until=bounded_ns(until),
                before_ns=before_ns,
                before_id=before_id,
                limit=limit + 1,
                offset=bounded_offset(offset),
                stale_seconds=STALE,
            )
            items = [read_execution(row) for row in rows[:limit]]
            last = items[-1] if len(rows) > limit else None
            return Page(items, None if last is None else encode_cursor(last.started_ns, last.execution_id))

        return await self._database.run("read", read)

    async def get_execution_count(self, workflow_id: str | None = None) -> int:
        if not is_storable(workflow_id or ""):
            return 0

        async def read(session: Session) -> int:
            (row,) = await session.fetch("count_executions", workflow_id=workflow_id)
            return int(row["count"])

        return await self._database.run("read", read)

    async def set_execution_status(
        self, execution_id: str, status: ExecutionStatus, *, error: str | None = None
    ) -> bool:
        if status not in EXECUTION_STATUSES:
            raise InvalidValueError(f"{status!r} is no execution status", reason="status")
        error = None if error is None else clean_text(error)
        if not is_storable(execution_id):
            raise UnknownExecutionError(execution_id)
        ended_ns = self._clock.now_ns() if status in FINAL_STATUSES else None

        async def change(session: Session) -> bool:
            async with session.transaction():
                held = await session.fetchrow("lock_execution", execution_id=execution_id)
                if held is None:
                    raise UnknownExecutionError(execution_id)
                if held["status"] == status:
                    return False
                if held["status"] in FINAL_STATUSES:
                    raise InvalidTransitionError(execution_id, held["status"], status)
                await session.execute(
                    "update_execution_status",
                    execution_id=execution_id,
                    status=status,
                    ended_ns=ended_ns,
                    error=error,
                )
                await announce(session, execution_id)
            return True

        return await self._database.run("write", change)

    async def delete_execution(self, execution_id: str) -> bool:
        if not is_storable(execution_id):
            return False
        self._load.forget_execution(execution_id)
        try:
            return await self._delete(execution_id)
        finally:
            self._load.forget_execution(execution_id)  # also what was written meanwhile

    async def _delete(self, execution_id: str) -> bool:

        async def delete(session: Session) -> bool:
            async with session.transaction():
                if await session.fetchrow("lock_execution", execution_id=execution_id) is None:
                    return False
                await _delete_telemetry(session, execution_id)
                await session.execute("delete_execution", execution_id=execution_id)
                await announce(session, execution_id)
            return True

        return await self._database.run("write", delete)


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


async def announce(session: Session, execution_id: str) -> None:
    await session.execute("insert_changes", **change_columns([Change("execution", execution_id=execution_id)]))
