"""Sub-workflows: a node that runs a workflow of its own."""

import asyncio
from typing import Any

import pytest

from spane_otel.engine import WorkflowEngine
from spane_otel.errors import InvalidWorkflowError
from tests.unit.engine.lab import Gate, Lab, fails, flow, returns, row, turn, until

ONCE = {"retryPolicy": {"maxAttempts": 1}}


def outer(config: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """Return a workflow whose second node runs the workflow `inner`."""
    return flow(
        {"id": "first", "outputs": ["nested"]},
        {
            "id": "nested",
            "type": "sub-workflow",
            "config": {"workflowId": "inner", **(config or {})},
            "outputs": ["last"],
        },
        {"id": "last"},
        id="outer",
        **members,
    )


async def test_a_sub_workflow_runs_as_a_child_and_its_result_is_the_nodes(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"y": returns({"made": 1})}
    await engine.register_workflow(row("x", "y", id="inner"))
    await engine.register_workflow(outer())
    result = await engine.execute("outer", {"given": 1})
    assert result.data == {"made": 1}
    (child,) = await lab.store.get_child_executions(result.execution_id or "")
    assert (child.workflow_id, child.depth, child.status) == ("inner", 1, "completed")
    assert (child.root_execution_id, child.initial_data) == (result.execution_id, {"given": 1})
    assert child.metadata == {"parentNodeId": "nested", "parentWorkflowId": "outer"}
    assert (lab.context("x").depth, lab.context("x").parent_execution_id) == (1, result.execution_id)


async def test_input_and_output_are_mapped_member_by_member(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"first": returns({"a": 1, "b": 2}), "y": returns({"p": "P", "q": "Q"})}
    await engine.register_workflow(row("x", "y", id="inner"))
    await engine.register_workflow(
        outer({"inputMapping": {"alpha": "a", "gone": "missing"}, "outputMapping": {"result": "q"}})
    )
    result = await engine.execute("outer")
    assert lab.context("x").input_data == {"alpha": 1}
    assert result.data == {"result": "Q"}


async def test_a_failed_child_fails_its_node_which_is_not_tried_again_by_itself(
    lab: Lab, engine: WorkflowEngine
) -> None:
    lab.does = {"x": fails("boom")}
    await engine.register_workflow(flow({"id": "x", "config": ONCE}, id="inner"))
    await engine.register_workflow(outer())
    result = await engine.execute("outer")
    (child,) = await lab.store.get_child_executions(result.execution_id or "")
    assert result.error == f"sub-workflow 'inner', execution {child.execution_id}: ValueError: boom"
    assert lab.calls == {"first": 1, "x": 1}


async def test_a_failed_child_can_be_tolerated(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"x": fails("boom")}
    await engine.register_workflow(flow({"id": "x", "config": ONCE}, id="inner"))
    await engine.register_workflow(outer({"continueOnFail": True}))
    result = await engine.execute("outer")
    assert result.success
    assert lab.calls["last"] == 1


async def test_a_policy_makes_a_new_child_for_each_attempt(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"x": fails("boom", times=1)}
    await engine.register_workflow(flow({"id": "x", "config": ONCE}, id="inner"))
    await engine.register_workflow(outer({"retryPolicy": {"maxAttempts": 2, "backoff": {"type": "fixed", "delay": 0}}}))
    result = await engine.execute("outer")
    assert result.success
    children = await lab.store.get_child_executions(result.execution_id or "")
    assert {child.status for child in children} == {"failed", "completed"}


async def test_a_sub_workflow_that_does_not_exist_fails_its_node(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(outer())
    result = await engine.execute("outer")
    assert result.error == "sub-workflow 'inner': there is no such workflow"


async def test_nesting_that_leads_back_is_refused_when_the_last_link_is_registered(
    lab: Lab, engine: WorkflowEngine
) -> None:
    await engine.register_workflow(outer())
    with pytest.raises(InvalidWorkflowError) as refused:
        await engine.register_workflow(
            flow({"id": "n", "type": "sub-workflow", "config": {"workflowId": "outer"}}, id="inner")
        )
    assert refused.value.path == "inner -> outer -> inner"
    assert await lab.store.get_workflow("inner") is None


def nest(level: int) -> dict[str, Any]:
    return flow({"id": "n", "type": "sub-workflow", "config": {"workflowId": f"w{level + 1}"}}, id=f"w{level}")


async def test_ten_levels_run_and_an_eleventh_is_refused(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("deepest", id="w10"))
    for level in range(9, -1, -1):
        await engine.register_workflow(nest(level))
    assert (await engine.execute("w0", "x")).data == "x"
    assert lab.context("deepest").depth == 10
    with pytest.raises(InvalidWorkflowError, match="at most 10 deep"):
        await engine.register_workflow(
            flow({"id": "n", "type": "sub-workflow", "config": {"workflowId": "w0"}}, id="above")
        )


async def test_nesting_too_deep_that_nobody_checked_fails_with_a_clear_error(lab: Lab, engine: WorkflowEngine) -> None:
    """Saved without an engine, each by itself fine."""
    await lab.store.save_workflow(row("deepest", id="w11"))
    for level in range(11):
        await lab.store.save_workflow(nest(level))
    result = await engine.execute("w0")
    assert "sub-workflows nest at most 10 deep" in (result.error or "")


async def test_cancelling_stops_the_child_too(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"x": gate}
    await engine.register_workflow(row("x", id="inner"))
    await engine.register_workflow(outer())
    await engine.start("outer", execution_id="e")
    await gate.entered.wait()
    await engine.cancel("e")
    assert (await engine.wait("e")).error == "cancelled"
    (child,) = await lab.store.get_child_executions("e")
    assert (await engine.wait(child.execution_id)).success is False
    assert (await lab.execution(child.execution_id)).status == "cancelled"
    assert gate.was_cancelled


@pytest.mark.parametrize("status", ["cancelled", "failed"])
async def test_a_child_is_cancelled_when_others_end_its_parent(lab: Lab, engine: WorkflowEngine, status: Any) -> None:
    gate = Gate()
    lab.does = {"x": gate}
    await engine.register_workflow(row("x", id="inner"))
    await engine.register_workflow(outer())
    await engine.start("outer", execution_id="e")
    await gate.entered.wait()
    await lab.store.set_execution_status("e", status, error="enough")
    lab.clock.advance(1)
    assert (await engine.wait("e")).error == "enough"
    (child,) = await lab.store.get_child_executions("e")
    await engine.wait(child.execution_id)
    record = await lab.execution(child.execution_id)
    assert (record.status, record.error) == ("cancelled", f"the execution above it is {status}")


async def test_pausing_and_resuming_reach_the_child(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate("X")
    lab.does = {"x": gate}
    await engine.register_workflow(row("x", "y", id="inner"))
    await engine.register_workflow(outer())
    await engine.start("outer", execution_id="e")
    await gate.entered.wait()
    await engine.pause("e")
    gate.opened.set()
    await turn(200)
    assert lab.calls["y"] == 0
    (child,) = await lab.store.get_child_executions("e")
    assert child.status == "paused"
    await engine.resume("e")
    assert (await engine.wait("e")).data == "X"


async def test_a_child_takes_no_place_from_its_parent(lab: Lab) -> None:
    """One node at a time and one execution of each workflow at a time are enough for nesting."""
    engine = lab.engine(concurrency=1)
    await engine.register_workflow(row("x", id="inner", maxConcurrency=1))
    await engine.register_workflow(outer(maxConcurrency=1))
    results = await asyncio.gather(*(engine.execute("outer", number) for number in range(3)))
    assert [result.data for result in results] == [0, 1, 2]


async def test_a_parent_out_of_time_takes_its_child_with_it(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"x": gate}
    await engine.register_workflow(row("x", id="inner"))
    await engine.register_workflow(outer())
    running = asyncio.create_task(engine.execute("outer", timeout_ms=2_000))
    await gate.entered.wait()
    assert (await lab.outlast(asyncio.wait_for(running, None))).error == "timeout"
    await until(lambda: gate.was_cancelled)
