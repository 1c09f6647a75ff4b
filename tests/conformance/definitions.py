"""Workflow definitions for tests: short to write, in SPANE's shape."""

from collections.abc import Iterable
from typing import Any


def chain(*node_ids: str, workflow: str = "order", tolerant: Iterable[str] = (), **members: Any) -> dict[str, Any]:
    """Return a workflow whose nodes run one after the other; the execution goes on if one of `tolerant` fails."""
    nodes = [
        {
            "id": node_id,
            "type": "http",
            "config": {"continueOnFail": True} if node_id in tolerant else {},
            "inputs": [] if place == 0 else [node_ids[place - 1]],
            "outputs": list(node_ids[place + 1 : place + 2]),
        }
        for place, node_id in enumerate(node_ids)
    ]
    entry = {"entryNodeId": node_ids[0]} if node_ids else {}
    return {"id": workflow, "name": workflow.title(), "nodes": nodes, **entry, **members}
