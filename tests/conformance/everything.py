"""All that a store shows of some executions and workflows, to be compared."""

from collections.abc import Iterable
from typing import Any

from spane_otel.stores.protocols import Store


async def read_everything(store: Store, execution_ids: Iterable[str], workflow_ids: Iterable[str]) -> dict[str, Any]:
    """Return what every reader says; what is not there is in it as None or empty."""
    shown: dict[str, Any] = {
        "executions": list(await store.list_executions(limit=1_000)),
        "execution count": await store.get_execution_count(),
        "workflows": list(await store.list_workflows(active_only=False)),
        "workflow counts": [await store.get_workflow_count(each) for each in (True, False)],
        "dead letters": list(await store.list_dead_letters(include_retried=True)),
        "traces": list(await store.list_traces(limit=1_000)),
        "logs": list(await store.list_logs(limit=1_000)),
    }
    for workflow_id in workflow_ids:
        versions = await store.list_workflow_versions(workflow_id)
        shown[f"workflow: {workflow_id}"] = {
            "versions": versions,
            "definitions": [await store.get_workflow(workflow_id, each.version) for each in versions],
            "current": await store.get_workflow_version(workflow_id),
            "executions": await store.get_execution_count(workflow_id),
        }
    for execution_id in execution_ids:
        shown[f"execution: {execution_id}"] = await read_execution(store, execution_id)
    return shown


async def read_execution(store: Store, execution_id: str) -> dict[str, Any]:
    """Return what every reader says of one execution."""
    results = await store.get_node_results(execution_id)
    return {
        "execution": await store.get_execution(execution_id),
        "results": results,
        "attempts": {node_id: await store.list_node_attempts(execution_id, node_id) for node_id in results},
        "pending": [await store.get_pending_node_count(execution_id, total) for total in (None, 3)],
        "audit": list(await store.list_audit(execution_id, limit=1_000)),
        "family": await store.get_execution_family(execution_id),
        "counts": await store.count_telemetry([execution_id]),
        "trace": await store.get_trace(execution_id),
        "trace with children": await store.get_trace(execution_id, include_children=True),
        "logs": list(await store.get_logs(execution_id, limit=1_000)),
    }
