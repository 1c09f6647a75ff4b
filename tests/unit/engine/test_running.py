"""An execution from its beginning to its end: order, inputs, results, branches."""

import asyncio
from typing import Any

import pytest
from msgspec import UNSET

from spane_otel.engine import ExecutionContext, ExecutionResult, WorkflowEngine
from spane_otel.errors import (
    ConfigurationError,
    EngineClosedError,
    EngineError,
    ExecutionExistsError,
    InvalidValueError,
    InvalidWorkflowError,
    StoreUnavailableError,
    UnknownExecutionError,
    UnknownWorkflowError,
)
from spane_otel.stores.memory import InMemoryExecutionStore
from tests.unit.engine.lab import Gate, HeldWrites, Lab, fails, flow, returns, row, turn, until


async def test_nodes_run_in_their_order_and_hand_on_what_they_come_to(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"b": returns({"from": "b"})}
    await engine.register_workflow(row("a", "b", "c"))
    result = await engine.execute("w", {"x": 1})
    assert [context.node_id for context in lab.contexts] == ["a", "b", "c"]
    assert [context.input_data for context in lab.contexts] == [{"x": 1}, {"x": 1}, {"from": "b"}]
    assert result == ExecutionResult(True, {"from": "b"}, execution_id=result.execution_id)
    record = await lab.execution(result.execution_id)
    assert (record.status, record.result, record.workflow_version) == ("completed", {"from": "b"}, 1)


async def test_a_node_with_several_parents_gets_a_map_by_node_id(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"b": returns(0), "c": returns([])}
    await engine.register_workflow(
        flow({"id": "a", "outputs": ["c", "b"]}, {"id": "b"}, {"id": "c"}, {"id": "d", "inputs": ["c", "b"]})
    )
    result = await engine.execute("w", "seed")
    assert lab.context("d").input_data == {"c": [], "b": 0}
    assert list(lab.context("d").input_data) == ["c", "b"]
    assert result.data == {"c": [], "b": 0}


async def test_several_exit_nodes_make_a_map_by_node_id(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"b": returns(False), "c": returns(None)}
    await engine.register_workflow(flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b"}, {"id": "c"}))
    assert (await engine.execute("w")).data == {"b": False, "c": None}


async def test_every_entry_node_gets_the_initial_data(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(flow({"id": "a"}, {"id": "b"}))
    assert (await engine.execute("w", [1])).data == {"a": [1], "b": [1]}


@pytest.mark.parametrize("value", [0, False, "", [], {}, None, "text", 1.5])
async def test_whatever_json_can_say_is_handed_on_as_it_is(lab: Lab, engine: WorkflowEngine, value: Any) -> None:
    lab.does = {"a": returns(value)}
    await engine.register_workflow(row("a", "b"))
    result = await engine.execute("w")
    assert lab.context("b").input_data == value
    assert type(lab.context("b").input_data) is type(value)
    assert result.data == value


async def test_a_node_without_data_hands_on_nothing(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": returns(UNSET)}
    await engine.register_workflow(row("a"))
    result = await engine.execute("w")
    assert result.data is UNSET
    assert not (await lab.result(result.execution_id, "a")).has_data


async def test_a_mapping_with_spanes_keys_is_a_result_too(lab: Lab, engine: WorkflowEngine) -> None:
    async def choose(_: ExecutionContext) -> dict[str, Any]:
        return {"success": True, "data": 7, "nextNodes": ["c"]}

    lab.does = {"a": choose}
    await engine.register_workflow(flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b"}, {"id": "c"}))
    assert (await engine.execute("w")).data == {"c": 7}
    assert lab.calls == {"a": 1, "c": 1}


async def test_what_one_node_does_to_its_input_nobody_else_sees(lab: Lab, engine: WorkflowEngine) -> None:
    async def spoil(context: ExecutionContext) -> ExecutionResult:
        context.input_data["list"].append("spoilt")
        context.node_config["x"] = "spoilt"
        return ExecutionResult(True)

    initial = {"list": [1]}
    lab.does = {"b": spoil}
    await engine.register_workflow(
        flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b", "config": {"x": 1}}, {"id": "c", "inputs": ["b"]})
    )
    result = await engine.execute("w", initial)
    assert lab.context("c").previous_results["a"].data == {"list": [1]}
    assert (await lab.result(result.execution_id, "b")).input == {"list": [1]}
    assert initial == {"list": [1]}


async def test_a_tuple_is_a_list_for_the_next_node_as_it_would_be_after_a_crash(
    lab: Lab, engine: WorkflowEngine
) -> None:
    lab.does = {"a": returns({"pair": (1, 2)})}
    await engine.register_workflow(row("a", "b"))
    await engine.execute("w")
    assert lab.context("b").input_data == {"pair": [1, 2]}


async def test_the_context_says_where_the_node_stands(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": returns("A"), "b": returns("B")}
    await engine.register_workflow(
        flow({"id": "a", "outputs": ["b"]}, {"id": "b", "outputs": ["c"]}, {"id": "c", "config": {"k": [1]}})
    )
    result = await engine.execute("w", {"x": 1})
    context = lab.context("c")
    assert (context.workflow_id, context.execution_id, context.node_id) == ("w", result.execution_id, "c")
    assert (context.depth, context.parent_execution_id, context.attempt, context.iteration) == (0, None, 1, 0)
    assert context.node_config == {"k": [1]}
    assert {key: each.data for key, each in context.previous_results.items()} == {"b": "B"}
    assert {key: each.data for key, each in context.all_node_results.items()} == {"a": "A", "b": "B", "c": "B"}


async def test_a_node_begins_only_once_what_is_before_it_is_committed(lab: Lab, engine: WorkflowEngine) -> None:
    async def look(context: ExecutionContext) -> ExecutionResult:
        stored = await lab.store.get_node_results(context.execution_id)
        return ExecutionResult(True, sorted(stored))

    lab.does = {"c": look}
    await engine.register_workflow(row("a", "b", "c"))
    assert (await engine.execute("w")).data == ["a", "b"]


async def test_no_node_begins_while_what_is_before_it_is_still_being_written(
    lab: Lab, engine: WorkflowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldWrites(monkeypatch, "a")
    await engine.register_workflow(row("a", "b"))
    running = asyncio.create_task(engine.execute("w"))
    await held.arrived["a"].wait()
    await turn()
    assert lab.calls == {"a": 1}
    held.let_through["a"].set()
    assert (await running).success


async def test_the_result_is_kept_whichever_of_the_last_nodes_is_written_first(
    lab: Lab, engine: WorkflowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write that completes an execution is the one that carries its result."""
    held = HeldWrites(monkeypatch, "a")
    await engine.register_workflow(flow({"id": "a"}, {"id": "b", "inputs": []}))
    lab.does = {"b": (gate := Gate(2)), "a": returns(1)}
    running = asyncio.create_task(engine.execute("w"))
    await held.arrived["a"].wait()
    gate.opened.set()
    await turn()
    held.let_through["a"].set()
    result = await running
    assert result.data == {"a": 1, "b": 2}
    assert (await lab.execution(result.execution_id)).result == {"a": 1, "b": 2}


async def test_nodes_side_by_side_run_at_the_same_time(lab: Lab, engine: WorkflowEngine) -> None:
    gates = {"b": Gate(), "c": Gate()}
    lab.does = dict(gates)
    await engine.register_workflow(flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b"}, {"id": "c"}))
    running = asyncio.create_task(engine.execute("w"))
    await until(lambda: all(gate.entered.is_set() for gate in gates.values()))
    for gate in gates.values():
        gate.opened.set()
    assert (await running).success


async def test_no_more_nodes_run_at_once_than_the_engine_allows(lab: Lab) -> None:
    engine = lab.engine(concurrency=2)
    gates = {f"n{place}": Gate() for place in range(4)}
    lab.does = dict(gates)
    await engine.register_workflow(flow(*({"id": each} for each in gates)))
    running = asyncio.create_task(engine.execute("w"))
    await until(lambda: sum(gate.entered.is_set() for gate in gates.values()) == 2)
    await turn()
    assert sum(gate.entered.is_set() for gate in gates.values()) == 2
    for gate in gates.values():
        gate.opened.set()
    assert (await running).success


async def test_the_workflow_of_greater_priority_goes_first(lab: Lab) -> None:
    engine = lab.engine(concurrency=1)
    gate = Gate()
    lab.does = {"first": gate}
    await engine.register_workflow(row("first", id="x"))
    await engine.register_workflow(row("low", id="low", priority=1))
    await engine.register_workflow(row("high", id="high", priority=9))
    tasks = [asyncio.create_task(engine.execute("x"))]
    await gate.entered.wait()
    tasks += [asyncio.create_task(engine.execute(each)) for each in ("low", "high")]
    await turn()
    gate.opened.set()
    await asyncio.gather(*tasks)
    assert [context.node_id for context in lab.contexts] == ["first", "high", "low"]


# --- branches ---


async def test_what_is_not_chosen_is_skipped_with_everything_behind_it(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": returns(1, next_nodes=("b",))}
    await engine.register_workflow(
        flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b"}, {"id": "c", "outputs": ["d"]}, {"id": "d"})
    )
    result = await engine.execute("w")
    assert result.data == {"b": 1}
    assert lab.calls == {"a": 1, "b": 1}
    states = {key: each.state for key, each in (await lab.store.get_node_results(result.execution_id or "")).items()}
    assert states == {"a": "completed", "b": "completed", "c": "skipped", "d": "skipped"}
    assert (await lab.execution(result.execution_id)).status == "completed"


async def test_a_join_behind_branches_gets_what_was_not_skipped(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": returns(1, next_nodes=["c"])}
    await engine.register_workflow(
        flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b"}, {"id": "c"}, {"id": "d", "inputs": ["b", "c"]})
    )
    assert (await engine.execute("w")).data == {"c": 1}
    assert lab.calls == {"a": 1, "c": 1, "d": 1}


async def test_a_node_that_says_it_was_skipped_skips_what_is_behind_it(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"b": returns(UNSET, skipped=True)}
    await engine.register_workflow(row("a", "b", "c"))
    result = await engine.execute("w")
    assert (result.success, result.data) == (True, UNSET)
    assert (await lab.result(result.execution_id, "c")).state == "skipped"


async def test_choosing_nothing_skips_everything_behind(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": returns(1, next_nodes=())}
    await engine.register_workflow(row("a", "b"))
    result = await engine.execute("w")
    assert (await lab.execution(result.execution_id)).status == "completed"
    assert lab.calls == {"a": 1}


async def test_ten_thousand_nodes_that_are_skipped_are_all_written(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"n0": returns(1, next_nodes=())}
    await engine.register_workflow(row(*(f"n{place}" for place in range(2_000))))
    result = await engine.execute("w")
    assert await lab.store.get_pending_node_count(result.execution_id or "") == 0


# --- what goes wrong before anything runs ---


async def test_what_can_not_be_run_is_not_saved(lab: Lab, engine: WorkflowEngine) -> None:
    with pytest.raises(InvalidWorkflowError) as refused:
        await engine.register_workflow(flow({"id": "a", "type": "strange"}))
    assert refused.value.path == "nodes[0].type"
    assert await lab.store.get_workflow("w") is None


async def test_an_error_of_the_store_is_let_through_and_nothing_is_kept(
    lab: Lab, engine: WorkflowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> int:
        raise StoreUnavailableError("down")

    with monkeypatch.context() as patch:
        patch.setattr(InMemoryExecutionStore, "save_workflow", fail)
        with pytest.raises(StoreUnavailableError):
            await engine.register_workflow(row("a"))
    with pytest.raises(UnknownWorkflowError):
        await engine.execute("w")
    assert lab.calls == {}


async def test_registering_again_makes_a_new_version_only_for_new_content(lab: Lab, engine: WorkflowEngine) -> None:
    assert await engine.register_workflow(row("a")) == 1
    assert await engine.register_workflow(row("a"), "nothing new") == 1
    assert await engine.register_workflow(row("a", "b"), "one more") == 2
    versions = await lab.store.list_workflow_versions("w")
    assert [each.change_notes for each in versions] == [None, "one more"]


async def test_an_execution_goes_on_with_the_version_it_began_with(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate()
    lab.does = {"a": gate}
    await engine.register_workflow(row("a", "b"))
    running = asyncio.create_task(engine.execute("w"))
    await gate.entered.wait()
    await engine.register_workflow(row("a", "c"))
    gate.opened.set()
    assert (await running).success
    assert lab.calls == {"a": 1, "b": 1}
    await engine.execute("w")
    assert lab.calls["c"] == 1


async def test_what_another_process_has_saved_is_run_without_being_registered(lab: Lab, engine: WorkflowEngine) -> None:
    await lab.store.save_workflow(row("a"))
    await engine.execute("w")
    await lab.store.save_workflow(row("a", "b"))
    await engine.execute("w")
    assert lab.calls == {"a": 2, "b": 1}


async def test_an_unknown_workflow_is_said_to_be_and_leaves_nothing_behind(lab: Lab, engine: WorkflowEngine) -> None:
    with pytest.raises(UnknownWorkflowError):
        await engine.execute("w")
    assert await lab.store.get_execution_count() == 0


async def test_a_stored_workflow_that_can_not_be_run_is_refused_before_anything_is_made(
    lab: Lab, engine: WorkflowEngine
) -> None:
    await lab.store.save_workflow(flow({"id": "a", "outputs": ["b"]}, {"id": "b", "outputs": ["a"]}))
    with pytest.raises(InvalidWorkflowError, match="a -> b -> a"):
        await engine.execute("w")
    assert await lab.store.get_execution_count() == 0


async def test_a_version_that_others_save_and_that_can_not_be_run_here_fails_its_execution_and_says_why(
    lab: Lab, engine: WorkflowEngine
) -> None:
    await engine.register_workflow(row("a"))
    await lab.store.save_workflow(flow({"id": "a", "type": "strange"}))
    result = await engine.execute("w")
    assert (result.success, lab.calls) == (False, {})
    assert "no executor is registered for the type 'strange'" in (result.error or "")
    assert (await lab.execution(result.execution_id)).status == "failed"


async def test_data_that_is_not_json_is_refused_before_anything_is_made(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    with pytest.raises(InvalidValueError):
        await engine.execute("w", {"x": object()})
    assert await lab.store.get_execution_count() == 0


# --- ids ---


async def test_an_execution_id_that_was_run_is_not_run_twice(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    first = await engine.execute("w", 5, execution_id="mine")
    again = await engine.execute("w", 5, execution_id="mine")
    assert again == first
    assert lab.calls == {"a": 1}
    with pytest.raises(ExecutionExistsError):
        await engine.execute("w", 6, execution_id="mine")


async def test_who_asks_for_a_running_execution_by_its_id_waits_for_that_one(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate("done")
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    tasks = [asyncio.create_task(engine.execute("w", execution_id="mine")) for _ in range(3)]
    await gate.entered.wait()
    await turn()
    gate.opened.set()
    assert [result.data for result in await asyncio.gather(*tasks)] == ["done"] * 3
    assert lab.calls == {"a": 1}


async def test_who_stops_waiting_does_not_stop_the_execution(lab: Lab, engine: WorkflowEngine) -> None:
    gate = Gate("done")
    lab.does = {"a": gate}
    await engine.register_workflow(row("a"))
    waiting = asyncio.create_task(engine.execute("w", execution_id="mine"))
    await gate.entered.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.opened.set()
    assert (await engine.wait("mine")).data == "done"


async def test_metadata_is_the_executions(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    result = await engine.execute("w", metadata={"order": 7})
    assert (await lab.execution(result.execution_id)).metadata == {"order": 7}


async def test_waiting_for_an_unknown_execution_says_so(engine: WorkflowEngine) -> None:
    with pytest.raises(UnknownExecutionError):
        await engine.wait("nobody")


async def test_a_closed_engine_takes_nothing_more(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    await engine.aclose()
    await engine.aclose()
    with pytest.raises(EngineClosedError):
        await engine.start("w")
    assert await lab.store.get_execution_count() == 0


def test_an_engine_goes_on_in_a_new_event_loop_when_its_first_is_closed() -> None:
    """As in a script that calls `asyncio.run` again and again."""
    lab = Lab()
    engine = lab.engine(concurrency=1)
    asyncio.run(engine.register_workflow(row("a", "b")))
    assert [asyncio.run(engine.execute("w", number)).data for number in range(3)] == [0, 1, 2]
    asyncio.run(engine.aclose())


async def test_an_engine_is_not_used_in_two_event_loops_at_once(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    await engine.execute("w")
    with pytest.raises(EngineError, match="one event loop"):
        await asyncio.to_thread(lambda: asyncio.run(engine.start("w")))


# --- executors ---


class Doubler:
    """An executor that is an object."""

    async def execute(self, context: ExecutionContext) -> ExecutionResult:
        return ExecutionResult(True, 2 * context.input_data)


async def test_an_executor_is_an_object_or_a_function(lab: Lab, engine: WorkflowEngine) -> None:
    lab.registry.register("double", Doubler())
    await engine.register_workflow(flow({"id": "a", "type": "double"}))
    assert (await engine.execute("w", 21)).data == 42


@pytest.mark.parametrize(
    ("type_", "executor"),
    [("x", 7), ("", fails()), ("delay", fails()), ("sub-workflow", fails()), ("x", Doubler)],
)
def test_what_can_not_run_nodes_is_refused_when_it_is_registered(lab: Lab, type_: str, executor: Any) -> None:
    with pytest.raises(ConfigurationError):
        lab.registry.register(type_, executor)


def test_a_registry_knows_what_was_registered_last(lab: Lab) -> None:
    doubler = Doubler()
    lab.registry.register("work", doubler)
    assert lab.registry.types == {"work"}
    assert lab.registry.get("work") == doubler.execute
    assert lab.registry.get("other") is None
