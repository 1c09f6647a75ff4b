"""Dead letters: left with the failure that made them, listed, and tried again once."""

import asyncio
from typing import Any

import pytest

from spane_otel.errors import InvalidTransitionError, InvalidValueError, NotFoundError
from spane_otel.records import Page
from spane_otel.state import DeadLetter, Lease, NewDeadLetter
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution, load_result
from tests.conformance.pages import read_pages
from tests.conformance.subjects import Subject
from tests.rows import batch, root

OK = {"success": True}
FAILED = {"success": False, "error": "no stock"}


async def fail(store: Store, execution_id: str = "e", node: str = "a", **options: Any) -> DeadLetter:
    """Fail a node for good and return the letter that this leaves."""
    letter = options.pop("dead_letter", NewDeadLetter())
    await store.complete_node(execution_id, node, FAILED, dead_letter=letter, **options)
    attempt, iteration = options.get("attempt", 1), options.get("iteration", 0)
    (found,) = [
        each
        for each in await store.list_dead_letters(execution_id=execution_id)
        if (each.node_id, each.iteration, each.attempt) == (node, iteration, attempt)
    ]
    return found


async def test_a_failure_with_a_dead_letter_leaves_it(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    letter = await fail(
        store,
        node="n ü",
        attempt=3,
        iteration=2,
        dead_letter=NewDeadLetter(job_id="job-1", job_data={"n": [0]}, attempts_made=7),
    )
    result = await load_result(store, "e", "n ü")
    assert letter == DeadLetter(
        dead_letter_id=letter.dead_letter_id,
        execution_id="e",
        node_id="n ü",
        iteration=2,
        attempt=3,
        job_id="job-1",
        job_data={"n": [0]},
        has_job_data=True,
        error="no stock",
        failed_ns=letter.failed_ns,
        attempts_made=7,
        workflow_id="order",
    )
    assert len(bytes.fromhex(letter.dead_letter_id)) == 16
    assert letter.failed_ns == result.ended_ns
    assert result.is_final


async def test_what_a_letter_was_not_given_is_absent(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    letter = await fail(store, attempt=4)
    assert (letter.job_id, letter.job_data, letter.has_job_data, letter.retried_ns) == (None, None, False, None)
    assert letter.attempts_made == 4


async def test_only_a_failure_leaves_a_letter(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.complete_node("e", "a", OK, dead_letter=NewDeadLetter())
    await store.complete_node("e", "b", {"success": False, "skipped": True}, dead_letter=NewDeadLetter())
    await store.complete_node("e", "c", FAILED)
    assert await store.list_dead_letters() == []


async def test_the_same_failure_is_one_letter_and_another_attempt_another(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    letters = {(await fail(store)).dead_letter_id for _ in range(3)}
    assert len(letters) == 1
    letters.add((await fail(store, attempt=2)).dead_letter_id)
    letters.add((await fail(store, iteration=1)).dead_letter_id)
    letters.add((await fail(store, node="b")).dead_letter_id)
    await store.create_execution("order", execution_id="f")
    letters.add((await fail(store, "f")).dead_letter_id)
    assert len(letters) == 5
    assert {each.dead_letter_id for each in await store.list_dead_letters()} == letters


async def test_a_write_that_is_refused_leaves_no_letter(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    with pytest.raises(InvalidValueError):
        await store.complete_node("e", "a", FAILED, dead_letter=NewDeadLetter(job_data=object()))
    with pytest.raises(NotFoundError):
        await store.complete_node("nobody", "a", FAILED, dead_letter=NewDeadLetter())
    assert await store.list_dead_letters() == []
    assert await store.get_node_results("e") == {}


async def test_letters_are_listed_newest_first_each_once_over_all_pages(subject: Subject) -> None:
    store = subject.store
    for execution_id, workflow in (("a", "order"), ("b", "pay"), ("c", "order")):
        await store.create_execution(workflow, execution_id=execution_id)
        for node in ("x", "y", "z"):
            await fail(store, execution_id, node)
        await subject.wait(0.002)
    letters = list(await store.list_dead_letters())
    keys = [(each.failed_ns, each.dead_letter_id) for each in letters]
    assert keys == sorted(keys, reverse=True)
    assert [each.execution_id for each in letters] == ["c"] * 3 + ["b"] * 3 + ["a"] * 3
    for limit in (1, 4, 9):
        assert await read_pages(store.list_dead_letters, limit) == letters
    assert {each.node_id for each in await store.list_dead_letters(execution_id="b")} == {"x", "y", "z"}
    assert {each.execution_id for each in await store.list_dead_letters(workflow_id="order")} == {"a", "c"}
    for execution, workflow_id in (("nobody", None), (None, "nobody"), ("a", "pay"), ("\0", None), (None, "\ud800")):
        assert await store.list_dead_letters(execution_id=execution, workflow_id=workflow_id) == []

    async def read(limit: int, cursor: str | None) -> Page[DeadLetter]:
        return await store.list_dead_letters(workflow_id="order", limit=limit, cursor=cursor)

    assert await read_pages(read, 2) == [each for each in letters if each.workflow_id == "order"]


async def test_a_page_that_makes_no_sense_is_refused(store: Store) -> None:
    for limit in (0, 1_001):
        with pytest.raises(InvalidValueError):
            await store.list_dead_letters(limit=limit)
    for cursor in ("", "x"):
        with pytest.raises(InvalidValueError):
            await store.list_dead_letters(cursor=cursor)


async def test_a_retry_reopens_the_node_and_the_execution_that_failed_of_it(store: Store) -> None:
    await store.save_workflow(chain("a", "b"))
    await store.create_execution("order", execution_id="e")
    await store.complete_node("e", "b", OK)
    letter = await fail(store)
    assert (await load_execution(store, "e")).status == "failed"
    await store.retry_dead_letter("e", letter.dead_letter_id)
    execution = await load_execution(store, "e")
    assert (execution.status, execution.ended_ns, execution.error) == ("running", None, None)
    assert (await load_result(store, "e", "a")).is_final is False
    assert await store.get_pending_node_count("e") == 1
    assert await store.complete_node("e", "a", OK, attempt=2) == "completed"


async def test_a_retried_node_may_fail_for_good_again(store: Store) -> None:
    await store.save_workflow(chain("a"))
    await store.create_execution("order", execution_id="e")
    first = await fail(store)
    await store.retry_dead_letter("e", first.dead_letter_id)
    second = await fail(store, attempt=2)
    assert (await load_execution(store, "e")).status == "failed"
    assert [each.dead_letter_id for each in await store.list_dead_letters()] == [second.dead_letter_id]


async def test_of_several_failures_one_that_is_retried_leaves_the_execution_to_the_others(store: Store) -> None:
    await store.save_workflow(chain("a", "b"))
    await store.create_execution("order", execution_id="e")
    letters = [await fail(store, node=node) for node in ("a", "b")]
    await store.retry_dead_letter("e", letters[0].dead_letter_id)
    assert await store.complete_node("e", "a", OK, attempt=2) == "failed", "b has failed"
    await store.retry_dead_letter("e", letters[1].dead_letter_id)
    assert await store.complete_node("e", "b", OK, attempt=2) == "completed"


async def test_a_retried_letter_is_listed_only_where_asked_for(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    letter = await fail(store)
    await store.retry_dead_letter("e", letter.dead_letter_id)
    assert await store.list_dead_letters() == []
    (retried,) = await store.list_dead_letters(include_retried=True)
    assert retried.dead_letter_id == letter.dead_letter_id
    assert retried.retried_ns is not None
    assert retried.retried_ns >= letter.failed_ns


@pytest.mark.first_answers
async def test_a_retry_answers_whether_it_did_it(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    letter = await fail(store)
    assert await store.retry_dead_letter("e", letter.dead_letter_id) is True
    assert await store.retry_dead_letter("e", letter.dead_letter_id) is False


async def test_a_second_retry_changes_nothing(store: Store) -> None:
    await store.save_workflow(chain("a"))
    await store.create_execution("order", execution_id="e")
    letter = await fail(store)
    await store.retry_dead_letter("e", letter.dead_letter_id)
    await store.complete_node("e", "a", OK, attempt=2)
    held = await load_execution(store, "e")
    assert await store.retry_dead_letter("e", letter.dead_letter_id) is False
    assert await load_execution(store, "e") == held
    assert held.status == "completed"


@pytest.mark.first_answers
async def test_of_many_who_retry_at_once_one_does(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    letter = await fail(store)
    answers = await asyncio.gather(*(store.retry_dead_letter("e", letter.dead_letter_id) for _ in range(8)))
    assert sorted(answers) == [False] * 7 + [True]
    assert [each.change for each in await store.list_audit("e")].count("dead_letter") <= 2


async def test_a_running_or_paused_execution_stays_what_it_is(store: Store) -> None:
    await store.save_workflow(chain("a", "b"))
    for status in ("running", "paused"):
        await store.create_execution("order", execution_id=status)
        letter = await fail(store, status)
        await store.set_execution_status(status, status)
        await store.retry_dead_letter(status, letter.dead_letter_id)
        assert (await load_execution(store, status)).status == status
        assert await store.get_pending_node_count(status) == 2


async def test_of_a_completed_or_cancelled_execution_nothing_is_retried(store: Store) -> None:
    for status in ("completed", "cancelled"):
        await store.create_execution("order", execution_id=status)
        letter = await fail(store, status)
        await store.set_execution_status(status, status)
        held = await load_execution(store, status)
        with pytest.raises(InvalidTransitionError):
            await store.retry_dead_letter(status, letter.dead_letter_id)
        assert await load_execution(store, status) == held
        assert [each.retried_ns for each in await store.list_dead_letters(execution_id=status)] == [None]


async def test_a_letter_that_is_not_there_is_not_retried(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.create_execution("order", execution_id="f")
    letter = await fail(store)
    for execution_id, letter_id in (
        ("e", "0" * 32),
        ("e", "no hex"),
        ("e", ""),
        ("e", "\ud800"),
        ("f", letter.dead_letter_id),
        ("nobody", letter.dead_letter_id),
    ):
        with pytest.raises(NotFoundError):
            await store.retry_dead_letter(execution_id, letter_id)


async def test_a_retried_execution_is_free_for_whoever_claims_it(store: Store) -> None:
    await store.save_workflow(chain("a", "b"))
    mine, theirs = Lease("mine", 60), Lease("theirs", 60)
    await store.create_execution("order", execution_id="e", lease=mine)
    letter = await fail(store, holder="mine")
    assert await store.claim_executions(theirs) == []
    await store.retry_dead_letter("e", letter.dead_letter_id)
    await store.claim_executions(theirs)
    assert await store.renew_leases(theirs) == ["e"]
    assert await store.renew_leases(mine) == []


async def test_a_letter_names_the_workflow_that_its_execution_had_when_the_node_failed(store: Store) -> None:
    """Of an execution that spans make, the workflow may become known, or another one, afterwards."""
    await store.write(batch(root("e", workflow="before", name="one", start=0)))
    failure = {"success": False, "error": "no"}
    await store.complete_node("e", "n", failure, dead_letter=NewDeadLetter())
    await store.write(batch(root("e", workflow="after", name="two", start=1)))
    execution = await store.get_execution("e")
    assert execution is not None
    assert execution.workflow_id == "after"
    assert [letter.workflow_id for letter in await store.list_dead_letters()] == ["before"]
    assert len(await store.list_dead_letters(workflow_id="before")) == 1
    assert await store.list_dead_letters(workflow_id="after") == []
