"""Time-outs, and what runs long or stands still."""

import asyncio

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidValueError, UnknownExecutionError
from spane_otel.records import ExecutionStatus
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution
from tests.conformance.subjects import Subject
from tests.rows import batch, root


async def test_an_execution_whose_time_is_up_fails_with_the_error_timeout(subject: Subject) -> None:
    store = subject.store
    for execution_id in ("running", "paused", "not yet", "never", "taken back"):
        await store.create_execution("order", execution_id=execution_id)
        await store.set_execution_timeout(execution_id, subject.now_ns() - SECOND)
    await store.set_execution_status("paused", "paused")
    await store.set_execution_timeout("not yet", subject.now_ns() + 60 * SECOND)
    for execution_id in ("never", "taken back"):
        await store.set_execution_timeout(execution_id, None)
    before_ns = subject.now_ns()
    swept = await store.sweep_timeouts()
    if not subject.without_first_answers:
        assert sorted(swept) == ["paused", "running"]
    for execution_id in ("running", "paused"):
        execution = await load_execution(store, execution_id)
        assert (execution.status, execution.error) == ("failed", "timeout")
        assert execution.ended_ns is not None
        assert before_ns - SECOND <= execution.ended_ns <= subject.now_ns() + SECOND
    for execution_id in ("not yet", "never", "taken back"):
        assert (await load_execution(store, execution_id)).status == "running"
    assert await store.sweep_timeouts() == []


async def test_a_time_out_is_read_back(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    assert (await load_execution(store, "e")).timeout_ns is None
    for at_ns in (5, 0, 2**62, -1):
        await store.set_execution_timeout("e", at_ns)
        assert (await load_execution(store, "e")).timeout_ns == at_ns
    await store.set_execution_timeout("e", None)
    assert (await load_execution(store, "e")).timeout_ns is None


async def test_time_zero_is_a_time_and_not_never(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.set_execution_timeout("e", 0)
    await store.sweep_timeouts()
    assert (await load_execution(store, "e")).status == "failed"


async def test_what_has_ended_is_not_failed_afterwards(subject: Subject) -> None:
    store = subject.store
    finals: tuple[ExecutionStatus, ...] = ("completed", "failed", "cancelled")
    for status in finals:
        await store.create_execution("order", execution_id=status)
        await store.set_execution_timeout(status, subject.now_ns() - SECOND)
        await store.set_execution_status(status, status)
        held = await load_execution(store, status)
        assert await store.sweep_timeouts() == []
        assert await load_execution(store, status) == held


async def test_a_time_out_that_passes_while_waiting_strikes(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    await store.set_execution_timeout("e", subject.now_ns() + SECOND // 5)
    await store.sweep_timeouts()
    assert (await load_execution(store, "e")).status == "running"
    await subject.wait(0.25)
    await store.sweep_timeouts()
    assert (await load_execution(store, "e")).error == "timeout"


async def test_a_sweep_takes_at_most_what_it_may_and_the_next_goes_on(subject: Subject) -> None:
    store = subject.store
    for number in range(5):
        await store.create_execution("order", execution_id=f"e{number}")
        await store.set_execution_timeout(f"e{number}", subject.now_ns() - SECOND)
    swept: list[str] = []
    for _ in range(3):
        swept += await store.sweep_timeouts(limit=2)
    statuses = [(await load_execution(store, f"e{number}")).status for number in range(5)]
    assert statuses == ["failed"] * 5
    if not subject.without_first_answers:
        assert sorted(swept) == [f"e{number}" for number in range(5)]


async def test_many_who_sweep_at_once_fail_each_once(subject: Subject) -> None:
    store = subject.store
    ids = [f"e{number}" for number in range(12)]
    for execution_id in ids:
        await store.create_execution("order", execution_id=execution_id)
        await store.set_execution_timeout(execution_id, subject.now_ns() - SECOND)
    swept = await asyncio.gather(*(store.sweep_timeouts() for _ in range(6)))
    for execution_id in ids:
        entries = [each for each in await store.list_audit(execution_id) if each.change == "status"]
        assert [(each.old_value, each.new_value, each.detail) for each in entries] == [("running", "failed", "timeout")]
    if not subject.without_first_answers:
        assert sorted(execution_id for each in swept for execution_id in each) == sorted(ids)


async def test_an_unknown_execution_gets_no_time_out(store: Store) -> None:
    for at_ns in (5, None):
        with pytest.raises(UnknownExecutionError):
            await store.set_execution_timeout("nobody", at_ns)


async def test_a_time_that_is_none_is_refused(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    for at_ns in (2**63, -(2**63) - 1, "5", 1.5, True):
        with pytest.raises(InvalidValueError):
            await store.set_execution_timeout("e", at_ns)  # type: ignore[arg-type]  # wrong on purpose
    assert (await load_execution(store, "e")).timeout_ns is None


async def test_long_running_are_those_that_started_long_ago_and_have_not_ended(store: Store) -> None:
    await store.write(
        batch(
            root("old", start=-10, end=None),
            root("older", start=-20, end=None, workflow="pay"),
            root("paused", start=-15, end=None),
            root("ended", start=-30),
        )
    )
    await store.set_execution_status("paused", "paused")
    await store.create_execution("order", execution_id="new")

    async def ids(longer_than_ns: int, **filters: object) -> list[str]:
        return [
            each.execution_id
            for each in await store.list_long_running_executions(longer_than_ns, **filters)  # type: ignore[arg-type]
        ]

    assert await ids(600 * SECOND) == ["older", "paused", "old"]
    assert await ids(600 * SECOND, limit=2) == ["older", "paused"]
    assert await ids(600 * SECOND, workflow_id="order") == ["paused", "old"]
    assert await ids(600 * SECOND, workflow_id="nobody") == []
    assert await ids(7 * 86_400 * SECOND) == []
    assert await ids(0) == ["older", "paused", "old", "new"]


async def test_stuck_are_running_executions_whose_state_stood_still(subject: Subject) -> None:
    store = subject.store
    await store.save_workflow(chain("a", "b"))
    for execution_id in ("quiet", "result", "metadata", "paused", "ended", "status"):
        await store.create_execution("order", execution_id=execution_id)
    await store.set_execution_status("paused", "paused")
    await store.set_execution_status("ended", "completed")
    await subject.wait(0.5)
    await store.update_node_result("result", "a", {"success": False})
    await store.update_execution_metadata("metadata", {"a": 1})
    await store.set_execution_status("status", "paused")
    await store.set_execution_status("status", "running")
    await store.add_log("quiet", "a log is no change of state")
    stuck = await store.list_stuck_executions(SECOND * 2 // 5)
    assert [each.execution_id for each in stuck] == ["quiet"]
    assert await store.list_stuck_executions(60 * SECOND) == []
    assert await store.list_stuck_executions(SECOND * 2 // 5, workflow_id="pay") == []


async def test_the_longest_idle_come_first(subject: Subject) -> None:
    store = subject.store
    for execution_id in ("c", "a", "b"):
        await store.create_execution("order", execution_id=execution_id)
        await subject.wait(0.002)
    await store.update_execution_metadata("c", {"a": 1})
    await subject.wait(0.002)
    assert [each.execution_id for each in await store.list_stuck_executions(0)] == ["a", "b", "c"]
    assert [each.execution_id for each in await store.list_stuck_executions(0, limit=1)] == ["a"]


async def test_a_list_of_impossible_length_is_refused(store: Store) -> None:
    for limit in (0, -1, 1_001):
        with pytest.raises(InvalidValueError):
            await store.list_long_running_executions(0, limit=limit)
        with pytest.raises(InvalidValueError):
            await store.list_stuck_executions(0, limit=limit)
