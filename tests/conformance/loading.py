"""Reading what must be there."""

from spane_otel.records import Execution, Log, Span
from spane_otel.state import NodeResult, Workflow
from spane_otel.stores.protocols import Store


async def load_execution(store: Store, execution_id: str) -> Execution:
    """Return an execution; without it the test fails."""
    execution = await store.get_execution(execution_id)
    assert execution is not None, execution_id
    return execution


async def load_workflow(store: Store, workflow_id: str, version: int | None = None) -> Workflow:
    """Return a version of a workflow; without it the test fails."""
    workflow = await store.get_workflow(workflow_id, version)
    assert workflow is not None, (workflow_id, version)
    return workflow


async def load_result(store: Store, execution_id: str, node_id: str) -> NodeResult:
    """Return the latest result of a node; without it the test fails."""
    return (await store.get_node_results(execution_id))[node_id]


async def load_spans(store: Store, execution_id: str) -> dict[str, Span]:
    """Return the spans of an execution by the text they were added with, else by their name; each once."""
    trace = await store.get_trace(execution_id)
    assert trace is not None, execution_id
    spans = {each.id or each.name: each for each in trace.spans}
    assert len(spans) == len(trace.spans)
    return spans


async def load_logs(store: Store, execution_id: str) -> list[Log]:
    """Return the logs of an execution."""
    return list(await store.get_logs(execution_id))
