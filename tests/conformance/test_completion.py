"""Completion: decided in the transaction that writes the last result, once, against the pinned version."""

import asyncio
from typing import Any

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import UnknownExecutionError
from spane_otel.state import ExecutionResult
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution, load_result
from tests.conformance.subjects import Subject

OK = {"success": True}
FAILED = {"success": False, "error": "no stock"}


async def start(store: Store, *nodes: str, execution: str = "e", **options: Any) -> str:
    """Save a workflow of these nodes and create an execution of it."""
    await store.save_workflow(chain(*nodes, **options))
    return await store.create_execution("order", execution_id=execution)


async def status_changes(store: Store, execution_id: str) -> list[tuple[str | None, str | None]]:
    return [
        (each.old_value, each.new_value) for each in await store.list_audit(execution_id) if each.change == "status"
    ]


async def test_the_last_node_completes_the_execution(subject: Subject) -> None:
    store = subject.store
    await start(store, "a", "b", "c")
    before_ns = subject.now_ns()
    assert await store.complete_node("e", "a", OK) == "running"
    assert await store.complete_node("e", "c", OK) == "running"
    execution = await load_execution(store, "e")
    assert (execution.status, execution.ended_ns) == ("running", None)
    assert await store.complete_node("e", "b", {"success": True, "data": 5}) == "completed"
    execution = await load_execution(store, "e")
    assert (execution.status, execution.error, execution.result) == ("completed", None, None)
    assert execution.ended_ns is not None
    assert before_ns - SECOND <= execution.ended_ns <= subject.now_ns() + SECOND
    assert (await load_result(store, "e", "b")).data == 5


async def test_the_result_of_the_last_writer_becomes_the_executions(store: Store) -> None:
    await start(store, "a", "b")
    await store.complete_node("e", "a", OK, execution_result={"by": "a"})
    assert (await load_execution(store, "e")).result is None, "it did not complete the execution"
    await store.complete_node("e", "b", OK, execution_result={"by": "b"})
    assert (await load_execution(store, "e")).result == {"by": "b"}


async def test_the_nodes_of_the_pinned_version_are_counted_whatever_is_saved_meanwhile(store: Store) -> None:
    await start(store, "a", "b", execution="old")
    await store.complete_node("old", "a", OK)
    await start(store, "a", execution="short")
    await start(store, "a", "b", "c", execution="long")
    assert await store.complete_node("short", "a", OK) == "completed"
    assert await store.complete_node("old", "c", OK) == "running", "its version has no such node"
    assert await store.complete_node("old", "b", OK) == "completed"
    for node, status in (("a", "running"), ("b", "running"), ("c", "completed")):
        assert await store.complete_node("long", node, OK) == status


async def test_results_of_nodes_that_the_version_does_not_have_are_kept_and_do_not_count(store: Store) -> None:
    await start(store, "a", "b")
    for node in ("x", "y", "__aggregator__"):
        assert await store.complete_node("e", node, FAILED) == "running"
    assert await store.complete_node("e", "a", OK) == "running"
    assert await store.complete_node("e", "b", OK) == "completed"
    assert set(await store.get_node_results("e")) == {"a", "b", "x", "y", "__aggregator__"}


async def test_without_a_pinned_version_nothing_completes_by_itself(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.save_workflow(chain("a"))
    for node in ("a", "b"):
        assert await store.complete_node("e", node, OK) == "running"
    assert (await load_execution(store, "e")).status == "running"


async def test_a_node_that_failed_for_good_fails_the_execution_once_all_have_ended(store: Store) -> None:
    await start(store, "a", "b", "c")
    assert await store.complete_node("e", "b", FAILED) == "running"
    assert await store.complete_node("e", "a", OK) == "running"
    assert await store.complete_node("e", "c", OK, execution_result="none") == "failed"
    execution = await load_execution(store, "e")
    assert (execution.status, execution.error, execution.result) == ("failed", "no stock", None)
    assert execution.ended_ns is not None


async def test_a_node_that_may_fail_does_not_fail_the_execution(store: Store) -> None:
    await start(store, "a", "b", tolerant=["b"])
    await store.complete_node("e", "b", FAILED)
    assert await store.complete_node("e", "a", OK) == "completed"
    assert (await load_execution(store, "e")).error is None


async def test_whether_a_node_may_fail_is_told_by_the_pinned_version(store: Store) -> None:
    await start(store, "a", tolerant=["a"], execution="tolerant")
    await start(store, "a", execution="strict")
    await start(store, "a", tolerant=["a"], execution="again")
    for execution_id, status in (("tolerant", "completed"), ("strict", "failed"), ("again", "completed")):
        assert await store.complete_node(execution_id, "a", FAILED) == status


async def test_continue_on_fail_stands_in_the_retry_policy_too(store: Store) -> None:
    node = {"id": "a", "type": "http", "config": {"retryPolicy": {"maxAttempts": 2, "continueOnFail": True}}}
    await store.save_workflow({"id": "order", "nodes": [node]})
    await store.create_execution("order", execution_id="e")
    assert await store.complete_node("e", "a", FAILED) == "completed"


async def test_the_latest_final_result_of_a_node_decides(store: Store) -> None:
    await start(store, "a", "b", execution="mended")
    await store.complete_node("mended", "a", FAILED)
    await store.complete_node("mended", "a", OK, attempt=2)
    assert await store.complete_node("mended", "b", OK) == "completed"
    await start(store, "a", "b", execution="broken")
    await store.complete_node("broken", "a", OK)
    await store.complete_node("broken", "a", FAILED, iteration=1)
    assert await store.complete_node("broken", "b", OK) == "failed"


async def test_a_late_result_of_an_earlier_turn_decides_nothing(store: Store) -> None:
    await start(store, "a", "b")
    await store.complete_node("e", "a", OK, iteration=1)
    await store.complete_node("e", "a", FAILED, iteration=0)
    assert await store.complete_node("e", "b", OK) == "completed"


async def test_a_final_result_that_another_replaces_counts_once(store: Store) -> None:
    await start(store, "a", "b")
    for _ in range(3):
        assert await store.complete_node("e", "a", FAILED) == "running"
    assert await store.complete_node("e", "a", {"success": True, "data": 1}) == "running"
    assert await store.complete_node("e", "b", OK) == "completed"


async def test_a_final_result_replaced_by_a_failure_that_is_not_is_pending_again(store: Store) -> None:
    await start(store, "a", "b")
    await store.complete_node("e", "a", OK)
    await store.update_node_result("e", "a", FAILED)
    assert await store.get_pending_node_count("e") == 2
    assert await store.complete_node("e", "b", OK) == "running"
    assert await store.complete_node("e", "a", OK, attempt=2) == "completed"


async def test_a_failed_attempt_is_no_end_of_its_node(store: Store) -> None:
    await start(store, "a", "b")
    await store.complete_node("e", "b", OK)
    for attempt in (1, 2):
        await store.update_node_result("e", "a", FAILED, attempt=attempt)
        assert await store.complete_node("e", "b", OK) == "running"
    assert await store.complete_node("e", "a", OK, attempt=3) == "completed"


async def test_successes_and_skips_that_were_only_written_count_at_the_next_completion(store: Store) -> None:
    await start(store, "a", "b", "c")
    await store.update_node_result("e", "a", OK)
    await store.cache_node_result("e", "b", ExecutionResult(False, skipped=True))
    assert (await load_execution(store, "e")).status == "running"
    assert await store.complete_node("e", "c", OK) == "completed"


async def test_when_all_results_are_written_already_repeating_one_completes(store: Store) -> None:
    await start(store, "a", "b")
    for node in ("a", "b"):
        await store.update_node_result("e", node, OK)
    assert await store.complete_node("e", "b", OK) == "completed"


async def test_a_skipped_node_has_ended_well(store: Store) -> None:
    await start(store, "a", "b")
    await store.complete_node("e", "a", OK)
    assert await store.complete_node("e", "b", {"success": False, "skipped": True}) == "completed"


async def test_a_paused_execution_completes(store: Store) -> None:
    await start(store, "a")
    await store.set_execution_status("e", "paused")
    assert await store.complete_node("e", "a", OK) == "completed"
    assert await status_changes(store, "e") == [("running", "paused"), ("paused", "completed")]


async def test_an_ended_execution_keeps_its_end_and_takes_the_result(store: Store) -> None:
    for status in ("failed", "cancelled", "completed"):
        await start(store, "a", execution=status)
        await store.set_execution_status(status, status, error="before")
        held = await load_execution(store, status)
        assert await store.complete_node(status, "a", OK, execution_result="late") == status
        assert await load_execution(store, status) == held
        assert (await load_result(store, status, "a")).success


async def test_completing_a_node_again_changes_nothing(store: Store) -> None:
    await start(store, "a")
    for _ in range(2):
        assert await store.complete_node("e", "a", OK, execution_result=1) == "completed"
    held = await load_execution(store, "e")
    assert await store.complete_node("e", "a", OK, execution_result=1) == "completed"
    assert await load_execution(store, "e") == held
    assert await status_changes(store, "e") == [("running", "completed")]


async def test_an_unknown_execution_is_not_completed(store: Store) -> None:
    with pytest.raises(UnknownExecutionError):
        await store.complete_node("nobody", "a", OK)


async def test_the_last_two_nodes_at_once_complete_exactly_once(store: Store) -> None:
    """Each of two who write at the same time could see the other's result missing, and nobody would complete."""
    await store.save_workflow(chain("a", "b"))
    for turn in range(20):
        execution_id = await store.create_execution("order", execution_id=f"e{turn}")
        answers = await asyncio.gather(*(store.complete_node(execution_id, node, OK) for node in ("a", "b")))
        assert "completed" in answers
        assert (await load_execution(store, execution_id)).status == "completed"
        assert await status_changes(store, execution_id) == [("running", "completed")]


async def test_many_nodes_at_once_complete_exactly_once_also_through_many_stores(subject: Subject) -> None:
    nodes = [f"n{number}" for number in range(24)]
    await subject.store.save_workflow(chain(*nodes))
    async with subject.open_others(3) as others:
        stores = [subject.store, *others]
        for turn in range(3):
            execution_id = await subject.store.create_execution("order", execution_id=f"e{turn}")
            answers = await asyncio.gather(
                *(
                    stores[place % len(stores)].complete_node(execution_id, node, OK, execution_result=node)
                    for place, node in enumerate(nodes)
                )
            )
            assert "completed" in answers
            execution = await load_execution(subject.store, execution_id)
            assert (execution.status, execution.result in nodes) == ("completed", True)
            assert await status_changes(subject.store, execution_id) == [("running", "completed")]
            assert len(await subject.store.get_node_results(execution_id)) == len(nodes)


async def test_completion_and_cancellation_at_once_leave_one_of_them(store: Store) -> None:
    await store.save_workflow(chain("a"))
    for turn in range(10):
        execution_id = await store.create_execution("order", execution_id=f"e{turn}")
        status, outcome = await asyncio.gather(
            store.complete_node(execution_id, "a", OK),
            store.set_execution_status(execution_id, "cancelled"),
            return_exceptions=True,
        )
        held = (await load_execution(store, execution_id)).status
        assert held in ("completed", "cancelled")
        assert await status_changes(store, execution_id) == [("running", held)]
        assert status in ("completed", "cancelled")
        assert (outcome is True) == (held == "cancelled")
