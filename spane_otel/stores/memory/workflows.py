"""Workflows and their immutable versions."""

import heapq
from collections.abc import Mapping
from typing import Any

from spane_otel.archives import WorkflowArchive
from spane_otel.errors import ConflictError, UnknownWorkflowError
from spane_otel.graph import content_hash
from spane_otel.records import Page
from spane_otel.state import ListedWorkflow, Workflow, WorkflowVersion
from spane_otel.stores.admission import check_limit, check_offset
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.definitions import new_version
from spane_otel.stores.memory.held.workflows import HeldWorkflow
from spane_otel.stores.memory.part import Part


class Workflows(Part):
    """Workflows and their versions: saved, read, listed, handed on."""

    async def save_workflow(
        self, workflow: Workflow | Mapping[str, Any], change_notes: str | None = None, created_by: str | None = None
    ) -> int:
        given = new_version(workflow, change_notes, created_by)
        workflow_id = given.workflow.id
        now_ns = self._clock.now_ns()
        with self._lock:
            workflows = self._state.workflows
            held = workflows.held.get(workflow_id)
            if held is None:
                held = HeldWorkflow(workflow_id=workflow_id, created_ns=now_ns)
            elif held.current.content_hash == given.content_hash:
                if not held.is_active:
                    held.is_active, held.updated_ns = True, now_ns
                return held.current.version
            version = held.current.version + 1 if held.versions else 1
            workflows.add_version(held, version, given.text, now_ns, given.created_by, given.change_notes)
            held.is_active, held.updated_ns = True, now_ns
            workflows.held[workflow_id] = held
            return version

    async def get_workflow(self, workflow_id: str, version: int | None = None) -> Workflow | None:
        with self._lock:
            held = self._state.workflows.version(workflow_id, version)
        return None if held is None else held.workflow()

    async def get_workflow_version(self, workflow_id: str) -> int | None:
        with self._lock:
            held = self._state.workflows.version(workflow_id)
            return None if held is None else held.version

    async def get_workflow_version_id(self, workflow_id: str, version: int | None = None) -> int | None:
        with self._lock:
            held = self._state.workflows.version(workflow_id, version)
            return None if held is None else held.version_id

    async def list_workflow_versions(self, workflow_id: str) -> list[WorkflowVersion]:
        with self._lock:
            held = self._state.workflows.held.get(workflow_id)
            return [] if held is None else [held.version_record(each) for each in held.versions.values()]

    async def list_workflows(
        self, active_only: bool = True, limit: int = 100, offset: int = 0, *, cursor: str | None = None
    ) -> Page[ListedWorkflow]:
        check_limit(limit)
        check_offset(offset)
        before = None if cursor is None else decode_cursor(cursor, int, str)
        with self._lock:
            matching = (
                held
                for held in self._state.workflows.held.values()
                if (held.is_active or not active_only) and (before is None or held.order < before)
            )
            found = heapq.nlargest(offset + limit + 1, matching, key=lambda held: held.order)[offset:]
            items = [held.listed() for held in found[:limit]]
            following = encode_cursor(*found[limit - 1].order) if len(found) > limit else None
        return Page(items, following)

    async def get_workflow_count(self, active_only: bool = True) -> int:
        with self._lock:
            return sum(held.is_active or not active_only for held in self._state.workflows.held.values())

    async def deactivate_workflow(self, workflow_id: str) -> bool:
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.workflows.held.get(workflow_id)
            if held is None:
                raise UnknownWorkflowError(workflow_id)
            if not held.is_active:
                return False
            held.is_active, held.updated_ns = False, now_ns
            return True

    async def read_workflow(self, workflow_id: str) -> WorkflowArchive | None:
        with self._lock:
            held = self._state.workflows.held.get(workflow_id)
            if held is None:
                return None
            return WorkflowArchive(
                workflow_id=workflow_id,
                is_active=held.is_active,
                created_ns=held.created_ns,
                updated_ns=held.updated_ns,
                versions=[(held.version_record(each), each.text) for each in held.versions.values()],
            )

    async def write_workflow(self, archive: WorkflowArchive) -> None:
        hashes = {version.version: content_hash(text) for version, text in archive.versions}
        with self._lock:
            workflows = self._state.workflows
            held = workflows.held.get(archive.workflow_id) or HeldWorkflow(workflow_id=archive.workflow_id)
            for number, given in hashes.items():
                if number in held.versions and held.versions[number].content_hash != given:
                    raise ConflictError(f"version {number} of workflow {archive.workflow_id!r} has other content here")
            new = [(version, text) for version, text in archive.versions if version.version not in held.versions]
            for version, text in new:
                workflows.add_version(
                    held, version.version, text, version.created_ns, version.created_by, version.change_notes
                )
            if not hashes:
                return
            held.versions = dict(sorted(held.versions.items()))
            if max(hashes) == held.current.version:
                # The archive is not behind what is here: it knows how the workflow is now.
                held.is_active, held.updated_ns = archive.is_active, archive.updated_ns
            is_new = archive.workflow_id not in workflows.held
            held.created_ns = archive.created_ns if is_new else min(held.created_ns, archive.created_ns)
            workflows.held[archive.workflow_id] = held
