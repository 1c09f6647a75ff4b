"""Workflow definitions as mappings and as records: SPANE's shape and ours, and the hash of their content."""

import json
from collections.abc import Mapping
from typing import Any, Final

from spane_otel.errors import InvalidWorkflowError
from spane_otel.ids import hash16
from spane_otel.jsontext import encode_payload
from spane_otel.state import Node, Workflow

_WORKFLOW_KEYS: Final = {
    "id": "id",
    "name": "name",
    "nodes": "nodes",
    "entry_node_id": "entryNodeId",
    "description": "description",
    "max_concurrency": "maxConcurrency",
    "concurrency_lock_ttl": "concurrencyLockTTL",
    "triggers": "triggers",
    "priority": "priority",
    "delay": "delay",
    "job_id": "jobId",
}
"""Our field → SPANE's key. Both are read, SPANE's is written."""
_NODE_KEYS: Final = ("id", "type", "config", "inputs", "outputs")
_TEXTS: Final = ("name", "entry_node_id", "description", "job_id")
_NUMBERS: Final = ("max_concurrency", "concurrency_lock_ttl", "priority", "delay")


def load_workflow(definition: Workflow | Mapping[str, Any]) -> Workflow:
    """Return a definition as a `Workflow`, its shape checked; a mapping may have SPANE's keys or ours.

    Raises:
        InvalidWorkflowError: it has no id, two nodes have one id, or something is of the wrong type.

    """
    if isinstance(definition, Workflow):
        return load_workflow(workflow_document(definition))
    if not isinstance(definition, Mapping):
        raise InvalidWorkflowError("a workflow is a mapping")
    given = {str(key): value for key, value in definition.items()}
    values: dict[str, Any] = {}
    for field, key in _WORKFLOW_KEYS.items():
        for name in dict.fromkeys((field, key)):
            if name in given and (value := given.pop(name)) is not None:
                values[field] = value
    given.pop("version", None)  # a version's number is given by the store
    values["id"] = _text(values.get("id"), "id")
    for field in _TEXTS:
        if field in values:
            values[field] = _text(values[field], _WORKFLOW_KEYS[field], may_be_empty=True)
    for field in _NUMBERS:
        if field in values:
            _check_number(values[field], _WORKFLOW_KEYS[field])
    values["nodes"] = _nodes(values.get("nodes", ()))
    triggers = _list(values.get("triggers", ()), "triggers")
    values["triggers"] = tuple(_mapping(each, f"triggers[{place}]") for place, each in enumerate(triggers))
    return Workflow(**values, extra=given)


def workflow_document(workflow: Workflow) -> dict[str, Any]:
    """Return a workflow as SPANE writes it: camelCase, without what is not set and without the version's number."""
    document: dict[str, Any] = {}
    for field, key in _WORKFLOW_KEYS.items():
        value = getattr(workflow, field)
        if value is None or (field in ("triggers", "name") and not value):
            continue
        document[key] = [_node_document(node) for node in value] if field == "nodes" else value
    if workflow.triggers:
        document["triggers"] = list(workflow.triggers)
    return {**document, **workflow.extra}


def workflow_text(workflow: Workflow) -> str:
    """Return the JSON text that is stored of a definition.

    Raises:
        InvalidValueError: something in it is not JSON.

    """
    return encode_payload(workflow_document(workflow))


def content_hash(text: str) -> bytes:
    """Return what tells one definition's content from another's, from its JSON text: the order of keys is nothing."""
    return hash16(b"workflow", json.dumps(json.loads(text), sort_keys=True).encode())


def _node_document(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "type": node.type,
        "config": node.config,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        **node.extra,
    }


def _nodes(given: Any) -> tuple[Node, ...]:
    nodes: dict[str, Node] = {}
    for place, each in enumerate(_list(given, "nodes")):
        path = f"nodes[{place}]"
        node = _node(_node_document(each) if isinstance(each, Node) else _mapping(each, path), path)
        if node.id in nodes:
            raise InvalidWorkflowError(f"two nodes are called {node.id!r}", f"{path}.id")
        nodes[node.id] = node
    return tuple(nodes.values())


def _node(given: dict[str, Any], path: str) -> Node:
    extra = {key: value for key, value in given.items() if key not in _NODE_KEYS}
    return Node(
        id=_text(given.get("id"), f"{path}.id"),
        type=_text(given.get("type"), f"{path}.type"),
        config=_mapping(_or(given.get("config"), {}), f"{path}.config"),
        inputs=_ids(_or(given.get("inputs"), ()), f"{path}.inputs"),
        outputs=_ids(_or(given.get("outputs"), ()), f"{path}.outputs"),
        extra=extra,
    )


def _ids(given: Any, path: str) -> tuple[str, ...]:
    return tuple(_text(each, f"{path}[{place}]") for place, each in enumerate(_list(given, path)))


def _text(given: Any, path: str, *, may_be_empty: bool = False) -> str:
    if not isinstance(given, str) or not (given or may_be_empty):
        raise InvalidWorkflowError("must be text", path)
    return given


def _check_number(given: Any, path: str) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise InvalidWorkflowError("must be a whole number from 0", path)


def _list(given: Any, path: str) -> list[Any]:
    if not isinstance(given, list | tuple):
        raise InvalidWorkflowError("must be a list", path)
    return list(given)


def _mapping(given: Any, path: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidWorkflowError("must be a mapping", path)
    return {str(key): value for key, value in given.items()}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
