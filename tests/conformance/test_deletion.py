"""Deleting an execution takes all that is its own, and nothing of others."""

import asyncio

import pytest

from spane_otel.errors import UnknownExecutionError
from spane_otel.state import Lease, NewDeadLetter
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.subjects import Subject
from tests.rows import batch, log, root, span, trace_id


@pytest.mark.first_answers
async def test_deleting_answers_whether_it_was_there(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    assert await store.delete_execution("e") is True
    assert await store.delete_execution("e") is False
    assert await store.get_execution("e") is None


async def test_its_traces_and_logs_go_with_it_and_others_stay(store: Store) -> None:
    await store.write(
        batch(
            root("e", trace="t"),
            span("child", trace="t", parent="root of e"),
            span("n", trace="u", execution="e", node="n"),
            log("in its trace", trace="t"),
            log("without a trace", execution="e"),
            root("other", trace="x"),
            log("another's", trace="x"),
            log("another's without a trace", execution="other"),
            log("nobody's"),
        )
    )
    await store.delete_execution("e")
    assert await store.get_trace_by_id(trace_id("t").hex()) is None
    assert await store.get_trace_by_id(trace_id("u").hex()) is None
    assert await store.get_trace("e") is None
    assert await store.get_logs("e") == []
    assert sorted(each.message for each in await store.list_logs()) == [
        "another's",
        "another's without a trace",
        "nobody's",
    ]
    assert [each.name for each in await store.list_traces()] == ["root of other"]
    stats = await store.stats()
    assert (stats.executions, stats.spans, stats.logs) == (1, 1, 3)


async def test_of_a_shared_trace_what_is_stamped_with_it_goes(store: Store) -> None:
    await store.write(
        batch(
            span("request"),
            root("outer", trace="t", name="outer", parent="request", start=1),
            root("inner", trace="t", name="inner", parent="outer", start=2),
            span("inner step", parent="inner", start=3),
            log("outer's", trace="t", execution="outer"),
            log("inner's", trace="t", execution="inner"),
            inherited=True,
        )
    )
    await store.delete_execution("inner")
    trace = await store.get_trace_by_id(trace_id("t").hex())
    assert trace is not None
    assert [each.name for each in trace.spans] == ["request", "outer"]
    assert [each.message for each in await store.get_logs("outer")] == ["outer's"]
    counts = await store.count_telemetry(["outer"])
    assert counts["outer"].spans == 2
    await store.delete_execution("outer")
    assert await store.get_trace_by_id(trace_id("t").hex()) is None


async def test_a_deleted_execution_can_be_made_again(store: Store) -> None:
    await store.create_execution("order", execution_id="e", initial_data=1)
    await store.set_execution_status("e", "failed", error="no")
    await store.delete_execution("e")
    await store.create_execution("other", execution_id="e", initial_data=2)
    again = await store.get_execution("e")
    assert again is not None
    assert (again.workflow_id, again.initial_data, again.status, again.error) == ("other", 2, "running", None)
    await store.delete_execution("e")
    await store.write(batch(root("e", trace="t")))
    derived = await store.get_execution("e")
    assert derived is not None
    assert (derived.workflow_id, derived.origin, derived.trace_ids) == ("order", "spans", (trace_id("t").hex(),))
    trace = await store.get_trace("e")
    assert trace is not None
    assert len(trace.spans) == 1


async def test_nothing_of_a_deleted_execution_is_left_anywhere(subject: Subject) -> None:
    """Searched in all that is kept: every table, every member of the memory, every key of the cache."""
    store = subject.store
    mark, large = "zebra-7f3a", "x" * 100_000
    execution_id = f"{mark}-execution"
    await store.save_workflow(chain("a", "b", "c"))
    for other in ("parent", "other"):
        await store.create_execution("order", execution_id=other, initial_data=large)
        await store.add_span(other, name="kept", id="s")
        await store.complete_node(other, "a", {"success": False, "data": large}, dead_letter=NewDeadLetter())
    lease = Lease(f"{mark}-holder", 60)
    data = {"text": f"{mark} {large}"}
    await store.create_execution(
        "order", "parent", execution_id=execution_id, initial_data=data, metadata={mark: data}, lease=lease
    )
    await store.set_execution_timeout(execution_id, 2**62)
    await store.update_execution_metadata(execution_id, {"more": mark})
    for node, success in (("a", True), ("b", False)):
        await store.complete_node(
            *(execution_id, node, {"success": success, "data": data, "error": mark}),
            input=mark,
            worker=f"{mark}-worker",
            dead_letter=NewDeadLetter(job_id=mark, job_data=data),
        )
    await store.cache_node_result(execution_id, "c", {"success": True, "data": mark})
    await store.add_span(execution_id, name=f"{mark} span", id=f"{mark}-s", metadata={"k": mark})
    await store.add_log(execution_id, f"{mark} log", id=f"{mark}-l", metadata={"k": mark})
    await store.write(batch(root(execution_id, trace=mark), log(mark, execution=execution_id)))
    await store.set_execution_status(execution_id, "completed", result=data, operation=f"{mark}-o")
    for _ in range(2):  # so that what a cache keeps of it is there
        await store.get_execution(execution_id)
        await store.get_node_results(execution_id)
        await store.get_node_results(execution_id, ["a", "c"])
    assert await subject.find(mark) != []
    await store.delete_execution(execution_id)
    assert await subject.find(mark) == []
    assert await store.get_child_executions("parent") == []
    assert await store.get_execution_count() == 2
    for other in ("parent", "other"):
        execution = await store.get_execution(other)
        assert execution is not None
        assert execution.initial_data == large
        assert (await store.get_node_results(other))["a"].data == large
        assert len(await store.list_dead_letters(execution_id=other)) == 1


async def test_the_children_of_a_deleted_execution_stay(store: Store) -> None:
    await store.create_execution("order", execution_id="top")
    await store.create_execution("pay", "top", execution_id="child")
    await store.delete_execution("top")
    child = await store.get_execution("child")
    assert child is not None
    assert (child.parent_execution_id, child.root_execution_id, child.depth) == ("top", "top", 1)
    assert [each.execution_id for each in await store.get_child_executions("top")] == ["child"]


async def test_counts_follow_what_is_deleted(store: Store) -> None:
    for number in range(6):
        await store.create_execution(("order", "pay")[number % 2], execution_id=f"e{number}")
    await store.write(batch(root("of spans", workflow="pay"), span("x", trace="v", execution="no workflow yet")))
    assert await store.get_execution_count() == 8
    for execution_id in ("e0", "e1", "of spans", "e1", "nobody"):
        await store.delete_execution(execution_id)
    counts = [await store.get_execution_count(each) for each in (None, "order", "pay", "nobody")]
    assert counts == [5, 2, 2, 0]


async def test_writers_who_meet_a_deletion_are_told_or_leave_nothing(subject: Subject) -> None:
    store = subject.store
    for turn in range(6):
        execution_id = await store.create_execution("order", execution_id=f"e{turn}")
        outcomes = await asyncio.gather(
            *(store.update_node_result(execution_id, f"n{number}", {"success": True}) for number in range(4)),
            store.update_execution_metadata(execution_id, {"a": 1}),
            store.delete_execution(execution_id),
            *(store.complete_node(execution_id, f"m{number}", {"success": True}) for number in range(4)),
            store.set_execution_status(execution_id, "paused"),
            return_exceptions=True,
        )
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        assert all(isinstance(each, UnknownExecutionError) for each in errors), errors
        assert await store.get_execution(execution_id) is None
        assert await store.get_node_results(execution_id) == {}
    assert await store.get_execution_count() == 0


async def test_an_execution_that_was_deleted_and_made_again_is_new(store: Store) -> None:
    await store.save_workflow(chain("a"))
    for turn in range(3):
        await store.create_execution("order", execution_id="e", initial_data=turn)
        assert await store.get_node_results("e") == {}
        assert await store.get_pending_node_count("e") == 1
        assert await store.complete_node("e", "a", {"success": True, "data": turn}) == "completed"
        assert (await store.get_node_results("e"))["a"].data == turn
        assert (await store.get_node_results("e", ["a"]))["a"].data == turn
        entries = await store.list_audit("e")
        assert [each.seq for each in entries] == [1, 2, 3]
        execution = await store.get_execution("e")
        assert execution is not None
        assert execution.initial_data == turn
        await store.delete_execution("e")
        assert await store.get_execution("e") is None
        assert await store.get_node_results("e", ["a"]) == {}
