"""One JSON document for one execution, or for it and those below it: all that a store holds of them.

    {"format": "spane-otel.executions", "version": 1, "executions": [
      {"workflow": {…, "versions": [{…, "definition": {…}}]}, "execution": {…, "initial_data": …, "result": …},
       "traces": […], "node_results": […], "audit": […], "dead_letters": […],
       "resources": […], "scopes": […], "spans": […], "logs": […]}]}

parts.py says how each part is written.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from spane_otel.archives import ExecutionArchive, WorkflowArchive
from spane_otel.derivation import ExecutionTraceRow
from spane_otel.errors import DecodeError
from spane_otel.jsontext import encode_payload
from spane_otel.records import Batch, Execution, LogRow, ResourceRow, ScopeRow, SpanRow
from spane_otel.state import AuditEntry, DeadLetter, NodeResult, WorkflowVersion
from spane_otel.transfer.parts import Part, pack, unpack
from spane_otel.transfer.texts import join_array, join_object, split_array, split_object

FORMAT: Final = "spane-otel.executions"
VERSION: Final = 1

T = TypeVar("T", bound=Struct)


class ExecutionExport(Struct):
    """An execution on its way: what a store holds of it, its spans and logs, and the version that it ran."""

    archive: ExecutionArchive
    telemetry: Batch
    workflow: WorkflowArchive | None = None


def write_document(exports: Iterable[ExecutionExport]) -> str:
    """Return the document of executions."""
    executions = join_array((_write_execution(each) for each in exports), lines=True)
    head = {"format": json.dumps(FORMAT), "version": json.dumps(VERSION)}
    return join_object({**head, "executions": executions}) + "\n"


def read_document(document: str | bytes) -> list[ExecutionExport]:
    """Return the executions of a document.

    Raises:
        DecodeError: it is none of ours, or of a newer version of this package, or damaged.

    """
    try:
        text = document if isinstance(document, str) else document.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("the document is no UTF-8") from error
    members = split_object(text, "the document")
    if _value(members, "format", str, "") != FORMAT:
        raise DecodeError("the document is no export of spane-otel")
    version = _value(members, "version", int, "")
    if version != VERSION:
        raise DecodeError(f"the document has version {version}, this spane-otel reads {VERSION}")
    items = split_array(members.get("executions", ""), "executions")
    return [_read_execution(item, f"executions[{place}]") for place, item in enumerate(items)]


def _write_execution(export: ExecutionExport) -> str:
    archive, batch = export.archive, export.telemetry
    own = {
        **pack(archive.execution),
        "nodes_total": json.dumps(archive.nodes_total),
        "content_hash": json.dumps(None if archive.content_hash is None else archive.content_hash.hex()),
        "process_id": json.dumps(archive.process_id),
    }
    if archive.has_initial_data:
        own["initial_data"] = encode_payload(archive.execution.initial_data)
    if archive.has_result:
        own["result"] = encode_payload(archive.execution.result)
    members = {} if export.workflow is None else {"workflow": _write_workflow(export.workflow)}
    members["execution"] = join_object(own)
    for name, parts in (
        ("traces", archive.traces),
        ("node_results", archive.node_results),
        ("audit", archive.audit),
        ("dead_letters", archive.dead_letters),
        ("resources", [batch.resources[each] for each in sorted(batch.resources)]),
        ("scopes", [batch.scopes[each] for each in sorted(batch.scopes)]),
        ("spans", batch.spans),
        ("logs", batch.logs),
    ):
        members[name] = _write_parts(parts)
    return join_object(members)


def _write_parts(parts: Sequence[Any]) -> str:
    typed: Sequence[Part] = parts
    return join_array((join_object(pack(each)) for each in typed), lines=True)


def _write_workflow(workflow: WorkflowArchive) -> str:
    versions = [join_object({**pack(version), "definition": text}) for version, text in workflow.versions]
    return join_object(
        {
            "workflow_id": json.dumps(workflow.workflow_id),
            "is_active": json.dumps(workflow.is_active),
            "created_ns": json.dumps(str(workflow.created_ns)),
            "updated_ns": json.dumps(str(workflow.updated_ns)),
            "versions": join_array(versions),
        }
    )


def _read_execution(text: str, path: str) -> ExecutionExport:
    members = split_object(text, path)

    def read(name: str, kind: type[T]) -> list[T]:
        items = split_array(members.get(name, "[]"), f"{path}.{name}")
        return [
            unpack(split_object(item, f"{path}.{name}[{place}]"), kind, f"{path}.{name}[{place}]")
            for place, item in enumerate(items)
        ]

    archive = _read_archive(members.get("execution", ""), f"{path}.execution")
    archive.traces = read("traces", ExecutionTraceRow)
    archive.node_results = read("node_results", NodeResult)
    archive.audit = read("audit", AuditEntry)
    archive.dead_letters = read("dead_letters", DeadLetter)
    batch = Batch(
        spans=read("spans", SpanRow),
        logs=read("logs", LogRow),
        resources={each.resource_id: each for each in read("resources", ResourceRow)},
        scopes={each.scope_id: each for each in read("scopes", ScopeRow)},
    )
    workflow = _read_workflow(members["workflow"], f"{path}.workflow") if "workflow" in members else None
    return ExecutionExport(archive, batch, workflow)


def _read_archive(text: str, path: str) -> ExecutionArchive:
    members = split_object(text, path)
    values: dict[str, Any] = {
        "nodes_total": _value(members, "nodes_total", int | None, path),
        "content_hash": _value(members, "content_hash", str | None, path, _bytes),
        "process_id": _value(members, "process_id", str | None, path),
    }
    payloads = {name: json.loads(members.pop(name)) for name in ("initial_data", "result") if name in members}
    for name in values:
        del members[name]
    execution = msgspec.structs.replace(unpack(members, Execution, path), **payloads)
    return ExecutionArchive(
        execution=execution,
        timeout_ns=execution.timeout_ns,
        has_initial_data="initial_data" in payloads,
        has_result="result" in payloads,
        **values,
    )


def _read_workflow(text: str, path: str) -> WorkflowArchive:
    members = split_object(text, path)
    versions: list[tuple[WorkflowVersion, str]] = []
    for place, item in enumerate(split_array(members.get("versions", ""), f"{path}.versions")):
        each = split_object(item, f"{path}.versions[{place}]")
        if "definition" not in each:
            raise DecodeError(f"{path}.versions[{place}].definition is missing")
        definition = each.pop("definition")
        versions.append((unpack(each, WorkflowVersion, f"{path}.versions[{place}]"), definition))
    return WorkflowArchive(
        workflow_id=_value(members, "workflow_id", str, path),
        is_active=_value(members, "is_active", bool, path),
        created_ns=_value(members, "created_ns", str, path, int),
        updated_ns=_value(members, "updated_ns", str, path, int),
        versions=versions,
    )


def _value(
    members: dict[str, str], name: str, kind: Any, path: str, convert: Callable[[Any], Any] | None = None
) -> Any:
    """Return a member's value, of `kind` in the document, then converted."""
    where = f"{path}.{name}".lstrip(".")
    if name not in members:
        raise DecodeError(f"{where} is missing")
    try:
        value = msgspec.convert(json.loads(members[name]), kind)
        return value if convert is None else convert(value)
    except (ValueError, msgspec.MsgspecError) as error:
        raise DecodeError(f"{where}: {error}") from error


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
