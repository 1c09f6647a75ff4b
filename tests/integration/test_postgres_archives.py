"""What moves from one database to another: everything, as it was, as often as it is written."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from msgspec.structs import replace

from spane_otel.archives import ExecutionArchive
from spane_otel.clock import SECOND
from spane_otel.errors import ConflictError, InvalidValueError
from spane_otel.records import Batch, LogRow, SpanRow
from spane_otel.state import Lease, NewDeadLetter
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.rows import batch, log, ns, root, span
from tests.servers import PostgresServer

LARGE = "ä" * 100_000


@pytest_asyncio.fixture
async def source(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


@pytest.fixture
def target_url(postgres_server: PostgresServer, migrated_template: str) -> Any:
    url = postgres_server.create_database(template=migrated_template)
    yield url
    postgres_server.drop_database(url)


@pytest_asyncio.fixture
async def target(target_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(target_url) as store:
        yield store


def definition(*node_ids: str) -> dict[str, Any]:
    return {
        "id": "order",
        "name": "Order",
        "nodes": [{"id": each, "type": "task", "config": {}, "inputs": [], "outputs": []} for each in node_ids],
        "entryNodeId": node_ids[0],
        "triggers": [],
    }


async def run_order(store: PostgresExecutionStore) -> str:
    """Run two of three nodes of an order, with everything that an execution can have."""
    await store.save_workflow(definition("a", "b", "c"), "first", "ann")
    execution_id = await store.create_execution(
        "order", initial_data={"large": LARGE}, metadata={"k": [1, None]}, lease=Lease("runner")
    )
    await store.set_execution_timeout(execution_id, ns(10**6))
    await store.update_node_result(execution_id, "a", {"success": False, "error": "once"}, attempt=1, input=None)
    await store.complete_node(execution_id, "a", {"success": True, "data": None}, attempt=2, worker="w")
    letter = NewDeadLetter(job_id="j", job_data={"large": LARGE})
    await store.complete_node(
        execution_id, "b", {"success": False, "error": "no", "data": LARGE, "nextNodes": ["c"]}, dead_letter=letter
    )
    return execution_id


async def copy_telemetry(
    source: PostgresExecutionStore,
    target: PostgresExecutionStore,
    execution_id: str | None = None,
    limit: int = 1_000,
) -> Batch:
    """Copy spans and logs, part by part, and return all that was copied."""
    spans: list[SpanRow] = []
    logs: list[LogRow] = []
    cursor = None
    while True:
        archive = await source.read_telemetry(execution_id, limit=limit, cursor=cursor)
        assert len(archive.batch.spans) + len(archive.batch.logs) <= limit
        result = await target.write_telemetry(archive.batch)
        assert not result.rejected
        spans += archive.batch.spans
        logs += archive.batch.logs
        cursor = archive.next
        if cursor is None:
            return Batch(spans=spans, logs=logs)


async def load_archive(store: PostgresExecutionStore, execution_id: str) -> ExecutionArchive:
    archive = await store.read_execution(execution_id)
    assert archive is not None
    return archive


async def test_an_execution_is_the_same_in_another_store(
    source: PostgresExecutionStore, target: PostgresExecutionStore
) -> None:
    execution_id = await run_order(source)
    workflow = await source.read_workflow("order")
    assert workflow is not None
    archive = await load_archive(source, execution_id)
    for _ in range(2):
        await target.write_workflow(workflow)
        await target.write_execution(archive)
    copied = await target.read_workflow("order")
    assert copied is not None
    assert [replace(version, version_id=0) for version, _ in copied.versions] == [
        replace(version, version_id=0) for version, _ in workflow.versions
    ]
    assert [text for _, text in copied.versions] == [text for _, text in workflow.versions]
    assert await load_archive(target, execution_id) == archive
    assert await target.get_node_results(execution_id) == await source.get_node_results(execution_id)
    assert await target.get_execution_count() == await target.get_execution_count("order") == 1
    assert await target.get_pending_node_count(execution_id) == 1
    assert (await target.list_audit(execution_id)).items == (await source.list_audit(execution_id)).items


async def test_an_execution_goes_on_where_it_was_copied_to(
    source: PostgresExecutionStore, target: PostgresExecutionStore
) -> None:
    execution_id = await run_order(source)
    workflow = await source.read_workflow("order")
    assert workflow is not None
    await target.write_workflow(workflow)
    await target.write_execution(await load_archive(source, execution_id))
    assert await target.complete_node(execution_id, "c", {"success": True}) == "failed"
    audit = await target.list_audit(execution_id)
    assert [entry.seq for entry in audit] == list(range(1, len(audit) + 1))
    assert await target.create_execution(
        "order", initial_data={"large": LARGE}, metadata={"k": [1, None]}, execution_id=execution_id
    ) == execution_id  # fmt: skip


async def test_what_was_there_gives_way(source: PostgresExecutionStore, target: PostgresExecutionStore) -> None:
    execution_id = await run_order(source)
    await target.create_execution("other", execution_id=execution_id, metadata={"x": 1}, lease=Lease("somebody"))
    await target.complete_node(execution_id, "z", {"success": True})
    archive = await load_archive(source, execution_id)
    await target.write_execution(archive)
    assert await load_archive(target, execution_id) == archive
    assert await target.get_execution_count("other") == 0
    assert await target.get_execution_count("order") == 1
    assert await target.acquire_lease(execution_id, Lease("anybody"))


async def test_a_version_that_an_archived_execution_ran_can_not_vanish(
    source: PostgresExecutionStore, target: PostgresExecutionStore, target_url: str
) -> None:
    execution_id = await run_order(source)
    workflow = await source.read_workflow("order")
    assert workflow is not None
    await target.write_workflow(workflow)
    await target.write_execution(await load_archive(source, execution_id))
    connection = await asyncpg.connect(target_url)
    try:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await connection.execute("DELETE FROM spane.workflow_versions")
    finally:
        await connection.close()


async def test_a_workflow_keeps_the_newer_of_two_current_versions(
    source: PostgresExecutionStore, target: PostgresExecutionStore
) -> None:
    await source.save_workflow(definition("a"))
    older = await source.read_workflow("order")
    await source.save_workflow(definition("a", "b"), "two")
    newer = await source.read_workflow("order")
    assert older is not None
    assert newer is not None
    await target.write_workflow(newer)
    await target.write_workflow(older)
    assert await target.get_workflow_version("order") == 2
    loaded = await target.get_workflow("order", 2)
    assert loaded is not None
    assert [node.id for node in loaded.nodes] == ["a", "b"]
    assert await target.save_workflow(definition("a", "b")) == 2
    await target.deactivate_workflow("order")
    assert (await target.read_workflow("order")).is_active is False  # type: ignore[union-attr]  # it is there


async def test_a_number_with_other_content_is_a_conflict(
    source: PostgresExecutionStore, target: PostgresExecutionStore
) -> None:
    await source.save_workflow(definition("a"))
    await target.save_workflow(definition("z"))
    archive = await source.read_workflow("order")
    assert archive is not None
    with pytest.raises(ConflictError):
        await target.write_workflow(archive)
    loaded = await target.get_workflow("order")
    assert loaded is not None
    assert [node.id for node in loaded.nodes] == ["z"]


async def test_an_execution_from_spans_is_the_same_in_another_store(
    source: PostgresExecutionStore, target: PostgresExecutionStore
) -> None:
    await source.write(
        batch(
            root("e", end=5, attributes='{"spane.output":"1.50"}'),
            span("n", trace="e", parent="root of e", execution="e", node="n"),
            log("hello", trace="e", execution="e"),
        )
    )
    archive = await load_archive(source, "e")
    await target.write_execution(archive)
    await copy_telemetry(source, target)
    assert await load_archive(target, "e") == archive
    assert await target.get_trace("e") == await source.get_trace("e")
    assert (await target.get_logs("e")).items == (await source.get_logs("e")).items
    await target.write(batch(root("e", end=7)))  # a later version still folds
    assert (await target.get_execution("e")).ended_ns == ns(7)  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("limit", [1, 3, 1_000])
async def test_telemetry_is_read_whole_in_parts_of_any_size(
    source: PostgresExecutionStore, target: PostgresExecutionStore, limit: int
) -> None:
    rows = [span(f"{n}", trace=f"t{n % 3}", start=n - 5 * 86_400 * (n % 2)) for n in range(7)]
    await source.write(batch(*rows, *(log(f"{n}") for n in range(5)), log("in trace", trace="t0")))
    copied = await copy_telemetry(source, target, limit=limit)
    assert (len(copied.spans), len(copied.logs)) == (7, 6)
    again = await copy_telemetry(source, target, limit=limit)
    assert again == copied
    assert await copy_telemetry(target, source) == copied
    stats = await target.stats()
    assert (stats.spans, stats.logs) == (7, 6)


async def test_of_a_shared_trace_an_execution_takes_its_own_part(
    source: PostgresExecutionStore, target: PostgresExecutionStore
) -> None:
    await source.write(
        batch(
            root("e", trace="t", name="top"),
            span("work", trace="t", parent="top", execution="e"),
            span("inner", trace="t", parent="work"),
            root("f", trace="t", name="sub", parent="work"),
            span("sub work", trace="t", parent="sub", execution="f"),
            log("of e", trace="t", at_span="inner"),
            log("of f", trace="t", execution="f"),
        )
    )
    await source.create_execution("order", execution_id="g")
    await source.add_span("g", name="elsewhere")
    copied = await copy_telemetry(source, target, "e")
    assert {row.name for row in copied.spans} == {"top", "work", "inner", "sub"}
    assert [row.body for row in copied.logs] == ['"of e"']


async def test_old_rows_are_taken_and_make_no_execution(target: PostgresExecutionStore) -> None:
    old = root("e", trace="t", start=-400 * 86_400, end=-400 * 86_400 + 1)
    given = batch(old, log("old", at=-400 * 86_400), heartbeats=["p"])
    assert (await target.write(given)).spans_stored == 0
    result = await target.write_telemetry(given)
    assert (result.spans_stored, result.logs_stored, result.rejected) == (1, 1, [])
    assert await target.get_execution("e") is None
    assert (await target.stats()).executions == 0


async def test_added_spans_stay_added(source: PostgresExecutionStore, target: PostgresExecutionStore) -> None:
    execution_id = await source.create_execution("order")
    await source.add_span(execution_id, name="a", id="a", metadata={"n": 1}, start_ns=ns(0) + SECOND)
    await source.update_span(execution_id, "a", status="completed")
    await source.add_log(execution_id, "m", id="l")
    await target.write_execution(await load_archive(source, execution_id))
    await copy_telemetry(source, target, execution_id)
    await target.add_span(execution_id, name="a", id="a", metadata={"n": 1})
    await target.add_log(execution_id, "m", id="l")
    await target.update_span(execution_id, "a", metadata={"n": 2})
    trace = await target.get_trace(execution_id)
    assert trace is not None
    assert [(each.id, each.state, dict(each.attributes)) for each in trace.spans] == [("a", "completed", {"n": 2})]
    assert len(await target.get_logs(execution_id)) == 1


async def test_what_is_unknown_is_none_or_empty(source: PostgresExecutionStore) -> None:
    assert await source.read_workflow("order") is None
    assert await source.read_execution("e") is None
    archive = await source.read_telemetry("e")
    assert (archive.batch.spans, archive.batch.logs, archive.next) == ([], [], None)
    with pytest.raises(InvalidValueError, match="cursor"):
        await source.read_telemetry(cursor="nonsense")
