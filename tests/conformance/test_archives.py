"""Archives: all that a store holds, out of it and into another, the same afterwards."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from spane_otel.archives import ExecutionArchive
from spane_otel.errors import ConflictError
from spane_otel.records import Batch
from spane_otel.state import Lease, NewDeadLetter
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.everything import read_everything, read_execution
from tests.conformance.loading import load_execution
from tests.conformance.subjects import MemorySubject, Subject
from tests.rows import batch, log, ns, root, span

IDS = ("full", "child", "failed", "bare", "of spans", "adopted")
LARGE = "x" * 100_000


@pytest_asyncio.fixture
async def other() -> AsyncIterator[InMemoryExecutionStore]:
    """Another store to copy into."""
    subject = MemorySubject()
    async with subject.memory:
        yield subject.memory


async def make_something(store: Store) -> None:
    await store.save_workflow(chain("a", "b"), "notes", "author")
    await store.save_workflow(chain("a", "b", "c", tolerant=["c"]))
    await store.create_execution(
        "order", execution_id="full", initial_data={"large": LARGE}, metadata={"k": LARGE}, lease=Lease("h", 60)
    )
    await store.update_node_result("full", "a", {"success": False, "error": "no"}, input=LARGE, worker="w")
    await store.update_node_result("full", "a", {"success": True, "data": LARGE, "nextNodes": ["b"]}, attempt=2)
    await store.update_node_result("full", "b", {"success": True, "data": None}, iteration=1, started_ns=ns(1))
    await store.set_execution_timeout("full", 2**62)
    await store.set_execution_status("full", "paused")
    await store.add_span("full", name="n", id="s", node_id="a", metadata={"k": 1})
    await store.update_span("full", "s", status="completed")
    await store.add_log("full", "m", id="l", span_id="s")
    await store.create_execution("pay", "full", execution_id="child")
    await store.create_execution("order", execution_id="failed")
    for node in ("a", "b", "c"):
        await store.complete_node("failed", node, {"success": node != "a", "error": "no"}, dead_letter=NewDeadLetter())
    await store.create_execution("order", execution_id="bare")
    await store.write(
        batch(
            root("of spans", trace="t", start=1, end=4),
            span("in it", trace="t", parent="root of of spans", execution="of spans", node="n", start=2, end=3),
            log("at it", trace="t", at=2),
            root("adopted", trace="u", start=1, end=None),
        )
    )
    await store.create_execution("order", execution_id="adopted")


async def copy_telemetry(source: Store, target: Store, execution_id: str | None = None) -> None:
    cursor: str | None = None
    for _ in range(100):
        part = await source.read_telemetry(execution_id, limit=2, cursor=cursor)
        assert len(part.batch.spans) + len(part.batch.logs) <= 2
        result = await target.write_telemetry(part.batch)
        assert result.rejected == []
        cursor = part.next
        if cursor is None:
            return
    raise AssertionError("the telemetry does not end")


async def copy_everything(source: Store, target: Store) -> None:
    for workflow_id in ("order",):
        workflow = await source.read_workflow(workflow_id)
        assert workflow is not None
        await target.write_workflow(workflow)
    for execution_id in IDS:
        execution = await source.read_execution(execution_id)
        assert execution is not None
        await target.write_execution(execution)
    await copy_telemetry(source, target)


def without_row_ids(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what is shown without the numbers that each store gives of its own."""
    for workflow in [shown[key] for key in shown if key.startswith("workflow: ")]:
        versions = workflow["versions"]
        versions[:] = [(each.version, each.content_hash, each.created_ns, each.change_notes) for each in versions]
    return shown


async def test_a_copy_shows_what_the_original_shows(store: Store, other: InMemoryExecutionStore) -> None:
    await make_something(store)
    await copy_everything(store, other)
    shown = without_row_ids(await read_everything(store, IDS, ["order"]))
    copied = without_row_ids(await read_everything(other, IDS, ["order"]))
    for key, value in shown.items():
        assert copied[key] == value, key


async def test_a_copy_of_a_copy_brought_back_is_the_original(subject: Subject, other: InMemoryExecutionStore) -> None:
    """Out of this store into another, deleted here, and back."""
    store = subject.store
    await make_something(store)
    await copy_everything(store, other)
    shown = await read_everything(store, IDS, ["order"])
    for execution_id in IDS:
        await store.delete_execution(execution_id)
    await copy_everything(other, store)
    back = await read_everything(store, IDS, ["order"])
    for key, value in shown.items():
        assert back[key] == value, key


async def test_copying_twice_is_the_same_as_once(store: Store, other: InMemoryExecutionStore) -> None:
    await make_something(store)
    for _ in range(2):
        await copy_everything(store, other)
        await copy_everything(other, store)
    shown = without_row_ids(await read_everything(store, IDS, ["order"]))
    assert without_row_ids(await read_everything(other, IDS, ["order"])) == shown


async def test_an_archive_replaces_what_is_there(store: Store, other: InMemoryExecutionStore) -> None:
    await make_something(other)
    await store.save_workflow(chain("z", workflow="z"))
    await store.create_execution("z", execution_id="full", initial_data="else", metadata={"else": 1})
    await store.complete_node("full", "z", {"success": False}, dead_letter=NewDeadLetter())
    for workflow in ("order",):
        archive = await other.read_workflow(workflow)
        assert archive is not None
        await store.write_workflow(archive)
    execution = await other.read_execution("full")
    assert execution is not None
    await store.write_execution(execution)
    copied, original = await read_execution(store, "full"), await read_execution(other, "full")
    for key in ("execution", "results", "attempts", "audit", "pending"):
        assert copied[key] == original[key], key
    assert await store.list_dead_letters(execution_id="full") == []
    assert await store.get_execution_count() == 1
    assert (await store.get_execution_count("z"), await store.get_execution_count("order")) == (0, 1)


async def test_an_execution_that_was_copied_goes_on(store: Store, other: InMemoryExecutionStore) -> None:
    await make_something(other)
    for execution_id in IDS:
        await other.set_execution_timeout(execution_id, None)
    await copy_everything(other, store)
    assert await store.get_pending_node_count("full") == 1
    assert await store.complete_node("full", "c", {"success": False}) == "completed", "c may fail"
    assert await store.claim_executions(Lease("h", 60)) == [], "leases are not copied"
    (letter,) = await store.list_dead_letters(execution_id="failed")
    await store.retry_dead_letter("failed", letter.dead_letter_id)
    assert await store.complete_node("failed", "a", {"success": True}, attempt=2) == "completed"
    await store.create_execution("order", execution_id="bare")
    await store.write(batch(root("of spans", trace="t", start=1, end=9, revision=1)))
    assert (await load_execution(store, "of spans")).ended_ns == ns(9)


async def test_a_workflow_keeps_its_numbers_and_what_is_there_stays(
    store: Store, other: InMemoryExecutionStore
) -> None:
    for node in ("a", "b"):
        await other.save_workflow(chain(node), f"notes of {node}")
    archive = await other.read_workflow("order")
    assert archive is not None
    assert [version.version for version, _ in archive.versions] == [1, 2]
    await store.save_workflow(chain("a"), "notes of its own")
    await store.write_workflow(archive)
    versions = await store.list_workflow_versions("order")
    assert [(each.version, each.change_notes) for each in versions] == [(1, "notes of its own"), (2, "notes of b")]
    assert await store.get_workflow_version("order") == 2
    assert await store.save_workflow(chain("c")) == 3


async def test_a_version_with_other_content_under_its_number_is_a_conflict(
    store: Store, other: InMemoryExecutionStore
) -> None:
    for node in ("a", "b"):
        await other.save_workflow(chain(node))
    archive = await other.read_workflow("order")
    assert archive is not None
    await store.save_workflow(chain("z"))
    with pytest.raises(ConflictError):
        await store.write_workflow(archive)
    assert [each.version for each in await store.list_workflow_versions("order")] == [1]


async def test_an_inactive_workflow_stays_inactive_in_a_copy(store: Store, other: InMemoryExecutionStore) -> None:
    await other.save_workflow(chain("a"))
    await other.deactivate_workflow("order")
    archive = await other.read_workflow("order")
    assert archive is not None
    await store.write_workflow(archive)
    assert (await store.get_workflow_count(), await store.get_workflow_count(active_only=False)) == (0, 1)
    assert await store.list_workflows(active_only=False) == await other.list_workflows(active_only=False)


async def test_an_execution_without_its_workflow_is_pinned_to_a_number_only(
    store: Store, other: InMemoryExecutionStore
) -> None:
    await make_something(other)
    archive = await other.read_execution("full")
    assert archive is not None
    await store.write_execution(archive)
    assert (await load_execution(store, "full")).workflow_version == 2
    assert await store.get_workflow("order") is None


async def test_what_is_not_there_has_no_archive(store: Store) -> None:
    for unknown in ("nobody", "", "a\0b", "\ud800"):
        assert await store.read_execution(unknown) is None
        assert await store.read_workflow(unknown) is None
        part = await store.read_telemetry(unknown)
        assert (part.batch.spans, part.batch.logs, part.next) == ([], [], None)


async def test_the_telemetry_of_one_execution_is_its_own(store: Store, other: InMemoryExecutionStore) -> None:
    await make_something(store)
    await copy_telemetry(store, other, "of spans")
    stats = await other.stats()
    assert (stats.spans, stats.logs) == (2, 1)


async def test_telemetry_makes_no_execution_and_may_be_old(store: Store) -> None:
    old = -400 * 86_400
    rows = batch(root("e", start=old, end=old + 1), log("m", at=old, execution="e"))
    assert (await store.write(rows)).rejected != []
    result = await store.write_telemetry(rows)
    assert (result.spans_stored, result.logs_stored, result.rejected) == (1, 1, [])
    assert await store.get_execution("e") is None
    assert (await store.stats()).spans == 1
    assert await store.write_telemetry(Batch()) is not None


async def test_an_archive_says_whether_there_was_a_value(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.create_execution("order", execution_id="f", initial_data=0)
    await store.set_execution_status("f", "completed", result=None)
    e, f = [await store.read_execution(each) for each in ("e", "f")]
    assert isinstance(e, ExecutionArchive)
    assert isinstance(f, ExecutionArchive)
    assert (e.has_initial_data, e.has_result) == (False, False)
    assert (f.has_initial_data, f.has_result) == (True, True)
