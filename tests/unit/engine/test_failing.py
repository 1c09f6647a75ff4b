"""What goes wrong in nodes: retries, what is tolerated, what fails the execution, dead letters."""

import asyncio
from typing import Any

import pytest

from spane_otel.clock import SECOND
from spane_otel.engine import ExecutionContext, ExecutionResult, WorkflowEngine
from spane_otel.errors import StoreUnavailableError
from spane_otel.stores.memory import InMemoryExecutionStore
from tests.unit.engine.lab import Gate, Lab, fails, flow, returns, row, turn, until

ONCE = {"retryPolicy": {"maxAttempts": 1}}


def policy(attempts: int, kind: str, delay: int, **members: Any) -> dict[str, Any]:
    return {"retryPolicy": {"maxAttempts": attempts, "backoff": {"type": kind, "delay": delay}, **members}}


@pytest.mark.parametrize(
    ("config", "waits"),
    [
        pytest.param({}, [1.0, 2.0], id="SPANE's defaults: three attempts, 1 s, doubled"),
        pytest.param(policy(4, "exponential", 100), [0.1, 0.2, 0.4], id="exponential"),
        pytest.param(policy(3, "fixed", 500), [0.5, 0.5], id="fixed"),
        pytest.param(ONCE, [], id="once"),
    ],
)
async def test_a_failed_node_is_tried_again_after_its_backoff(
    lab: Lab, engine: WorkflowEngine, config: dict[str, Any], waits: list[float]
) -> None:
    lab.does = {"a": fails("boom")}
    await engine.register_workflow(flow({"id": "a", "config": config}))
    running = asyncio.create_task(engine.execute("w"))
    for place, wait in enumerate(waits):
        await until(lambda place=place: lab.calls["a"] == place + 1)  # type: ignore[misc]  # mypy infers no such lambda
        await turn()
        lab.clock.advance(wait - 0.01)
        await turn()
        assert lab.calls["a"] == place + 1
        lab.clock.advance(0.01)
    result = await running
    assert (result.success, result.error) == (False, "ValueError: boom")
    attempts = await lab.store.list_node_attempts(result.execution_id or "", "a")
    assert [each.attempt for each in attempts] == list(range(1, len(waits) + 2))
    assert [each.is_final for each in attempts] == [False] * len(waits) + [True]
    assert [context.attempt for context in lab.contexts] == list(range(1, len(waits) + 2))
    record = await lab.execution(result.execution_id)
    assert (record.status, record.error) == ("failed", "ValueError: boom")


async def test_a_returned_failure_is_tried_again_like_a_raised_one(lab: Lab, engine: WorkflowEngine) -> None:
    async def fail_twice(context: ExecutionContext) -> ExecutionResult:
        return ExecutionResult(context.attempt == 3, context.attempt, error=None if context.attempt == 3 else "not yet")

    lab.does = {"a": fail_twice}
    await engine.register_workflow(flow({"id": "a", "config": policy(3, "fixed", 0)}))
    result = await engine.execute("w")
    assert (result.success, result.data) == (True, 3)
    attempts = await lab.store.list_node_attempts(result.execution_id or "", "a")
    assert [(each.success, each.error) for each in attempts] == [(False, "not yet"), (False, "not yet"), (True, None)]


async def test_what_says_that_trying_again_is_no_use_is_not_tried_again(lab: Lab, engine: WorkflowEngine) -> None:
    class HopelessError(Exception):
        retryable = False

    async def fail(_: ExecutionContext) -> ExecutionResult:
        raise HopelessError("no use")

    lab.does = {"a": fail}
    await engine.register_workflow(row("a"))
    assert (await engine.execute("w")).error == "HopelessError: no use"
    assert lab.calls == {"a": 1}


@pytest.mark.parametrize(
    "result",
    [None, 7, "text", {}, {"data": 1}, {"success": 1}, {"success": True, "dta": 1}, ExecutionResult(True, object())],
)
async def test_a_result_that_is_none_fails_the_node(lab: Lab, engine: WorkflowEngine, result: Any) -> None:
    async def give(_: ExecutionContext) -> Any:
        return result

    lab.does = {"a": give}
    await engine.register_workflow(flow({"id": "a", "config": ONCE}))
    assert not (await engine.execute("w")).success


async def test_a_result_that_is_too_large_fails_the_node_and_says_so(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": returns("x" * 2**21)}
    await engine.register_workflow(row("a"))
    result = await engine.execute("w")
    assert "more than 2,097,152" in (result.error or "")


async def test_results_that_are_too_large_together_fail_the_execution(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": returns("x" * 1_500_000), "b": returns("x" * 1_500_000)}
    await engine.register_workflow(flow({"id": "a"}, {"id": "b"}))
    result = await engine.execute("w")
    assert "the result can't be stored" in (result.error or "")
    assert (await lab.execution(result.execution_id)).status == "failed"


async def test_a_cancellation_inside_a_node_is_a_failure_of_the_node(lab: Lab, engine: WorkflowEngine) -> None:
    async def cancel_something(_: ExecutionContext) -> ExecutionResult:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task
        return ExecutionResult(True)

    lab.does = {"a": cancel_something}
    await engine.register_workflow(flow({"id": "a", "config": ONCE}))
    assert (await engine.execute("w")).error == "CancelledError"


# --- tolerance ---


@pytest.mark.parametrize("config", [policy(1, "fixed", 0, continueOnFail=True), {**ONCE, "continueOnFail": True}])
async def test_a_tolerated_failure_stays_one_and_the_execution_goes_on(
    lab: Lab, engine: WorkflowEngine, config: dict[str, Any]
) -> None:
    """The next node is given SPANE's record of the failure."""
    lab.does = {"a": fails("boom")}
    await engine.register_workflow(flow({"id": "a", "config": config, "outputs": ["b"]}, {"id": "b"}))
    result = await engine.execute("w")
    note = {
        "error": "ValueError: boom",
        "_metadata": {"continuedOnFail": True, "originalError": "ValueError: boom"},
    }
    assert (result.success, result.data) == (True, note)
    stored = await lab.result(result.execution_id, "a")
    assert (stored.state, stored.is_final, stored.has_data) == ("failed", True, False)
    assert not await lab.store.list_dead_letters(execution_id=result.execution_id)


async def test_what_is_behind_a_failure_never_runs(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": fails()}
    await engine.register_workflow(flow({"id": "a", "config": ONCE, "outputs": ["b"]}, {"id": "b"}))
    result = await engine.execute("w")
    assert lab.calls == {"a": 1}
    assert set(await lab.store.get_node_results(result.execution_id or "")) == {"a"}


async def test_after_a_failure_what_runs_finishes_and_nothing_begins(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate("kept")
    lab.does = {"a": fails("boom"), "b": gate}
    await engine.register_workflow(flow({"id": "a", "config": ONCE}, {"id": "b", "outputs": ["c"]}, {"id": "c"}))
    running = asyncio.create_task(engine.execute("w", execution_id="e"))
    await gate.entered.wait()
    await turn()
    assert (await lab.execution("e")).status == "running"
    gate.opened.set()
    result = await running
    assert result.error == "ValueError: boom"
    assert (await lab.result("e", "b")).data == "kept"
    assert lab.calls == {"a": 1, "b": 1}


async def test_after_a_failure_no_further_attempt_is_made_elsewhere(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate, "b": fails("flaky")}
    await engine.register_workflow(flow({"id": "a", "config": ONCE}, {"id": "b"}))
    running = asyncio.create_task(engine.execute("w"))
    await lab.clock.until_awaited(lab.later(1))
    lab.does["a"] = fails("fatal")
    gate._data = object()
    gate.opened.set()
    result = await running
    assert not result.success
    assert lab.calls == {"a": 1, "b": 1}


# --- dead letters ---


async def test_a_final_failure_leaves_a_dead_letter_and_retrying_it_makes_another_attempt(
    lab: Lab, engine: WorkflowEngine
) -> None:
    lab.does = {"b": fails("boom", times=1)}
    await engine.register_workflow(
        flow({"id": "a", "outputs": ["b"]}, {"id": "b", "config": ONCE, "outputs": ["c"]}, {"id": "c"})
    )
    failed = await engine.execute("w", "data")
    (letter,) = await lab.store.list_dead_letters(execution_id=failed.execution_id)
    assert (letter.node_id, letter.attempt, letter.error) == ("b", 1, "ValueError: boom")
    assert letter.job_data["workflowVersion"] == 1
    assert await lab.store.retry_dead_letter(failed.execution_id or "", letter.dead_letter_id)
    result = await lab.outlast(engine.wait(failed.execution_id or ""))
    assert (result.success, result.data) == (True, "data")
    assert lab.calls == {"a": 1, "b": 2, "c": 1}
    assert lab.context("b").attempt == 2


async def test_of_two_failures_the_one_that_is_retried_runs_and_the_other_still_fails_the_execution(
    lab: Lab, engine: WorkflowEngine
) -> None:
    lab.does = {"a": fails("A", times=1), "b": fails("B", times=1)}
    await engine.register_workflow(flow({"id": "a", "config": ONCE}, {"id": "b", "config": ONCE}))
    failed = await engine.execute("w", 1, execution_id="e")
    assert not failed.success
    letters = {each.node_id: each for each in await lab.store.list_dead_letters(execution_id="e")}
    for node_id, status in (("a", "failed"), ("b", "completed")):
        await lab.store.retry_dead_letter("e", letters[node_id].dead_letter_id)
        await lab.outlast(engine.wait("e"))
        assert lab.calls[node_id] == 2
        assert (await lab.execution("e")).status == status


# --- rate limits ---


async def test_a_rate_limited_node_runs_again_later_as_the_same_attempt(lab: Lab, engine: WorkflowEngine) -> None:
    async def hold_once(context: ExecutionContext) -> ExecutionResult:
        if lab.calls["a"] == 1:
            await context.rate_limit(3_000)
        return ExecutionResult(True, context.attempt)

    lab.does = {"a": hold_once}
    await engine.register_workflow(row("a"))
    running = asyncio.create_task(engine.execute("w"))
    await lab.clock.until_awaited(lab.later(3))
    lab.clock.advance(3)
    assert (await running).data == 1
    attempts = await lab.store.list_node_attempts((await running).execution_id or "", "a")
    assert [each.attempt for each in attempts] == [1]


async def test_others_of_the_type_wait_with_a_rate_limited_node(lab: Lab, engine: WorkflowEngine) -> None:
    async def hold_once(context: ExecutionContext) -> ExecutionResult:
        if lab.calls["a"] == 1:
            await context.rate_limit(3_000)
        return ExecutionResult(True)

    lab.does = {"a": hold_once}
    await engine.register_workflow(row("a"))
    await engine.register_workflow(row("b", id="other"))
    first = asyncio.create_task(engine.execute("w"))
    await lab.clock.until_awaited(lab.later(3))
    second = asyncio.create_task(engine.execute("other"))
    await turn()
    assert lab.calls == {"a": 1}
    lab.clock.advance(3)
    await asyncio.gather(first, second)
    assert lab.calls == {"a": 2, "b": 1}


# --- the store ---


async def test_an_outage_of_the_store_delays_an_execution_and_repeats_no_node(
    lab: Lab, engine: WorkflowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = InMemoryExecutionStore.complete_node
    outages = 3

    async def complete(store: InMemoryExecutionStore, *args: Any, **named: Any) -> Any:
        nonlocal outages
        if outages:
            outages -= 1
            raise StoreUnavailableError("down")
        return await whole(store, *args, **named)

    monkeypatch.setattr(InMemoryExecutionStore, "complete_node", complete)
    await engine.register_workflow(row("a", "b"))
    running = asyncio.create_task(engine.execute("w", 1))
    for wait in (0.1, 0.2, 0.4):
        await lab.clock.until_awaited(lab.clock.now_ns() + int(wait * SECOND))
        lab.clock.advance(wait)
    assert (await running).data == 1
    assert lab.calls == {"a": 1, "b": 1}


async def test_an_execution_that_is_deleted_stops(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a", "b"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    await lab.store.delete_execution("e")
    gate.opened.set()
    await until(lambda: not engine.running)
    assert lab.calls == {"a": 1}
