"""Which status follows which: one table, compared and set, the same in every store."""

import asyncio
from itertools import product
from typing import Any, get_args

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidTransitionError, InvalidValueError, UnknownExecutionError
from spane_otel.records import ExecutionStatus
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution
from tests.conformance.subjects import Subject
from tests.rows import batch, root

STATUSES: tuple[ExecutionStatus, ...] = get_args(ExecutionStatus)
FINALS: tuple[ExecutionStatus, ...] = ("completed", "failed", "cancelled")


async def create(store: Store, execution_id: str, status: ExecutionStatus = "running") -> None:
    """Create an execution and bring it to `status`."""
    await store.create_execution("order", execution_id=execution_id)
    await store.set_execution_status(execution_id, status)
    assert (await load_execution(store, execution_id)).status == status


async def test_a_paused_execution_can_be_resumed_and_ended_in_every_way(store: Store) -> None:
    """Not only a running one changes, and who is told that it changed is told the truth."""
    for status in ("running", *FINALS):
        await create(store, status, "paused")
        await store.set_execution_status(status, status)
        assert (await load_execution(store, status)).status == status


async def test_a_resumed_execution_can_be_paused_again_and_completed(store: Store) -> None:
    await create(store, "e")
    for status in ("paused", "running", "paused", "running", "completed"):
        await store.set_execution_status("e", status)
        assert (await load_execution(store, "e")).status == status


async def test_an_ended_execution_never_changes_again_and_the_error_names_both_statuses(store: Store) -> None:
    for before, after in product(FINALS, STATUSES):
        if before == after:
            continue
        execution_id = f"{before} to {after}"
        await create(store, execution_id, before)
        held = await load_execution(store, execution_id)
        with pytest.raises(InvalidTransitionError) as refused:
            await store.set_execution_status(execution_id, after, error="too late", result=1)
        assert (refused.value.current, refused.value.wanted) == (before, after)
        assert refused.value.execution_id == execution_id
        assert before in str(refused.value)
        assert after in str(refused.value)
        assert await load_execution(store, execution_id) == held


async def test_the_status_it_has_already_changes_nothing(subject: Subject) -> None:
    store = subject.store
    for status in STATUSES:
        await create(store, status, status)
        held = await load_execution(store, status)
        await subject.wait(0.002)
        await store.set_execution_status(status, status, error="again", result={"again": True})
        assert await load_execution(store, status) == held


@pytest.mark.first_answers
async def test_the_answer_says_whether_it_changed(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    assert await store.set_execution_status("e", "running") is False
    for status in ("paused", "running", "cancelled"):
        assert await store.set_execution_status("e", status) is True
        assert await store.set_execution_status("e", status) is False


async def test_of_many_who_end_an_execution_at_once_one_does(store: Store) -> None:
    for turn in range(5):
        execution_id = f"e{turn}"
        await store.create_execution("order", execution_id=execution_id)
        answers = await asyncio.gather(
            *(store.set_execution_status(execution_id, status) for status in FINALS * 4), return_exceptions=True
        )
        status = (await load_execution(store, execution_id)).status
        for wanted, answer in zip(FINALS * 4, answers, strict=True):
            if wanted == status:
                assert isinstance(answer, bool)
            else:
                assert isinstance(answer, InvalidTransitionError), (wanted, answer)
                assert answer.current == status
        assert answers.count(True) == 1
        changes = [each for each in await store.list_audit(execution_id) if each.change == "status"]
        assert [(each.old_value, each.new_value) for each in changes] == [("running", status)]


async def test_a_repeated_operation_answers_as_it_did_first_and_changes_nothing(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    for _ in range(3):
        assert await store.set_execution_status("e", "paused", operation="pause") is True
    assert await store.set_execution_status("e", "running", operation="resume") is True
    assert await store.set_execution_status("e", "paused", operation="pause") is True
    assert (await load_execution(store, "e")).status == "running"
    assert await store.set_execution_status("e", "failed", error="no", operation="fail") is True
    for operation, status in (("pause", "paused"), ("resume", "running"), ("fail", "failed")):
        assert await store.set_execution_status("e", status, operation=operation) is True  # type: ignore[arg-type]
    held = await load_execution(store, "e")
    assert (held.status, held.error) == ("failed", "no")
    assert [each.new_value for each in await store.list_audit("e") if each.change == "status"] == [
        *("paused", "running", "failed")
    ]


async def test_the_same_key_on_another_execution_is_another_operation(store: Store) -> None:
    for execution_id in ("a", "b"):
        await store.create_execution("order", execution_id=execution_id)
        assert await store.set_execution_status(execution_id, "paused", operation="pause") is True
        assert (await load_execution(store, execution_id)).status == "paused"


async def test_an_operation_that_was_refused_is_refused_again(store: Store) -> None:
    await create(store, "e", "completed")
    for _ in range(2):
        with pytest.raises(InvalidTransitionError):
            await store.set_execution_status("e", "failed", operation="fail")


async def test_a_final_status_ends_it_at_the_stores_present_and_no_other_does(subject: Subject) -> None:
    store = subject.store
    for status in FINALS:
        await create(store, status, "paused")
        assert (await load_execution(store, status)).ended_ns is None
        await store.set_execution_status(status, "running")
        assert (await load_execution(store, status)).ended_ns is None
        before_ns = subject.now_ns()
        await store.set_execution_status(status, status)
        ended_ns = (await load_execution(store, status)).ended_ns
        assert ended_ns is not None
        assert before_ns - SECOND <= ended_ns <= subject.now_ns() + SECOND


async def test_the_result_becomes_the_executions_whatever_its_status(store: Store) -> None:
    for status in ("paused", *FINALS):
        await store.create_execution("order", execution_id=status)
        await store.set_execution_status(status, status, result={"of": status})
        assert (await load_execution(store, status)).result == {"of": status}


async def test_without_a_result_the_one_held_stays(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.set_execution_status("e", "paused", result=[1])
    await store.set_execution_status("e", "completed")
    assert (await load_execution(store, "e")).result == [1]


async def test_whoever_misspells_a_status_is_told(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    misspelt: list[Any] = ["complete", "", "RUNNING", None, 5, "abandoned", "\0"]
    for status in misspelt:
        with pytest.raises(InvalidValueError):
            await store.set_execution_status("e", status)
    assert (await load_execution(store, "e")).status == "running"


async def test_an_unknown_execution_has_no_status_to_change(store: Store) -> None:
    for unknown in ("nobody", "x" * 257):
        for status in STATUSES:
            with pytest.raises((UnknownExecutionError, InvalidValueError)):
                await store.set_execution_status(unknown, status)
    with pytest.raises(UnknownExecutionError):
        await store.set_execution_status("nobody", "completed")
    assert await store.get_execution_count() == 0


async def test_a_payload_that_is_not_json_changes_no_status(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    for result in (float("nan"), b"", object()):
        with pytest.raises(InvalidValueError):
            await store.set_execution_status("e", "completed", result=result)
    assert (await load_execution(store, "e")).status == "running"


async def test_an_execution_of_spans_whose_status_a_caller_sets_is_the_callers(store: Store) -> None:
    await store.write(batch(root("e", end=None)))
    await store.set_execution_status("e", "paused")
    execution = await load_execution(store, "e")
    assert (execution.origin, execution.status) == ("api", "paused")
    await store.write(batch(root("e", end=9)))
    execution = await load_execution(store, "e")
    assert (execution.origin, execution.status, execution.ended_ns) == ("api", "paused", None)


async def test_logs_spans_metadata_and_results_are_taken_in_every_status(store: Store) -> None:
    await store.save_workflow(chain("a", "b"))
    for status in STATUSES:
        await create(store, status, status)
        held = await load_execution(store, status)
        await store.add_log(status, "late", id="l")
        await store.add_span(status, name="late", id="s")
        await store.update_span(status, "s", status="completed")
        await store.update_execution_metadata(status, {"late": True})
        await store.update_node_result(status, "a", {"success": True, "data": 1})
        assert await store.complete_node(status, "x", {"success": True}) == status
        now = await load_execution(store, status)
        assert (now.status, now.ended_ns, now.error) == (held.status, held.ended_ns, held.error)
        assert now.metadata == {"late": True}
        assert [each.message for each in await store.get_logs(status)] == ["late"]
        trace = await store.get_trace(status)
        assert trace is not None
        assert [each.state for each in trace.spans] == ["completed"]
        assert set(await store.get_node_results(status)) == {"a", "x"}
