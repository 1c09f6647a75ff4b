"""Pausing, resuming, cancelling, time-outs, delays, and how many executions run at once."""

import asyncio

import pytest

from spane_otel.engine import WorkflowEngine
from spane_otel.errors import InvalidTransitionError, UnknownExecutionError
from tests.unit.engine.lab import Gate, Lab, flow, row, turn, until


async def begun(lab: Lab, engine: WorkflowEngine) -> Gate:
    """Begin the execution `e` of a, b, c and return the gate in which `a` waits."""
    gate = Gate("A")
    lab.does = {"a": gate}
    await engine.register_workflow(row("a", "b", "c"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    return gate


# --- pause and resume ---


@pytest.mark.parametrize("through", ["engine", "store"])
async def test_a_paused_execution_starts_nothing_until_it_is_resumed(
    lab: Lab, engine: WorkflowEngine, through: str
) -> None:
    """Whether the engine is told or finds out from the store."""
    gate = await begun(lab, engine)
    if through == "engine":
        assert await engine.pause("e")
    else:
        await lab.store.set_execution_status("e", "paused")
    gate.opened.set()
    await turn(200)
    assert lab.calls == {"a": 1}
    assert (await lab.result("e", "a")).data == "A"
    if through == "engine":
        assert await engine.resume("e")
    else:
        await lab.store.set_execution_status("e", "running")
        lab.clock.advance(1)
    assert (await engine.wait("e")).data == "A"
    assert lab.calls == {"a": 1, "b": 1, "c": 1}


async def test_a_node_that_waits_for_its_turn_does_not_begin_once_its_execution_is_paused(lab: Lab) -> None:
    engine = lab.engine(concurrency=1)
    lab.does = {"a": (gate := Gate())}
    await engine.register_workflow(row("a", id="first"))
    await engine.register_workflow(row("b", id="second"))
    await engine.start("first", execution_id="first")
    await gate.entered.wait()
    await engine.start("second", execution_id="second")
    await turn()
    await engine.pause("second")
    gate.opened.set()
    assert (await engine.wait("first")).success
    await turn()
    assert lab.calls == {"a": 1}
    await engine.resume("second")
    assert (await engine.wait("second")).success


async def test_pausing_twice_is_no_error_and_changes_nothing(lab: Lab, engine: WorkflowEngine) -> None:
    gate = await begun(lab, engine)
    assert await engine.pause("e")
    assert not await engine.pause("e")
    assert await engine.resume("e")
    assert not await engine.resume("e")
    gate.opened.set()
    assert (await engine.wait("e")).success


async def test_a_paused_execution_can_be_cancelled(lab: Lab, engine: WorkflowEngine) -> None:
    await begun(lab, engine)
    await engine.pause("e")
    assert await engine.cancel("e")
    result = await engine.wait("e")
    assert (result.success, result.error) == (False, "cancelled")


async def test_an_execution_completes_although_it_is_paused_where_its_last_node_was_running(
    lab: Lab, engine: WorkflowEngine
) -> None:
    gate = Gate("done")
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    await engine.pause("e")
    gate.opened.set()
    assert (await engine.wait("e")).data == "done"


# --- cancel ---


@pytest.mark.parametrize("through", ["engine", "store"])
async def test_cancelling_stops_what_runs(lab: Lab, engine: WorkflowEngine, through: str) -> None:
    gate = await begun(lab, engine)
    if through == "engine":
        assert await engine.cancel("e")
    else:
        await lab.store.set_execution_status("e", "cancelled")
        lab.clock.advance(1)
    assert (await engine.wait("e")).error == "cancelled"
    await until(lambda: gate.was_cancelled)
    assert lab.calls == {"a": 1}
    assert await lab.store.get_node_results("e") == {}


async def test_what_has_ended_can_not_be_cancelled_paused_or_resumed(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    execution_id = (await engine.execute("w")).execution_id or ""
    for change in (engine.cancel, engine.pause, engine.resume):
        with pytest.raises(InvalidTransitionError):
            await change(execution_id)
        with pytest.raises(UnknownExecutionError):
            await change("nobody")


# --- time-outs ---


async def test_an_execution_out_of_time_fails_and_its_nodes_are_stopped(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    running = asyncio.create_task(engine.execute("w", timeout_ms=2_500, execution_id="e"))
    await gate.entered.wait()
    lab.clock.advance(2)
    await turn()
    assert not running.done()
    for _ in range(4):
        lab.clock.advance(1)
        await turn()
    result = await running
    assert (result.success, result.error) == (False, "timeout")
    assert gate.was_cancelled
    assert (await lab.execution("e")).status == "failed"


async def test_an_execution_of_this_engine_fails_as_soon_as_its_time_is_up(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    running = asyncio.create_task(engine.execute("w", timeout_ms=150))
    await gate.entered.wait()
    lab.clock.advance(0.15)
    await until(running.done)
    assert (await running).error == "timeout"
    assert gate.was_cancelled


async def test_a_time_out_that_was_moved_meanwhile_holds_as_moved(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    running = asyncio.create_task(engine.execute("w", timeout_ms=150, execution_id="e"))
    await gate.entered.wait()
    await lab.store.set_execution_timeout("e", lab.later(60))
    lab.clock.advance(0.15)
    for _ in range(4):
        await turn()
    assert not running.done()
    gate.opened.set()
    assert (await running).success


async def test_a_time_out_that_others_set_is_noticed_too(lab: Lab, engine: WorkflowEngine) -> None:
    gate = await begun(lab, engine)
    await lab.store.set_execution_timeout("e", lab.later(1))
    lab.clock.advance(1)
    assert await lab.store.sweep_timeouts() == ["e"]
    lab.clock.advance(1)
    assert (await engine.wait("e")).error == "timeout"
    await until(lambda: gate.was_cancelled)


# --- delays ---


async def test_a_delay_node_waits_and_hands_on_what_it_is_given(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(
        flow({"id": "a", "outputs": ["b"]}, {"id": "b", "type": "delay", "config": {"durationSeconds": 90}})
    )
    running = asyncio.create_task(engine.execute("w", {"x": 1}))
    await lab.clock.until_awaited(lab.later(90))
    lab.clock.advance(89.5)
    await turn()
    assert not running.done()
    lab.clock.advance(0.5)
    assert (await running).data == {"x": 1}


async def test_a_delay_takes_no_place_of_a_node_that_runs(lab: Lab) -> None:
    engine = lab.engine(concurrency=1)
    await engine.register_workflow(
        flow({"id": "d", "type": "delay", "config": {"duration": 1_000}}, {"id": "a", "outputs": ["b"]}, {"id": "b"})
    )
    running = asyncio.create_task(engine.execute("w"))
    await until(lambda: lab.calls["b"] == 1)
    lab.clock.advance(1)
    assert (await running).success


async def test_a_workflow_with_a_delay_begins_later(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a", delay=5_000))
    running = asyncio.create_task(engine.execute("w"))
    await lab.clock.until_awaited(lab.later(5))
    assert lab.calls == {}
    lab.clock.advance(5)
    assert (await running).success


async def test_a_waiting_execution_that_is_cancelled_stops_at_once(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a", delay=3_600_000))
    await engine.start("w", execution_id="e")
    await lab.clock.until_awaited(lab.later(3_600))
    await engine.cancel("e")
    assert (await engine.wait("e")).error == "cancelled"


# --- how many at once ---


async def test_no_more_executions_of_a_workflow_run_at_once_than_it_allows(lab: Lab, engine: WorkflowEngine) -> None:
    gates: list[Gate] = []

    async def enter(context: object) -> object:
        gate = Gate()
        gates.append(gate)
        return await gate(context)  # type: ignore[arg-type]  # it looks at nothing of it

    lab.does = {"a": enter}
    await engine.register_workflow(row("a", maxConcurrency=2))
    tasks = [asyncio.create_task(engine.execute("w")) for _ in range(4)]
    for count in (2, 3, 4):
        await until(lambda count=count: len(gates) == count)  # type: ignore[misc]  # mypy does not infer such a lambda
        await turn()
        assert len(gates) == count
        gates[count - 2].opened.set()
    gates[-1].opened.set()
    assert all(result.success for result in await asyncio.gather(*tasks))


async def test_who_waits_for_a_place_can_be_cancelled_and_takes_none(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a", maxConcurrency=1))
    for execution_id in ("first", "second", "third"):
        await engine.start("w", execution_id=execution_id)
    await gate.entered.wait()
    await turn()
    await engine.cancel("second")
    gate.opened.set()
    assert (await engine.wait("first")).success
    assert (await engine.wait("third")).success
    assert not (await engine.wait("second")).success
    assert lab.calls == {"a": 2}
