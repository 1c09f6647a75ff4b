"""Workflows with all their versions, on their way from one store to another."""

import json
from collections.abc import Sequence

from asyncpg.pgproto.pgproto import UUID

from spane_otel.archives import WorkflowArchive
from spane_otel.errors import ConflictError
from spane_otel.graph import is_tolerant, load_workflow
from spane_otel.state import WorkflowVersion
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.workflows import read_workflow_version
from spane_otel.values import clean_text

Versions = Sequence[tuple[WorkflowVersion, str]]


async def read_workflow(session: Session, workflow_id: str) -> WorkflowArchive | None:
    """Return all that is held of a workflow."""
    async with session.snapshot():
        row = await session.fetchrow("read_archived_workflow", workflow_id=workflow_id)
        if row is None:
            return None
        versions = await session.fetch("list_archived_versions", workflow_id=workflow_id)
    return WorkflowArchive(
        workflow_id=workflow_id,
        is_active=row["is_active"],
        created_ns=row["created_ns"],
        updated_ns=row["updated_ns"],
        versions=[(read_workflow_version(each), each["definition"]) for each in versions],
    )


async def write_workflow(session: Session, archive: WorkflowArchive) -> None:
    """Add the versions that are not held; whichever has the greatest number stays, or becomes, the current one.

    Raises:
        ConflictError: a number is held with other content.

    """
    async with session.transaction():
        await session.execute(
            "insert_archived_workflow",
            workflow_id=archive.workflow_id,
            created_ns=archive.created_ns,
            updated_ns=archive.updated_ns,
        )
        await session.fetch("lock_workflow", workflow_id=archive.workflow_id)
        rows = await session.fetch("list_workflow_versions", workflow_id=archive.workflow_id)
        for version, text in _missing(archive, {row["version"]: row["content_hash"].hex for row in rows}):
            await _insert(session, archive.workflow_id, version, text)
        current = max((each for each in archive.versions if each[0].is_current), key=_number, default=None)
        if current is not None:
            workflow = load_workflow(json.loads(current[1]))
            await session.execute(
                "update_archived_workflow",
                workflow_id=archive.workflow_id,
                version=current[0].version,
                is_active=archive.is_active,
                created_ns=archive.created_ns,
                updated_ns=archive.updated_ns,
                name=clean_text(workflow.name),
                description=None if workflow.description is None else clean_text(workflow.description),
            )


def _missing(archive: WorkflowArchive, held: dict[int, str]) -> Versions:
    for version, _ in archive.versions:
        if held.get(version.version, version.content_hash) != version.content_hash:
            raise ConflictError(
                f"workflow {archive.workflow_id!r} has a version {version.version} already, with other content"
            )
    return [each for each in archive.versions if each[0].version not in held]


async def _insert(session: Session, workflow_id: str, version: WorkflowVersion, text: str) -> None:
    workflow = load_workflow(json.loads(text))
    await session.execute(
        "insert_workflow_version",
        workflow_id=workflow_id,
        version=version.version,
        content_hash=UUID(version.content_hash),
        node_count=len(workflow.nodes),
        now_ns=version.created_ns,
        created_by=version.created_by,
        change_notes=version.change_notes,
        definition=text,
    )
    await session.execute(
        "insert_workflow_nodes",
        workflow_id=workflow_id,
        version=version.version,
        node_id=[node.id for node in workflow.nodes],
        type=[clean_text(node.type) for node in workflow.nodes],
        continue_on_fail=[is_tolerant(node) for node in workflow.nodes],
    )


def _number(each: tuple[WorkflowVersion, str]) -> int:
    return each[0].version
