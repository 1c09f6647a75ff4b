"""Leases: one runner at a time runs an execution, by the store's clock."""

import asyncio

import pytest

from spane_otel.errors import InvalidValueError, LeaseLostError, UnknownExecutionError
from spane_otel.records import ExecutionStatus
from spane_otel.state import Lease
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution
from tests.conformance.subjects import Subject

OK = {"success": True}
MINE, THEIRS = Lease("mine", 60), Lease("theirs", 60)
BRIEF = Lease("mine", 0.2)
LONGER_THAN_BRIEF = 0.25


async def test_while_one_holds_the_lease_no_other_gets_it(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    assert await store.acquire_lease("e", MINE) is True
    assert await store.acquire_lease("e", THEIRS) is False
    assert await store.acquire_lease("e", MINE) is True
    assert await store.claim_executions(THEIRS) == []
    assert await store.renew_leases(THEIRS) == []
    assert await store.renew_leases(MINE) == ["e"]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_a_lease_is_renewed_no_longer_than_its_execution_runs(store: Store, status: ExecutionStatus) -> None:
    for execution_id in ("running", "paused", "ended"):
        await store.create_execution("order", execution_id=execution_id, lease=MINE)
    await store.set_execution_status("paused", "paused")
    await store.set_execution_status("ended", status)
    assert await store.renew_leases(MINE) == ["paused", "running"]


async def test_of_many_who_want_a_lease_at_once_one_gets_it(store: Store) -> None:
    for turn in range(3):
        execution_id = await store.create_execution("order", execution_id=f"e{turn}")
        answers = await asyncio.gather(*(store.acquire_lease(execution_id, Lease(f"h{n}", 60)) for n in range(8)))
        assert answers.count(True) == 1


async def test_a_lease_that_ran_out_is_free(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e", lease=BRIEF)
    assert await store.acquire_lease("e", THEIRS) is False
    await subject.wait(LONGER_THAN_BRIEF)
    assert await store.acquire_lease("e", THEIRS) is True
    assert await store.acquire_lease("e", MINE) is False
    assert await store.renew_leases(MINE) == []


async def test_a_renewed_lease_goes_on(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e", lease=BRIEF)
    await store.create_execution("order", execution_id="f")
    assert sorted(await store.renew_leases(MINE)) == ["e"]
    await subject.wait(LONGER_THAN_BRIEF)
    assert await store.acquire_lease("e", THEIRS) is False
    assert await store.claim_executions(THEIRS) == []


async def test_a_lease_given_up_is_free_at_once(store: Store) -> None:
    await store.create_execution("order", execution_id="e", lease=MINE)
    await store.release_lease("e", "theirs")
    assert await store.acquire_lease("e", THEIRS) is False, "only the holder can give it up"
    await store.release_lease("e", "mine")
    assert await store.acquire_lease("e", THEIRS) is True
    await store.release_lease("e", "mine")
    assert await store.acquire_lease("e", MINE) is False
    await store.release_lease("nobody", "mine")


async def test_an_execution_made_with_a_lease_is_never_without_a_runner(store: Store) -> None:
    await store.create_execution("order", execution_id="e", lease=MINE)
    assert await store.acquire_lease("e", THEIRS) is False
    assert await store.renew_leases(MINE) == ["e"]


async def test_making_it_again_takes_the_lease_from_nobody(store: Store) -> None:
    await store.create_execution("order", execution_id="e", lease=MINE)
    await store.create_execution("order", execution_id="e", lease=THEIRS)
    assert await store.renew_leases(MINE) == ["e"]
    assert await store.renew_leases(THEIRS) == []


async def test_claimed_are_running_executions_whose_lease_ran_out_or_was_given_up(subject: Subject) -> None:
    store = subject.store
    for execution_id in ("held", "out", "given up", "paused", "ended"):
        lease = MINE if execution_id == "held" else BRIEF
        await store.create_execution("order", execution_id=execution_id, lease=lease)
    await store.create_execution("order", execution_id="never leased")
    await store.release_lease("given up", "mine")
    await store.set_execution_status("paused", "paused")
    await store.set_execution_status("ended", "cancelled")
    await subject.wait(LONGER_THAN_BRIEF)
    await store.claim_executions(THEIRS)
    assert sorted(await store.renew_leases(THEIRS)) == ["given up", "out"]
    assert await store.claim_executions(Lease("a third", 60)) == []


@pytest.mark.first_answers
async def test_claims_come_oldest_first_and_as_many_as_asked_for(subject: Subject) -> None:
    store = subject.store
    for execution_id, workflow in (("c", "order"), ("a", "order"), ("d", "pay"), ("b", "order")):
        await store.create_execution(workflow, execution_id=execution_id, lease=MINE)
        await store.release_lease(execution_id, "mine")
        await subject.wait(0.002)
    assert await store.claim_executions(THEIRS, limit=1) == ["c"]
    assert await store.claim_executions(THEIRS, workflow_ids=["pay", "nobody"]) == ["d"]
    assert await store.claim_executions(THEIRS, workflow_ids=[]) == []
    assert await store.claim_executions(THEIRS) == ["a", "b"]
    assert await store.claim_executions(THEIRS) == []


async def test_two_who_claim_at_once_never_get_the_same(subject: Subject) -> None:
    store = subject.store
    ids = [f"e{number}" for number in range(12)]
    for execution_id in ids:
        await store.create_execution("order", execution_id=execution_id, lease=MINE)
        await store.release_lease(execution_id, "mine")
    holders = [Lease(f"h{number}", 60) for number in range(6)]
    claimed = await asyncio.gather(*(store.claim_executions(holder, limit=3) for holder in holders))
    held = [execution_id for holder in holders for execution_id in await store.renew_leases(holder)]
    assert len(held) == len(set(held))
    if not subject.without_first_answers:
        assert sorted(held) == sorted(execution_id for each in claimed for execution_id in each)
        assert all(len(each) <= 3 for each in claimed)


async def test_results_of_a_runner_who_lost_the_lease_are_refused(subject: Subject) -> None:
    """It may still believe that it runs the execution; what it writes would be taken for the new runner's."""
    store = subject.store
    await store.save_workflow(chain("a", "b"))
    await store.create_execution("order", execution_id="e", lease=BRIEF)
    await store.update_node_result("e", "a", OK, holder="mine")
    await subject.wait(LONGER_THAN_BRIEF)
    await store.acquire_lease("e", THEIRS)
    for write in (store.update_node_result, store.complete_node):
        with pytest.raises(LeaseLostError) as refused:
            await write("e", "b", OK, holder="mine")
        assert (refused.value.execution_id, refused.value.holder) == ("e", "mine")
    assert set(await store.get_node_results("e")) == {"a"}
    assert await store.complete_node("e", "b", OK, holder="theirs") == "completed"


async def test_without_any_lease_a_holder_holds_none(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    with pytest.raises(LeaseLostError):
        await store.complete_node("e", "a", OK, holder="mine")
    await store.complete_node("e", "a", OK)
    with pytest.raises(UnknownExecutionError):
        await store.complete_node("nobody", "a", OK, holder="mine")


async def test_of_two_runners_whose_results_come_at_once_only_the_holders_counts(store: Store) -> None:
    await store.create_execution("order", execution_id="e", lease=MINE)
    outcomes = await asyncio.gather(
        *(
            store.update_node_result("e", f"{holder} {n}", OK, holder=holder)
            for n in range(5)
            for holder in ("mine", "x")
        ),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [type(None), LeaseLostError] * 5
    assert set(await store.get_node_results("e")) == {f"mine {n}" for n in range(5)}


async def test_an_ended_executions_lease_can_be_given_up_and_is_claimed_by_nobody(store: Store) -> None:
    await store.create_execution("order", execution_id="e", lease=MINE)
    await store.set_execution_status("e", "completed")
    await store.release_lease("e", "mine")
    assert await store.claim_executions(THEIRS) == []
    assert (await load_execution(store, "e")).status == "completed"
    assert await store.renew_leases(MINE) == []


async def test_an_unknown_execution_has_no_lease(store: Store) -> None:
    for unknown in ("nobody", "a\0b", "\ud800", ""):
        with pytest.raises(UnknownExecutionError):
            await store.acquire_lease(unknown, MINE)


async def test_a_lease_that_makes_no_sense_is_refused(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    for lease in (
        Lease("", 1),
        Lease("x" * 257, 1),
        Lease("a\0", 1),
        Lease("\ud800", 1),
        Lease("h", 0),
        Lease("h", -1),
    ):
        with pytest.raises(InvalidValueError):
            await store.acquire_lease("e", lease)
        with pytest.raises(InvalidValueError):
            await store.create_execution("order", execution_id="f", lease=lease)
    assert await store.get_execution("f") is None
    assert await store.acquire_lease("e", MINE) is True
