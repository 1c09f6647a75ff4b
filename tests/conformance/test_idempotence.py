"""Every mutator may be called again after "executed, then raised": the second call changes nothing."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from spane_otel.clock import ManualClock
from spane_otel.errors import StoreUnavailableError
from spane_otel.records import Stamp
from spane_otel.state import Lease, NewDeadLetter
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.everything import read_everything
from tests.conformance.faults import MUTATORS, FaultyStore, RetryingStore, every_other, one_in_ten
from tests.conformance.subjects import Subject
from tests.rows import batch, log, ns, root, span

READERS = ("get_", "list_", "read_", "count_", "poll_")
NO_CALLS_OF_DATA = {"ping", "stats", "aclose"}
LETTER = NewDeadLetter(job_id="j", job_data=[0])


async def retry_letter(store: Store) -> bool:
    (letter,) = await store.list_dead_letters(execution_id="failed", include_retried=True)
    return await store.retry_dead_letter("failed", letter.dead_letter_id)


async def write_archive(store: Store) -> None:
    archive = await store.read_execution("running")
    assert archive is not None
    await store.write_execution(archive)


async def write_workflow_archive(store: Store) -> None:
    async with InMemoryExecutionStore(clock=ManualClock(ns(0))) as other:
        for node in ("a", "b"):
            await other.save_workflow(chain(node, workflow="copy"))
        archive = await other.read_workflow("copy")
    assert archive is not None
    await store.write_workflow(archive)


CALLS: dict[str, list[Callable[[Store], Awaitable[Any]]]] = {
    "write": [
        lambda store: store.write(
            batch(
                root("new", start=1, end=None, process_id="p"),
                span("s", trace="new", parent="root of new", execution="new", node="a", start=2),
                log("m", trace="new", execution="new"),
                log("m", trace="new", execution="new", ordinal=1),
                heartbeats=["p"],
            )
        ),
        lambda store: store.write(batch(root("running", stamp=Stamp(workflow_id="other")))),
    ],
    "add_log": [lambda store: store.add_log("running", "m", id="new", level="error", metadata={"a": 0})],
    "add_span": [
        lambda store: store.add_span("running", name="n", id="new", metadata={"a": 0}),
        lambda store: store.add_span("running", name="n", id="below", parent_id="s", status="failed", error="no"),
    ],
    "update_span": [
        lambda store: store.update_span("running", "s", status="completed"),
        lambda store: store.update_span("running", "s", metadata={"a": 1, "b": None}),
        lambda store: store.update_span("running", "s", end_ns=ns(5), error="no"),
    ],
    "save_workflow": [
        lambda store: store.save_workflow(chain("a", "b", "c"), "notes", "author"),
        lambda store: store.save_workflow(chain("x", workflow="new")),
        lambda store: store.save_workflow(chain("a", workflow="inactive")),
    ],
    "deactivate_workflow": [lambda store: store.deactivate_workflow("order")],
    "create_execution": [
        lambda store: store.create_execution("order", execution_id="new", initial_data=0, metadata={"a": 0}),
        lambda store: store.create_execution("order", "running", execution_id="new", lease=Lease("h", 60)),
        lambda store: store.create_execution("order", execution_id="of spans"),
    ],
    "set_execution_status": [
        lambda store: store.set_execution_status("running", "paused", operation="o"),
        lambda store: store.set_execution_status("running", "failed", error="no", result=0),
        lambda store: store.set_execution_status("of spans", "cancelled", operation="o"),
    ],
    "delete_execution": [
        lambda store: store.delete_execution("running"),
        lambda store: store.delete_execution("of spans"),
    ],
    "update_execution_metadata": [lambda store: store.update_execution_metadata("running", {"a": 1, "n": None})],
    "set_execution_timeout": [
        lambda store: store.set_execution_timeout("running", 5),
        lambda store: store.set_execution_timeout("timed", None),
    ],
    "sweep_timeouts": [lambda store: store.sweep_timeouts()],
    "update_node_result": [
        lambda store: store.update_node_result("running", "b", {"success": True, "data": 0}),
        lambda store: store.update_node_result("running", "a", {"success": False, "error": "no"}, input=0),
        lambda store: store.update_node_result(
            "running", "b", {"success": True}, attempt=2, iteration=1, started_ns=ns(1), ended_ns=ns(2), worker="w"
        ),
    ],
    "complete_node": [
        lambda store: store.complete_node("running", "b", {"success": True}, execution_result=0),
        lambda store: store.complete_node("running", "b", {"success": False, "error": "no"}, dead_letter=LETTER),
    ],
    "cache_node_result": [lambda store: store.cache_node_result("running", "b", {"success": True, "data": None})],
    "retry_dead_letter": [retry_letter],
    "acquire_lease": [lambda store: store.acquire_lease("running", Lease("h", 60))],
    "renew_leases": [lambda store: store.renew_leases(Lease("holder", 60))],
    "release_lease": [lambda store: store.release_lease("leased", "holder")],
    "claim_executions": [lambda store: store.claim_executions(Lease("h", 60))],
    "write_workflow": [write_workflow_archive],
    "write_execution": [write_archive],
    "write_telemetry": [
        lambda store: store.write_telemetry(batch(root("running", name="late"), log("late", execution="running")))
    ],
}


def test_every_mutator_of_the_protocols_is_known() -> None:
    names = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    mutators = {name for name in names if not name.startswith(READERS)} - NO_CALLS_OF_DATA
    assert mutators == MUTATORS
    assert set(CALLS) == MUTATORS


async def make_something(store: Store) -> None:
    """Make executions and workflows in every state that a mutator can meet."""
    await store.save_workflow(chain("a", "b"))
    await store.save_workflow(chain("a", workflow="inactive"))
    await store.deactivate_workflow("inactive")
    await store.create_execution("order", execution_id="running", initial_data=[1], metadata={"a": 0})
    await store.update_node_result("running", "a", {"success": True}, started_ns=ns(1))
    await store.add_span("running", name="n", id="s")
    await store.add_log("running", "m", id="l")
    await store.create_execution("order", execution_id="failed")
    await store.complete_node("failed", "a", {"success": False, "error": "no"}, dead_letter=LETTER)
    await store.complete_node("failed", "b", {"success": True})
    await store.create_execution("pay", "running", execution_id="timed")
    await store.set_execution_timeout("timed", 5)
    await store.create_execution("order", execution_id="leased", lease=Lease("holder", 60))
    await store.create_execution("order", execution_id="given up", lease=Lease("holder", 60))
    await store.release_lease("given up", "holder")
    await store.write(batch(root("of spans", end=None)))


@pytest.mark.parametrize("name", sorted(MUTATORS))
async def test_a_call_that_is_repeated_changes_nothing_twice(subject: Subject, name: str) -> None:
    store = subject.store
    ids = ("running", "failed", "timed", "leased", "given up", "of spans", "new")
    for call in CALLS[name]:
        for execution_id in ids:
            await store.delete_execution(execution_id)
        await make_something(store)
        await subject.wait(0.001)
        await call(store)
        once = await read_everything(store, ids, ("order", "inactive", "new", "copy"))
        await subject.wait(0.002)
        await call(store)
        assert await read_everything(store, ids, ("order", "inactive", "new", "copy")) == once


async def test_a_caller_who_meets_a_fault_at_one_call_in_ten_sees_what_one_without_faults_sees() -> None:
    """The wrapper itself: it faults as often as it says, and the caller's retries hide it."""
    async with InMemoryExecutionStore() as inner:
        faulty = FaultyStore(inner, one_in_ten(seed=7))
        store: Any = RetryingStore(faulty)
        for number in range(200):
            await store.create_execution("order", execution_id=f"e{number}")
            await store.update_node_result(f"e{number}", "a", {"success": True})
        assert await store.get_execution_count() == 200
        assert 20 <= faulty.faults <= 80


async def test_a_faulty_store_executes_and_then_raises() -> None:
    async with InMemoryExecutionStore() as inner:
        faulty: Any = FaultyStore(inner, every_other())
        with pytest.raises(StoreUnavailableError):
            await faulty.create_execution("order", execution_id="e")
        assert await faulty.get_execution("e") is not None
        assert await faulty.create_execution("order", execution_id="e") == "e"
