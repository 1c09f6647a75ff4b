"""The audit: one row for every change of an execution's state, in its order, written with the change."""

import asyncio

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import ConflictError, InvalidValueError
from spane_otel.state import AuditEntry, NewDeadLetter
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.pages import read_pages
from tests.conformance.subjects import Subject
from tests.rows import batch, root

OK = {"success": True}
FAILED = {"success": False, "error": "no stock"}


async def changes(store: Store, execution_id: str) -> list[str]:
    return [each.change for each in await store.list_audit(execution_id, limit=1_000)]


async def test_the_life_of_an_execution_is_told_in_its_order(subject: Subject) -> None:
    store = subject.store
    await store.save_workflow(chain("a", "b"))
    before_ns = subject.now_ns()
    await store.create_execution("order", execution_id="e")
    await store.update_execution_metadata("e", {"k": 1})
    await store.set_execution_timeout("e", 2**62)
    await store.set_execution_status("e", "paused")
    await store.set_execution_status("e", "running")
    await store.update_node_result("e", "a", FAILED, worker="w1")
    await store.update_node_result("e", "a", OK, attempt=2, worker="w2")
    await store.complete_node("e", "b", FAILED, iteration=3, dead_letter=NewDeadLetter())
    entries = list(await store.list_audit("e"))
    assert [each.seq for each in entries] == list(range(1, len(entries) + 1))
    assert all(each.execution_id == "e" for each in entries)
    times = [each.changed_ns for each in entries]
    assert times == sorted(times)
    assert before_ns - SECOND <= times[0]
    assert times[-1] <= subject.now_ns() + SECOND
    told = [
        (each.change, each.old_value, each.new_value) for each in entries if each.change not in ("metadata", "timeout")
    ]
    assert sorted(told[-3:]) == [
        ("dead_letter", *told_of(entries, "dead_letter")),
        ("node_result", None, "failed"),
        ("status", "running", "failed"),
    ]
    assert told[:-3] == [
        ("created", None, "running"),
        ("status", "running", "paused"),
        ("status", "paused", "running"),
        ("node_result", None, "failed"),
        ("node_result", None, "completed"),
    ]
    results = [each for each in entries if each.change == "node_result"]
    assert [(each.node_id, each.iteration, each.attempt, each.actor) for each in results] == [
        ("a", 0, 1, "w1"),
        ("a", 0, 2, "w2"),
        ("b", 3, 1, None),
    ]
    assert [each.change for each in entries[1:3]] == ["metadata", "timeout"]


def told_of(entries: list[AuditEntry], change: str) -> tuple[str | None, str | None]:
    (entry,) = [each for each in entries if each.change == change]
    return entry.old_value, entry.new_value


async def test_a_failure_says_why(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", FAILED)
    await store.set_execution_status("e", "failed", error="gave up")
    *_, result, status = await store.list_audit("e")
    assert (result.detail, status.detail) == ("no stock", "gave up")


async def test_a_result_that_replaces_another_tells_both_states(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", FAILED)
    await store.update_node_result("e", "a", {"success": True, "skipped": True})
    entry = list(await store.list_audit("e"))[-1]
    assert (entry.change, entry.old_value, entry.new_value) == ("node_result", "failed", "skipped")


async def test_what_changes_nothing_leaves_no_row(store: Store) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": 1})
    await store.update_node_result("e", "n", OK)
    await store.set_execution_timeout("e", 2**62)
    held = list(await store.list_audit("e"))
    await store.create_execution("order", execution_id="e", metadata={"a": 1})
    await store.set_execution_status("e", "running")
    await store.update_execution_metadata("e", {"a": 1})
    await store.update_execution_metadata("e", {})
    await store.set_execution_timeout("e", 2**62)
    await store.update_node_result("e", "n", OK)
    await store.add_log("e", "no change of state")
    await store.add_span("e", name="no change of state")
    assert list(await store.list_audit("e")) == held


async def test_what_is_refused_leaves_no_row(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.set_execution_status("e", "completed")
    held = list(await store.list_audit("e"))
    with pytest.raises(ConflictError):
        await store.set_execution_status("e", "running")
    with pytest.raises(ConflictError):
        await store.create_execution("other", execution_id="e")
    with pytest.raises(ConflictError):
        await store.update_node_result("e", "a", OK, holder="nobody")
    with pytest.raises(InvalidValueError):
        await store.update_node_result("e", "a", {})
    assert list(await store.list_audit("e")) == held


async def test_executions_made_from_spans_have_no_audit_until_a_caller_takes_them_over(store: Store) -> None:
    await store.write(batch(root("e", end=None), root("f", end=None)))
    assert await store.list_audit("e") == []
    await store.create_execution("order", execution_id="e")
    assert await changes(store, "e") == ["adopted"]
    await store.set_execution_status("f", "cancelled")
    entry = list(await store.list_audit("f"))[-1]
    assert (entry.change, entry.old_value, entry.new_value) == ("status", "running", "cancelled")
    await store.write(batch(root("e", end=3), root("f", end=3)))
    assert await changes(store, "e") == ["adopted"]


async def test_an_unknown_execution_has_no_audit(store: Store) -> None:
    for unknown in ("nobody", "", "a\0b", "\ud800"):
        assert await store.list_audit(unknown) == []


async def test_the_audit_is_paged_each_entry_once(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    for number in range(12):
        await store.update_node_result("e", f"n{number}", OK)
    entries = list(await store.list_audit("e"))
    assert len(entries) == 13
    for limit in (1, 4, 13, 14):

        async def read(limit: int, cursor: str | None) -> object:
            return await store.list_audit("e", limit=limit, cursor=cursor)

        assert await read_pages(read, limit) == entries  # type: ignore[arg-type]  # a page
    for wrong in (0, -1, 1_001):
        with pytest.raises(InvalidValueError):
            await store.list_audit("e", limit=wrong)
    for cursor in ("", "x", "!!"):
        with pytest.raises(InvalidValueError):
            await store.list_audit("e", cursor=cursor)


async def test_many_changes_at_once_are_numbered_without_gaps(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(
        *(store.update_node_result("e", f"n{number}", OK) for number in range(12)),
        *(store.update_execution_metadata("e", {f"k{number}": 1}) for number in range(6)),
        store.set_execution_status("e", "paused"),
    )
    entries = list(await store.list_audit("e"))
    assert [each.seq for each in entries] == list(range(1, 21))
    assert {each.node_id for each in entries if each.change == "node_result"} == {f"n{number}" for number in range(12)}
    assert sum(each.change == "metadata" for each in entries) == 6
