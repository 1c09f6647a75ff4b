"""Executions: made by callers, read by everybody."""

import json
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from spane_otel.clock import Clock
from spane_otel.errors import ExecutionExistsError, InvalidTransitionError, InvalidValueError, UnknownExecutionError
from spane_otel.ids import execution_trace_id, hash16
from spane_otel.records import EXECUTION_STATUSES, STALE_AFTER_SECONDS, Change, Execution, ExecutionStatus, Page
from spane_otel.stores.admission import (
    NewExecution,
    check_limit,
    check_new_execution,
    check_offset,
    check_status_filter,
    is_storable,
)
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.bounds import bounded_ns, bounded_offset
from spane_otel.stores.postgres.columns import change_columns
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.links import read_links, read_owners
from spane_otel.stores.postgres.reading import read_execution
from spane_otel.stores.protocols import StatusFilter
from spane_otel.values import clean_text

FINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled"})
STALE: Final = float(STALE_AFTER_SECONDS)


class Executions:
    """The executions of one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(
        self,
        workflow_id: str,
        parent_execution_id: str | None,
        depth: int,
        initial_data: Any,
        execution_id: str | None,
        metadata: dict[str, Any] | None,
    ) -> str:
        """Make an execution; see `ExecutionStore.create_execution`."""
        given = check_new_execution(workflow_id, parent_execution_id, depth, initial_data, execution_id, metadata)
        started_ns = self._clock.now_ns()

        async def create(session: Session) -> None:
            async with session.transaction():
                values = await _columns_of(session, given)
                created = await session.execute("insert_execution", started_ns=started_ns, **values)
                if not created and not await _take_over(session, given, values):
                    return
                await session.execute("upsert_metadata", execution_id=given.execution_id, metadata=given.metadata)
                await _announce(session, given.execution_id)

        await self._database.run("write", create)
        return given.execution_id

    async def get(self, execution_id: str) -> Execution | None:
        if not is_storable(execution_id):
            return None

        async def read(session: Session) -> Execution | None:
            row = await session.fetchrow("get_execution", execution_id=execution_id, stale_seconds=STALE)
            return None if row is None else read_execution(row)

        return await self._database.run("read", read)

    async def list(
        self,
        workflow_id: str | None,
        limit: int,
        offset: int,
        status: StatusFilter | None,
        since: int | None,
        until: int | None,
        cursor: str | None,
    ) -> Page[Execution]:
        """List executions; see `ExecutionStore.list_executions`."""
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

    async def count(self, workflow_id: str | None) -> int:
        if not is_storable(workflow_id or ""):
            return 0

        async def read(session: Session) -> int:
            (row,) = await session.fetch("count_executions", workflow_id=workflow_id)
            return int(row["count"])

        return await self._database.run("read", read)

    async def set_status(self, execution_id: str, status: ExecutionStatus, error: str | None) -> bool:
        """Change a status; see `ExecutionStore.set_execution_status`."""
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
                await _announce(session, execution_id)
            return True

        return await self._database.run("write", change)

    async def delete(self, execution_id: str) -> bool:
        """Delete an execution; see `ExecutionStore.delete_execution`."""
        if not is_storable(execution_id):
            return False

        async def delete(session: Session) -> bool:
            async with session.transaction():
                if await session.fetchrow("lock_execution", execution_id=execution_id) is None:
                    return False
                await _delete_telemetry(session, execution_id)
                await session.execute("delete_execution", execution_id=execution_id)
                await _announce(session, execution_id)
            return True

        return await self._database.run("write", delete)


def _content_hash(given: NewExecution) -> UUID:
    """Return what tells a repeated call from another one: a hash of all but the id."""
    content = (given.workflow_id, given.parent_execution_id, given.depth)
    payloads = (None if given.initial_data is None else json.loads(given.initial_data), json.loads(given.metadata))
    return UUID(hash16(json.dumps([content, payloads], sort_keys=True).encode()))


async def _columns_of(session: Session, given: NewExecution) -> dict[str, Any]:
    """Return the columns that a caller's execution is made of, its root among them."""
    return {
        "execution_id": given.execution_id,
        "content_hash": _content_hash(given),
        "depth": given.depth,
        "workflow_id": given.workflow_id,
        "parent_execution_id": given.parent_execution_id,
        "root_execution_id": await _root_of(session, given),
        "initial_data": given.initial_data,
    }


async def _root_of(session: Session, given: NewExecution) -> str | None:
    if given.parent_execution_id is None:
        return given.execution_id
    parent = await session.fetchrow("find_root_execution", execution_id=given.parent_execution_id)
    if parent is not None:
        root: str | None = parent["root_execution_id"]
        return root
    return given.parent_execution_id if given.depth == 1 else None


async def _take_over(session: Session, given: NewExecution, values: dict[str, Any]) -> bool:
    """Make an execution that is there the caller's; False if it is that already, by the same call.

    Raises:
        ExecutionExistsError: it is a caller's, made with other content.

    """
    held = await session.fetchrow("lock_execution", execution_id=given.execution_id)
    if held is not None and held["origin"] == "api":
        if held["content_hash"] == _content_hash(given):
            return False
        raise ExecutionExistsError(given.execution_id)
    await session.execute("take_over_execution", **values)
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


async def _announce(session: Session, execution_id: str) -> None:
    await session.execute("insert_changes", **change_columns([Change("execution", execution_id=execution_id)]))
