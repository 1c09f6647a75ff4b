"""Executions that a caller makes."""

import json
from typing import Any

from asyncpg.pgproto.pgproto import UUID

from spane_otel.errors import ExecutionExistsError
from spane_otel.ids import hash16
from spane_otel.stores.admission import NewExecution, check_new_execution
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.executions import announce
from spane_otel.stores.postgres.part import Part


class Creation(Part):
    """Makes executions."""

    async def create_execution(
        self,
        workflow_id: str,
        parent_execution_id: str | None = None,
        depth: int = 0,
        initial_data: Any = None,
        *,
        execution_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        given = check_new_execution(workflow_id, parent_execution_id, depth, initial_data, execution_id, metadata)
        started_ns = self._clock.now_ns()

        async def create(session: Session) -> None:
            async with session.transaction():
                values = await _columns_of(session, given)
                created = await session.execute("insert_execution", started_ns=started_ns, **values)
                if not created and not await _take_over(session, given, values):
                    return
                await session.execute("upsert_metadata", execution_id=given.execution_id, metadata=given.metadata)
                await announce(session, given.execution_id)

        await self._database.run("write", create)
        return given.execution_id


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
