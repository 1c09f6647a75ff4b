"""Single executions, out of a store into a document and back."""

from typing import Final

from msgspec.structs import replace

from spane_otel.archives import WorkflowArchive
from spane_otel.errors import UnknownExecutionError
from spane_otel.records import Batch, Execution
from spane_otel.stores.protocols import Store
from spane_otel.transfer.copying import CopyReport
from spane_otel.transfer.documents import ExecutionExport, read_document, write_document

PART: Final = 1_000
"""Spans and logs that are read or written at once."""


async def export_execution(store: Store, execution_id: str, *, include_children: bool = False) -> str:
    """Return all that a store holds of an execution as one JSON document; `documents.py` shows its shape.

    That is the execution with the version that it ran, node results, audit, dead letters, spans and logs; with
    `include_children` those that it started, and what they started, too.

    Raises:
        UnknownExecutionError: there is no such execution.

    """
    exports: list[ExecutionExport] = []
    waiting = [execution_id]
    seen = {execution_id}
    while waiting:
        export = await _read(store, waiting.pop(0))
        if export is not None:
            exports.append(export)
        elif not exports:
            raise UnknownExecutionError(execution_id)
        if include_children and export is not None:
            children = await store.get_child_executions(export.archive.execution.execution_id)
            waiting += [each.execution_id for each in children if each.execution_id not in seen]
            seen.update(each.execution_id for each in children)
    return write_document(exports)


async def import_execution(store: Store, document: str | bytes) -> CopyReport:
    """Write the executions of a document into a store, in the place of what it holds of them; return how many.

    Raises:
        DecodeError: the document is none of ours, of a newer version, or damaged; nothing was written.
        ConflictError: the store holds another definition under the number of the version that one ran.

    """
    report = CopyReport()
    for export in read_document(document):
        if export.workflow is not None:
            await store.write_workflow(export.workflow)
            report.workflows += 1
        await store.write_execution(export.archive)
        report.executions += 1
        batch = export.telemetry
        for start in range(0, max(len(batch.spans), len(batch.logs)), PART):
            spans, logs = batch.spans[start : start + PART], batch.logs[start : start + PART]
            report.add(await store.write_telemetry(replace(batch, spans=spans, logs=logs)))
    return report


async def _read(store: Store, execution_id: str) -> ExecutionExport | None:
    archive = await store.read_execution(execution_id)
    if archive is None:
        return None
    telemetry = Batch()
    cursor: str | None = None
    while True:
        part = await store.read_telemetry(execution_id, limit=PART, cursor=cursor)
        telemetry.spans += part.batch.spans
        telemetry.logs += part.batch.logs
        telemetry.resources.update(part.batch.resources)
        telemetry.scopes.update(part.batch.scopes)
        cursor = part.next
        if cursor is None:
            return ExecutionExport(archive, telemetry, await _read_version(store, archive.execution))


async def _read_version(store: Store, execution: Execution) -> WorkflowArchive | None:
    """Return the workflow with the one version that an execution is pinned to, if it is."""
    if execution.workflow_id is None or execution.workflow_version is None:
        return None
    workflow = await store.read_workflow(execution.workflow_id)
    if workflow is None:
        return None
    for version, definition in workflow.versions:
        if version.version == execution.workflow_version:
            # Where the workflow is not known, this is its current version from now on.
            return replace(workflow, versions=[(replace(version, is_current=True), definition)])
    return None
