"""What happens to executions whose runner is gone, and that two runners never run one at once."""

import asyncio
from typing import Any

import pytest

from spane_otel.engine import ExecutionContext, ExecutionResult, WorkflowEngine
from spane_otel.errors import EngineClosedError
from spane_otel.state import Lease
from tests.unit.engine.lab import Gate, Lab, fails, flow, returns, row, turn, until

ONCE = {"retryPolicy": {"maxAttempts": 1}}


async def left_behind(
    lab: Lab, definition: dict[str, Any], *results: tuple[str, ExecutionResult], data: Any = None
) -> str:
    """Make an execution as a process leaves it that is killed after those results; return its id."""
    await lab.store.save_workflow(definition)
    lease = Lease("gone", 5)
    execution_id = await lab.store.create_execution(definition["id"], initial_data=data, lease=lease)
    for node_id, result in results:
        await lab.store.complete_node(execution_id, node_id, result, holder="gone", input="kept")
    return execution_id


async def taken_over(lab: Lab, definition: dict[str, Any], execution_id: str, **options: Any) -> ExecutionResult:
    """Have another engine take the execution over and return what it comes to."""
    engine = lab.engine(**options)
    await engine.register_workflow(definition)
    async with engine:
        return await lab.outlast(engine.wait(execution_id))


async def test_an_execution_goes_on_behind_the_results_that_are_written(lab: Lab) -> None:
    definition = row("a", "b", "c", "d")
    execution_id = await left_behind(
        lab, definition, ("a", ExecutionResult(True, "A")), ("b", ExecutionResult(True, "B"))
    )
    result = await taken_over(lab, definition, execution_id)
    assert (result.success, result.data) == (True, "B")
    assert lab.calls == {"c": 1, "d": 1}
    assert lab.context("c").input_data == "B"
    assert {key: each.data for key, each in lab.context("c").all_node_results.items()}["a"] == "A"


async def test_an_execution_that_was_only_made_begins(lab: Lab) -> None:
    execution_id = await left_behind(lab, row("a", "b"), data={"x": 1})
    assert (await taken_over(lab, row("a", "b"), execution_id)).data == {"x": 1}


async def test_branches_that_were_chosen_stay_chosen(lab: Lab) -> None:
    definition = flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b"}, {"id": "c", "outputs": ["d"]}, {"id": "d"})
    execution_id = await left_behind(lab, definition, ("a", ExecutionResult(True, 1, next_nodes=("b",))))
    assert (await taken_over(lab, definition, execution_id)).data == {"b": 1}
    assert lab.calls == {"b": 1}
    assert (await lab.result(execution_id, "d")).state == "skipped"


async def test_a_failure_that_was_written_fails_the_execution(lab: Lab) -> None:
    definition = flow({"id": "a", "config": ONCE, "outputs": ["b"]}, {"id": "b"})
    execution_id = await left_behind(lab, definition, ("a", ExecutionResult(False, error="boom")))
    result = await taken_over(lab, definition, execution_id)
    assert (result.success, result.error) == (False, "boom")
    assert lab.calls == {}
    assert (await lab.execution(execution_id)).status == "failed"


async def test_attempts_are_counted_on_and_their_backoff_goes_on(lab: Lab) -> None:
    definition = flow({"id": "a", "config": {"retryPolicy": {"maxAttempts": 3, "backoff": {"delay": 60_000}}}})
    await lab.store.save_workflow(definition)
    execution_id = await lab.store.create_execution("w", lease=Lease("gone", 5))
    await lab.store.update_node_result(execution_id, "a", {"success": False, "error": "x"}, attempt=2)
    due_ns = lab.later(120)
    lab.clock.advance(20)
    engine = lab.engine()
    await engine.register_workflow(definition)
    async with engine:
        await lab.clock.until_awaited(due_ns)
        assert lab.calls == {}
        lab.clock.advance(100)
        assert (await engine.wait(execution_id)).success
    assert lab.context("a").attempt == 3


async def test_the_last_attempt_is_the_last_also_after_a_crash(lab: Lab) -> None:
    definition = flow({"id": "a", "config": {"retryPolicy": {"maxAttempts": 2, "backoff": {"delay": 0}}}})
    await lab.store.save_workflow(definition)
    execution_id = await lab.store.create_execution("w", lease=Lease("gone", 5))
    await lab.store.update_node_result(execution_id, "a", {"success": False, "error": "x"})
    lab.does = {"a": fails("again")}
    assert (await taken_over(lab, definition, execution_id)).error == "ValueError: again"
    assert lab.calls == {"a": 1}


async def test_a_wait_goes_on_from_when_it_began(lab: Lab) -> None:
    definition = flow({"id": "a", "outputs": ["d"]}, {"id": "d", "type": "delay", "config": {"durationMinutes": 10}})
    execution_id = await left_behind(lab, definition, ("a", ExecutionResult(True, 1)))
    due_ns = lab.later(600)
    lab.clock.advance(300)
    engine = lab.engine()
    await engine.register_workflow(definition)
    async with engine:
        await lab.clock.until_awaited(due_ns)
        lab.clock.advance(300)
        assert (await engine.wait(execution_id)).data == 1


async def test_where_every_result_is_written_the_execution_is_completed(lab: Lab) -> None:
    """The last result may have been written by a call that completes nothing."""
    await lab.store.save_workflow(row("a", "b"))
    execution_id = await lab.store.create_execution("w", lease=Lease("gone", 5))
    for node_id in ("a", "b"):
        await lab.store.update_node_result(
            execution_id, node_id, {"success": True, "data": node_id}, input="given", started_ns=1
        )
    result = await taken_over(lab, row("a", "b"), execution_id)
    assert (result.success, result.data) == (True, "b")
    assert (await lab.execution(execution_id)).result == "b"
    for node_id in ("a", "b"):
        stored = await lab.result(execution_id, node_id)
        assert (stored.input, stored.started_ns) == ("given", 1)
    assert lab.calls == {}


async def test_a_child_goes_on_as_the_same_execution(lab: Lab) -> None:
    inner = row("x", "y", id="inner")
    outer = flow({"id": "n", "type": "sub-workflow", "config": {"workflowId": "inner"}}, id="outer")
    gate = Gate()
    lab.does = {"y": gate}
    first = lab.engine(lease_seconds=3)
    await first.register_workflow(inner)
    await first.register_workflow(outer)
    await first.start("outer", 5, execution_id="e")
    await gate.entered.wait()
    await first.aclose(0)
    assert gate.was_cancelled
    lab.does = {}
    second = lab.engine()
    await second.register_workflow(inner)
    await second.register_workflow(outer)
    async with second:
        assert (await lab.outlast(second.wait("e"))).data == 5
    (child,) = await lab.store.get_child_executions("e")
    assert child.status == "completed"
    assert lab.calls == {"x": 1, "y": 2}


async def test_a_claimed_child_and_its_claimed_parent_find_each_other(lab: Lab) -> None:
    """The child may be taken over by another engine than its parent."""
    inner = row("x", "y", id="inner")
    outer = flow({"id": "n", "type": "sub-workflow", "config": {"workflowId": "inner"}}, id="outer")
    gate = Gate()
    lab.does = {"y": gate}
    first = lab.engine()
    await first.register_workflow(inner)
    await first.register_workflow(outer)
    await first.start("outer", 5, execution_id="e")
    await gate.entered.wait()
    await first.aclose(0)
    lab.does = {"y": (second_gate := Gate("Y"))}
    knows_inner = lab.engine()
    await knows_inner.register_workflow(inner)
    async with knows_inner:
        await second_gate.entered.wait()
        knows_both = lab.engine()
        await knows_both.register_workflow(inner)
        await knows_both.register_workflow(outer)
        async with knows_both:
            await until(lambda: knows_both.running == ["e"])
            second_gate.opened.set()
            assert (await lab.outlast(knows_both.wait("e"))).data == "Y"
    assert lab.calls == {"x": 1, "y": 2}


# --- one runner at a time ---


async def test_nobody_takes_over_what_is_still_held(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate("A")
    lab.does = {"a": gate}
    await engine.register_workflow(row("a", "b"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    other = lab.engine()
    await other.register_workflow(row("a", "b"))
    async with other:
        for _ in range(100):  # its lease is 30 s, and is renewed
            lab.clock.advance(1)
            await turn()
        assert other.running == []
        assert lab.calls == {"a": 1}
        gate.opened.set()
        assert (await lab.outlast(other.wait("e"))).data == "A"
    assert lab.calls == {"a": 1, "b": 1}


async def test_who_has_lost_the_lease_stops_and_writes_nothing(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate("late")
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    await lab.store.release_lease("e", engine.holder)
    assert await lab.store.claim_executions(Lease("other", 1_000)) == ["e"]
    gate.opened.set()
    await until(lambda: not engine.running)
    assert await lab.store.get_node_results("e") == {}
    assert (await lab.execution("e")).status == "running"
    await lab.store.complete_node(
        "e", "a", {"success": True, "data": "theirs"}, holder="other", execution_result="theirs"
    )
    assert (await lab.outlast(engine.wait("e"))).data == "theirs"


async def test_a_renewal_that_comes_too_late_stops_what_runs(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    await lab.store.release_lease("e", engine.holder)
    await lab.store.claim_executions(Lease("other", 1_000))
    lab.clock.advance(10)
    await until(lambda: gate.was_cancelled)


async def test_an_engine_takes_over_only_what_it_knows(lab: Lab) -> None:
    execution_id = await left_behind(lab, row("a"))
    engine = lab.engine()
    await engine.register_workflow(row("b", id="other"))
    async with engine:
        for _ in range(20):
            lab.clock.advance(1)
            await turn()
        assert engine.running == []
    assert (await taken_over(lab, row("a"), execution_id)).success


async def test_what_can_not_be_run_here_is_left_to_others(lab: Lab) -> None:
    """The version it is pinned to has a type that only another engine knows."""
    await lab.store.save_workflow(flow({"id": "a", "type": "special"}))
    execution_id = await lab.store.create_execution("w", lease=Lease("gone", 1))
    engine = lab.engine()
    await engine.register_workflow(row("a"))
    async with engine:
        for _ in range(20):
            lab.clock.advance(1)
            await turn()
        assert (await lab.execution(execution_id)).status == "running"
    assert await lab.store.claim_executions(Lease("other", 1)) == [execution_id]


async def test_no_more_is_taken_over_than_there_is_room_for(lab: Lab) -> None:
    gates = Gate()
    lab.does = {"a": gates}
    for _ in range(3):
        await left_behind(lab, row("a"))
    lab.clock.advance(10)
    engine = lab.engine(max_executions=2)
    await engine.register_workflow(row("a"))
    async with engine:
        await until(lambda: len(engine.running) == 2)
        await turn()
        assert len(engine.running) == 2
        gates.opened.set()
        await until(lambda: not engine.running)
        lab.clock.advance(5)
        await until(lambda: lab.calls["a"] == 3)


async def test_who_waits_where_the_lease_was_lost_lets_others_go_on(lab: Lab, engine: WorkflowEngine) -> None:
    """The wait goes on in the store, and keeps nobody from running meanwhile."""
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    waiting = asyncio.create_task(engine.execute("w", execution_id="e"))
    await gate.entered.wait()
    await lab.store.release_lease("e", engine.holder)
    await lab.store.claim_executions(Lease("other", 1_000))
    lab.clock.advance(10)
    await until(lambda: not engine.running)
    await lab.store.complete_node("e", "a", {"success": True}, holder="other", execution_result=7)
    assert (await lab.outlast(asyncio.wait_for(waiting, None))).data == 7


async def test_an_execution_that_is_paused_stays_so_when_it_is_taken_over(lab: Lab) -> None:
    """Nobody claims it; who resumes it runs it."""
    execution_id = await left_behind(lab, row("a", "b"), ("a", ExecutionResult(True, 1)))
    await lab.store.set_execution_status(execution_id, "paused")
    engine = lab.engine()
    await engine.register_workflow(row("a", "b"))
    async with engine:
        for _ in range(20):
            lab.clock.advance(1)
            await turn()
        assert engine.running == []
        assert await engine.resume(execution_id)
        assert (await lab.outlast(engine.wait(execution_id))).data == 1
    assert lab.calls == {"b": 1}


# --- closing ---


async def test_closing_lets_what_runs_come_to_its_end(lab: Lab) -> None:
    engine = lab.engine()
    gate = Gate("A")
    lab.does = {"a": gate}
    await engine.register_workflow(row("a", "b"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    closing = asyncio.create_task(engine.aclose())
    await turn()
    gate.opened.set()
    await closing
    assert (await lab.execution("e")).result == "A"


async def test_closing_leaves_what_takes_longer_to_others_at_once(lab: Lab) -> None:
    engine = lab.engine()
    lab.does = {"a": (gate := Gate())}
    await engine.register_workflow(row("a", "b"))
    waiting = asyncio.create_task(engine.execute("w", execution_id="e"))
    await gate.entered.wait()
    await engine.aclose(0.01)
    assert gate.was_cancelled
    with pytest.raises(EngineClosedError):
        await waiting
    assert (await lab.execution("e")).status == "running"
    assert await lab.store.claim_executions(Lease("other", 1)) == ["e"]


async def test_closing_does_not_wait_for_what_only_waits(lab: Lab) -> None:
    engine = lab.engine()
    await engine.register_workflow(flow({"id": "d", "type": "delay", "config": {"durationMinutes": 60}}))
    await engine.start("w", execution_id="e")
    await lab.clock.until_awaited(lab.later(3_600))
    async with asyncio.timeout(3):
        await engine.aclose(60)
    assert await lab.store.claim_executions(Lease("other", 1)) == ["e"]


async def test_a_node_that_will_not_be_cancelled_does_not_keep_the_engine(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spane_otel.engine.run.STOP_SECONDS", 0.05)
    let_go = asyncio.Event()

    async def cling(_: ExecutionContext) -> ExecutionResult:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return ExecutionResult(True)

    engine = lab.engine()
    lab.does = {"a": cling}
    await engine.register_workflow(row("a"))
    await engine.start("w")
    await until(lambda: lab.calls["a"] == 1)
    async with asyncio.timeout(5):
        await engine.aclose(0)
    let_go.set()


async def test_a_result_that_comes_with_the_data_is_the_same_after_a_crash(lab: Lab) -> None:
    lab.does = {"b": returns(1)}
    definition = flow({"id": "a"}, {"id": "b"}, {"id": "c", "inputs": ["a", "b"]})
    execution_id = await left_behind(lab, definition, ("a", ExecutionResult(True, None)))
    await taken_over(lab, definition, execution_id)
    assert lab.context("c").input_data == {"a": None, "b": 1}
