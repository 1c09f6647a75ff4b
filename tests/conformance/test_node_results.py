"""Node results: each attempt a row of its own, the latest one the node's."""

import asyncio
from typing import Any

import pytest
from msgspec import UNSET

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidValueError, UnknownExecutionError
from spane_otel.state import ExecutionResult, NodeResult
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution, load_result
from tests.conformance.subjects import Subject
from tests.rows import batch, ns, root, span

OK = {"success": True}
FAILED = {"success": False, "error": "no stock"}


async def test_every_field_of_a_result_comes_back(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result(
        "e",
        "a",
        ExecutionResult(success=True, data={"n": [1, 2.5, None]}, error="a warning", next_nodes=("b", "c")),
        attempt=3,
        iteration=2,
        started_ns=ns(1),
        ended_ns=ns(2) + 1,
        worker="worker-1 ü",
        input={"given": "ü\0\ud800"},
    )
    assert await load_result(store, "e", "a") == NodeResult(
        execution_id="e",
        node_id="a",
        iteration=2,
        attempt=3,
        success=True,
        data={"n": [1, 2.5, None]},
        has_data=True,
        error="a warning",
        next_nodes=("b", "c"),
        skipped=False,
        state="completed",
        is_final=True,
        started_ns=ns(1),
        ended_ns=ns(2) + 1,
        worker="worker-1 ü",
        input={"given": "ü\0\ud800"},
        has_input=True,
    )


async def test_what_was_not_given_is_absent_and_the_end_is_the_stores_present(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    before_ns = subject.now_ns()
    await store.update_node_result("e", "a", FAILED)
    result = await load_result(store, "e", "a")
    assert (result.attempt, result.iteration) == (1, 0)
    assert (result.has_data, result.has_input, result.data, result.input) == (False, False, None, None)
    assert (result.started_ns, result.worker, result.next_nodes) == (None, None, None)
    assert result.ended_ns is not None
    assert before_ns - SECOND <= result.ended_ns <= subject.now_ns() + SECOND


async def test_a_result_may_be_a_mapping_in_either_spelling(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    same: list[Any] = [
        ExecutionResult(True, data=1, next_nodes=("b",)),
        ExecutionResult(True, data=1, next_nodes=["b"]),  # type: ignore[arg-type]  # a list does as well
        {"success": True, "data": 1, "nextNodes": ["b"]},
        {"success": True, "data": 1, "next_nodes": ("b",), "error": None, "skipped": False},
        {"success": True, "data": 1, "nextNodes": ["b"], "skipped": None},
    ]
    for number, result in enumerate(same):
        await store.update_node_result("e", f"n{number}", result)
        read = await load_result(store, "e", f"n{number}")
        assert (read.success, read.data, read.has_data, read.next_nodes) == (True, 1, True, ("b",))
        assert (read.skipped, read.error) == (False, None)


async def test_the_state_says_what_a_result_came_to(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    states = {
        "completed": {"success": True},
        "failed": {"success": False},
        "skipped": {"success": True, "skipped": True},
    }
    for state, result in states.items():
        await store.update_node_result("e", state, result)
        assert (await load_result(store, "e", state)).state == state
    await store.update_node_result("e", "skipped too", {"success": False, "skipped": True})
    assert (await load_result(store, "e", "skipped too")).state == "skipped"


async def test_no_node_that_goes_on_is_not_all(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "none", {"success": True, "nextNodes": []})
    await store.update_node_result("e", "all", {"success": True})
    assert (await load_result(store, "e", "none")).next_nodes == ()
    assert (await load_result(store, "e", "all")).next_nodes is None


async def test_a_failure_is_final_only_where_the_node_is_completed_with_it(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "tried", FAILED)
    await store.complete_node("e", "given up", FAILED)
    await store.update_node_result("e", "done", OK)
    await store.update_node_result("e", "left out", {"success": False, "skipped": True})
    finals = {node: result.is_final for node, result in (await store.get_node_results("e")).items()}
    assert finals == {"tried": False, "given up": True, "done": True, "left out": True}


async def test_each_attempt_and_iteration_is_kept_and_the_last_is_the_nodes(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    order = [(1, 2), (0, 1), (1, 1), (0, 10), (0, 2), (1, 3)]
    for iteration, attempt in order:
        await store.update_node_result(
            *("e", "a", {"success": attempt == 3, "data": [iteration, attempt]}), attempt=attempt, iteration=iteration
        )
    attempts = await store.list_node_attempts("e", "a")
    assert [(each.iteration, each.attempt) for each in attempts] == sorted(order)
    assert [each.data for each in attempts] == [list(each) for each in sorted(order)]
    assert attempts[-1] == await load_result(store, "e", "a")
    assert (attempts[-1].iteration, attempts[-1].attempt, attempts[-1].success) == (1, 3, True)


async def test_a_result_of_the_same_attempt_replaces_the_one_before_whole(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result(
        *("e", "a", {"success": False, "data": 0, "error": "no", "nextNodes": ["b"]}),
        started_ns=ns(1),
        ended_ns=ns(2),
        worker="w",
        input="in",
    )
    await store.update_node_result("e", "a", OK, ended_ns=ns(3))
    (result,) = await store.list_node_attempts("e", "a")
    assert result == NodeResult(
        execution_id="e", node_id="a", success=True, state="completed", is_final=True, ended_ns=ns(3)
    )


async def test_results_are_read_for_the_nodes_asked_for(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.create_execution("order", execution_id="other")
    for node in ("a", "b", "c", "a/b ü😀", "x" * 256):
        await store.update_node_result("e", node, OK)
    await store.update_node_result("other", "z", OK)
    assert set(await store.get_node_results("e")) == {"a", "b", "c", "a/b ü😀", "x" * 256}
    assert set(await store.get_node_results("e", ["c", "a", "nobody", "a", "\0", "z"])) == {"a", "c"}
    assert await store.get_node_results("e", []) == {}
    assert await store.list_node_attempts("e", "z") == []


async def test_an_unknown_execution_has_no_results_and_none_can_be_written(store: Store) -> None:
    for unknown in ("nobody", "", "a\0b", "\ud800"):
        assert await store.get_node_results(unknown) == {}
        assert await store.list_node_attempts(unknown, "a") == []
        assert await store.get_pending_node_count(unknown) == 0
        assert await store.get_pending_node_count(unknown, 5) == 0
    for write in (store.update_node_result, store.complete_node, store.cache_node_result):
        with pytest.raises(UnknownExecutionError):
            await write("nobody", "a", OK)


async def test_what_makes_no_sense_is_refused_and_writes_nothing(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    results: list[Any] = [
        *({}, {"data": 1}, {"success": 1}, {"success": True, "sucess": True}, True, None, "ok", [True]),
        *({"success": True, "nextNodes": bad} for bad in ("b", 5, [5], [""])),
        *({"success": True, "data": bad} for bad in (float("nan"), b"bytes", object(), {1})),
    ]
    for write in (store.update_node_result, store.complete_node, store.cache_node_result):
        for result in results:
            with pytest.raises(InvalidValueError):
                await write("e", "a", result)
        for node in ("", "x" * 257, "a\0", "\ud800", None, 5):
            with pytest.raises(InvalidValueError):
                await write("e", node, OK)  # type: ignore[arg-type]  # wrong on purpose
        for arguments in (
            *({"attempt": bad} for bad in (0, -1, True, "1", 2**31, 1.0)),
            *({"iteration": bad} for bad in (-1, True, "0", 2**31)),
        ):
            with pytest.raises(InvalidValueError):
                await write("e", "a", OK, **arguments)  # type: ignore[arg-type]  # wrong on purpose
    for times in (*({"started_ns": bad} for bad in (2**63, "1", 1.5)), {"ended_ns": -(2**63) - 1}):
        with pytest.raises(InvalidValueError):
            await store.update_node_result("e", "a", OK, **times)  # type: ignore[arg-type]  # wrong on purpose
    assert await store.get_node_results("e") == {}


async def test_an_error_that_no_column_holds_is_repaired_rather_than_lost(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", {"success": False, "error": "bad \0 and \ud800"})
    assert (await load_result(store, "e", "a")).error == "bad \ufffd and \ufffd"


async def test_writing_a_result_never_changes_the_executions_status(store: Store) -> None:
    await store.save_workflow(chain("a", "b"))
    await store.create_execution("order", execution_id="e")
    for node in ("a", "b"):
        await store.update_node_result("e", node, FAILED)
        await store.update_node_result("e", node, OK, attempt=2)
        await store.cache_node_result("e", node, OK, attempt=3)
    execution = await load_execution(store, "e")
    assert (execution.status, execution.ended_ns) == ("running", None)


async def test_a_cached_result_is_written_like_any_other(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.cache_node_result("e", "a", {"success": True, "data": 0}, attempt=2, iteration=1)
    result = await load_result(store, "e", "a")
    assert (result.data, result.attempt, result.iteration, result.is_final) == (0, 2, 1, True)
    await store.update_node_result("e", "a", {"success": False, "data": 1}, attempt=2, iteration=1)
    assert (await load_result(store, "e", "a")).data == 1, "a cache never hides what was written later"


async def test_pending_are_the_pinned_versions_nodes_without_a_final_result(store: Store) -> None:
    await store.save_workflow(chain("a", "b", "c"))
    await store.create_execution("order", execution_id="e")
    await store.save_workflow(chain("a"))
    assert await store.get_pending_node_count("e") == 3
    await store.update_node_result("e", "a", FAILED)
    await store.update_node_result("e", "elsewhere", OK)
    assert await store.get_pending_node_count("e") == 3
    await store.update_node_result("e", "a", OK, attempt=2)
    assert await store.get_pending_node_count("e") == 2
    await store.complete_node("e", "b", FAILED)
    await store.complete_node("e", "b", OK, iteration=1)
    assert await store.get_pending_node_count("e") == 1
    assert await store.get_pending_node_count("e", 10) == 1, "the pinned version knows better"
    await store.complete_node("e", "c", OK)
    assert await store.get_pending_node_count("e") == 0


async def test_without_a_pinned_version_the_caller_says_how_many_nodes_there_are(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", FAILED)
    await store.complete_node("e", "b", OK)
    await store.complete_node("e", "b", OK, iteration=1)
    assert await store.get_pending_node_count("e") == 0
    assert await store.get_pending_node_count("e", 3) == 2
    assert await store.get_pending_node_count("e", 0) == 0


async def test_what_a_reader_or_a_writer_holds_is_its_own(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    data, given = {"list": [1]}, {"list": [1]}
    await store.update_node_result("e", "a", {"success": True, "data": data}, input=given)
    data["list"].append(2)
    given["list"].append(2)
    for _ in range(2):
        result = await load_result(store, "e", "a")
        assert (result.data, result.input) == ({"list": [1]}, {"list": [1]})
        result.data["list"].append(3)
        result.input["list"].append(3)
        (attempt,) = await store.list_node_attempts("e", "a")
        assert attempt.data == {"list": [1]}
        attempt.data["list"].append(3)


async def test_many_who_write_at_once_lose_nothing(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(
        *(
            store.update_node_result("e", f"n{node}", {"success": True, "data": attempt}, attempt=attempt)
            for node in range(8)
            for attempt in range(1, 5)
        )
    )
    results = await store.get_node_results("e")
    assert {node: result.data for node, result in results.items()} == {f"n{node}": 4 for node in range(8)}
    for node in range(8):
        assert [each.data for each in await store.list_node_attempts("e", f"n{node}")] == [1, 2, 3, 4]


async def test_many_writers_of_one_attempt_leave_one_of_their_results_whole(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(
        *(
            store.update_node_result("e", "a", {"success": True, "data": number}, input=number, worker=f"w{number}")
            for number in range(16)
        )
    )
    (result,) = await store.list_node_attempts("e", "a")
    assert result.data == result.input
    assert result.worker == f"w{result.data}"


async def test_writers_of_many_executions_that_cross_all_succeed(store: Store) -> None:
    """Concurrent callers may share a transaction; none waits for another's rows in a circle."""
    ids = [f"e{number}" for number in range(6)]
    for execution_id in ids:
        await store.create_execution("order", execution_id=execution_id)
    await asyncio.gather(
        *(
            store.update_node_result(execution_id, f"n{turn}", {"success": True, "data": turn})
            for turn in range(6)
            for execution_id in (ids if turn % 2 else ids[::-1])
        )
    )
    for execution_id in ids:
        results = await store.get_node_results(execution_id)
        assert {node: result.data for node, result in results.items()} == {f"n{turn}": turn for turn in range(6)}


async def test_one_who_may_not_write_costs_those_beside_it_nothing(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    outcomes = await asyncio.gather(
        *(store.update_node_result("e" if number % 3 else "nobody", f"n{number}", OK) for number in range(12)),
        return_exceptions=True,
    )
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, UnknownExecutionError) if number % 3 == 0 else outcome is None
    assert len(await store.get_node_results("e")) == 8


async def test_a_cancelled_writer_cancels_nobody_else(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    tasks = [asyncio.ensure_future(store.update_node_result("e", f"n{number}", OK)) for number in range(8)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    others = [outcome for number, outcome in enumerate(outcomes) if number != 3]
    assert others == [None] * 7
    results = await store.get_node_results("e")
    assert set(results) >= {f"n{number}" for number in range(8) if number != 3}


async def test_of_an_execution_made_from_spans_they_are_read_from_its_node_spans(store: Store) -> None:
    attributes = '{"spane.node.attempt":2,"spane.node.iteration":1,"spane.input":"[1]","spane.output":"{\\"n\\":0}"}'
    await store.write(
        batch(
            root("e", trace="t", end=None),
            span("a1", parent="root of e", execution="e", node="a", start=1, end=2, status=2, status_message="no"),
            span("a2", parent="root of e", execution="e", node="a", start=3, end=4, attributes=attributes),
            span("b", parent="root of e", execution="e", node="b", start=5, end=None),
        )
    )
    results = await store.get_node_results("e")
    result = results["a"]
    assert (result.execution_id, result.node_id, result.iteration, result.attempt) == ("e", "a", 1, 2)
    assert (result.success, result.state, result.data, result.has_data) == (True, "completed", {"n": 0}, True)
    assert (result.input, result.has_input) == ([1], True)
    assert (result.started_ns, result.ended_ns) == (ns(3), ns(4))
    assert "b" not in results, "what has not ended has no result"
    first, second = await store.list_node_attempts("e", "a")
    assert (first.state, first.error, first.success, first.has_data) == ("failed", "no", False, False)
    assert second == result
    assert set(await store.get_node_results("e", ["b", "nobody"])) == set()


async def test_spans_never_write_the_results_of_an_execution_that_a_caller_made(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", {"success": True, "data": "kept"})
    await store.write(
        batch(root("e"), span("a", trace="e", parent="root of e", execution="e", node="a", status=2, end=1))
    )
    result = await load_result(store, "e", "a")
    assert (result.data, result.success) == ("kept", True)


async def test_unset_data_is_none_at_all(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", ExecutionResult(True, data=UNSET), input=UNSET)
    await store.update_node_result("e", "b", ExecutionResult(True, data=None), input=None)
    absent, null = await load_result(store, "e", "a"), await load_result(store, "e", "b")
    assert (absent.has_data, absent.has_input) == (False, False)
    assert (null.has_data, null.has_input, null.data, null.input) == (True, True, None, None)
