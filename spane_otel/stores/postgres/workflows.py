"""Workflows and their immutable versions."""

import json
from collections.abc import Mapping
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from msgspec.structs import replace

from spane_otel.errors import UnknownWorkflowError
from spane_otel.graph import is_tolerant, load_workflow
from spane_otel.records import Page
from spane_otel.state import ListedWorkflow, Workflow, WorkflowVersion
from spane_otel.stores.admission import check_limit, check_offset, is_storable
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.definitions import NewVersion, new_version
from spane_otel.stores.postgres.bounds import bounded_offset
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.part import Part
from spane_otel.values import clean_text

_VERSIONS: Final = range(1, 2**31)


class Workflows(Part):
    """Workflows and their versions: saved, read, listed."""

    async def save_workflow(
        self, workflow: Workflow | Mapping[str, Any], change_notes: str | None = None, created_by: str | None = None
    ) -> int:
        given = new_version(workflow, change_notes, created_by)
        now_ns = self._clock.now_ns()

        async def save(session: Session) -> int:
            async with session.transaction():
                return await _save(session, given, now_ns)

        return await self._database.run("write", save)

    async def get_workflow(self, workflow_id: str, version: int | None = None) -> Workflow | None:
        if not _may_exist(workflow_id, version):
            return None

        async def read(session: Session) -> Workflow | None:
            row = await session.fetchrow("get_workflow", workflow_id=workflow_id, version=version)
            return None if row is None else _read_workflow(row)

        return await self._database.run("read", read)

    async def get_workflow_version(self, workflow_id: str) -> int | None:
        row = await self._read_version(workflow_id, None)
        return None if row is None else row["version"]

    async def get_workflow_version_id(self, workflow_id: str, version: int | None = None) -> int | None:
        row = await self._read_version(workflow_id, version)
        return None if row is None else row["version_id"]

    async def list_workflow_versions(self, workflow_id: str) -> list[WorkflowVersion]:
        if not is_storable(workflow_id):
            return []

        async def read(session: Session) -> list[WorkflowVersion]:
            rows = await session.fetch("list_workflow_versions", workflow_id=workflow_id)
            return [read_workflow_version(row) for row in rows]

        return await self._database.run("read", read)

    async def list_workflows(
        self, active_only: bool = True, limit: int = 100, offset: int = 0, *, cursor: str | None = None
    ) -> Page[ListedWorkflow]:
        check_limit(limit)
        check_offset(offset)
        before_ns, before_id = (None, None) if cursor is None else decode_cursor(cursor, int, str)

        async def read(session: Session) -> Page[ListedWorkflow]:
            rows = await session.fetch(
                "list_workflows",
                is_active=active_only or None,
                before_ns=before_ns,
                before_id=before_id,
                limit=limit + 1,
                offset=bounded_offset(offset),
            )
            items = [
                ListedWorkflow.of(
                    _read_workflow(row),
                    is_active=row["is_active"],
                    created_ns=row["created_ns"],
                    updated_ns=row["updated_ns"],
                )
                for row in rows[:limit]
            ]
            last = items[-1] if len(rows) > limit else None
            return Page(items, None if last is None else encode_cursor(last.updated_ns, last.id))

        return await self._database.run("read", read)

    async def get_workflow_count(self, active_only: bool = True) -> int:
        async def read(session: Session) -> int:
            (row,) = await session.fetch("count_workflows", is_active=active_only or None)
            return int(row["count"])

        return await self._database.run("read", read)

    async def deactivate_workflow(self, workflow_id: str) -> bool:
        if not is_storable(workflow_id):
            raise UnknownWorkflowError(workflow_id)
        now_ns = self._clock.now_ns()

        async def deactivate(session: Session) -> bool:
            async with session.transaction():
                if await session.fetchrow("lock_workflow", workflow_id=workflow_id) is None:
                    raise UnknownWorkflowError(workflow_id)
                changed = await session.execute(
                    "set_workflow_activity", workflow_id=workflow_id, is_active=False, now_ns=now_ns
                )
            return changed == 1

        return await self._database.run("write", deactivate)

    async def _read_version(self, workflow_id: str, version: int | None) -> Record | None:
        if not _may_exist(workflow_id, version):
            return None

        async def read(session: Session) -> Record | None:
            return await session.fetchrow("get_workflow_version", workflow_id=workflow_id, version=version)

        return await self._database.run("read", read)


async def _save(session: Session, given: NewVersion, now_ns: int) -> int:
    """Make a version of what is given, unless it is the current one's content; return its number."""
    workflow = given.workflow
    await session.execute("insert_workflow", workflow_id=workflow.id, now_ns=now_ns)
    # Whoever waited for the lock reads in statements of its own what was committed before it.
    locked = await session.fetch("lock_workflow", workflow_id=workflow.id)
    current: int = locked[0]["current_version"]
    held = await session.fetchrow("find_content_hash", workflow_id=workflow.id, version=current)
    if held is not None and held["content_hash"] == UUID(given.content_hash):
        await session.execute("set_workflow_activity", workflow_id=workflow.id, is_active=True, now_ns=now_ns)
        return current
    version = current + 1
    await session.execute(
        "insert_workflow_version",
        workflow_id=workflow.id,
        version=version,
        content_hash=UUID(given.content_hash),
        node_count=len(workflow.nodes),
        now_ns=now_ns,
        created_by=given.created_by,
        change_notes=given.change_notes,
        definition=given.text,
    )
    await session.execute("insert_workflow_nodes", workflow_id=workflow.id, version=version, **_node_columns(given))
    await session.execute(
        "update_workflow",
        workflow_id=workflow.id,
        version=version,
        now_ns=now_ns,
        name=given.name,
        description=given.description,
    )
    return version


def _node_columns(given: NewVersion) -> dict[str, list[Any]]:
    nodes = given.workflow.nodes
    return {
        "node_id": [node.id for node in nodes],
        "type": [clean_text(node.type) for node in nodes],
        "continue_on_fail": [is_tolerant(node) for node in nodes],
    }


def _may_exist(workflow_id: str, version: int | None) -> bool:
    return is_storable(workflow_id) and (version is None or (type(version) is int and version in _VERSIONS))


def read_workflow_version(row: Record) -> WorkflowVersion:
    """Return the record of a version's row."""
    return WorkflowVersion(
        workflow_id=row["workflow_id"],
        version=row["version"],
        version_id=row["version_id"],
        content_hash=row["content_hash"].hex,
        created_ns=row["created_ns"],
        created_by=row["created_by"],
        change_notes=row["change_notes"],
        is_current=row["is_current"],
    )


def _read_workflow(row: Record) -> Workflow:
    return replace(load_workflow(json.loads(row["definition"])), version=row["version"])
