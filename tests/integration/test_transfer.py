"""What one store holds, another holds after a copy: read through every reader, and again after the way back."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spane_otel import copy_store
from spane_otel.clock import ManualClock
from spane_otel.errors import ConfigurationError, ConflictError, DecodeError, UnknownExecutionError
from spane_otel.ids import trace_id_from_hex
from spane_otel.records import Batch
from spane_otel.state import NewDeadLetter
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.protocols import Store
from spane_otel.transfer.copying import CopyReport
from spane_otel.transfer.executions import export_execution, import_execution
from tests.rows import batch, log, ns, root, span

WORKFLOW = {
    "id": "order",
    "name": "Order",
    "nodes": [{"id": "a", "type": "t", "outputs": ["b"]}, {"id": "b", "type": "t", "inputs": ["a"]}],
    "more": [1.0, 2**70],
}
LARGE = "x" * 100_000


async def fill(store: Store) -> None:
    """Write one of everything."""
    await store.save_workflow(WORKFLOW, "first", "me")
    await store.create_execution(
        "order", execution_id="done", initial_data={"n": [1, 1.0, None]}, metadata={"k": 2**70}
    )
    await store.update_node_result("done", "a", {"success": False, "error": "once"}, attempt=1, input="")
    await store.complete_node("done", "a", {"success": True, "data": LARGE, "nextNodes": ["b"]}, attempt=2, worker="w1")
    await store.complete_node("done", "b", {"success": True, "data": None}, execution_result={"ok": "\0 \ud800"})
    await store.save_workflow({**WORKFLOW, "name": "Order 2"}, "second")
    await store.create_execution("order", execution_id="failed", initial_data=0)
    await store.complete_node(
        "failed", "a", {"success": False, "error": "no"}, dead_letter=NewDeadLetter(job_id="7", job_data={"x": None})
    )
    await store.complete_node("failed", "b", {"success": True, "skipped": True})
    await store.create_execution("unknown workflow", "done", execution_id="child")
    await store.set_execution_timeout("child", ns(90_000))
    await store.set_execution_status("child", "paused")
    await store.save_workflow({**WORKFLOW, "id": "off"})
    await store.deactivate_workflow("off")
    parent = await store.add_span("done", name="by hand", id="s1", metadata={"f": 1.0, "i": 2**53 + 1})
    await store.add_span("done", name="below", parent_id=parent, status="failed", error="bad")
    await store.update_span("done", parent, status="completed")
    await store.add_log("done", "hello é", level="warn", span_id=parent, metadata={"a": [True, None]})
    rows = batch(
        root("derived", workflow="job", attributes='{"a":1E5,"b":-0.0}'),
        span("step", trace="derived", parent="root of derived", execution="derived", node="n", events='[{"name":"e"}]'),
        span("open", trace="derived", parent="root of derived", end=None, process_id="p-1"),
        span("apart", trace="foreign", kind=2, status=2, status_message="failed"),
    )
    logs = batch(log("in the trace", trace="derived"), log("on its own"))
    await store.write(
        Batch(rows.spans, logs.logs, {**rows.resources, **logs.resources}, {**rows.scopes, **logs.scopes})
    )


async def contents(store: Store) -> dict[str, Any]:
    """Return all that a reader sees of a store, but the numbers of rows, which are a database's own."""
    workflows = await store.list_workflows(active_only=False)
    executions = await store.list_executions()
    ids = [each.execution_id for each in executions]
    return {
        "workflows": list(workflows),
        "active": [each.id for each in await store.list_workflows()],
        "versions": [
            [{**_members(each), "version_id": None} for each in await store.list_workflow_versions(workflow.id)]
            for workflow in workflows
        ],
        "definitions": [[await store.get_workflow(each.id, number) for number in (1, 2)] for each in workflows],
        "executions": [await store.get_execution(each) for each in ids],
        "counts": await store.count_telemetry(ids),
        "count": await store.get_execution_count("order"),
        "results": {each: await store.get_node_results(each) for each in ids},
        "attempts": {each: await store.list_node_attempts(each, "a") for each in ids},
        "pending": {each: await store.get_pending_node_count(each) for each in ids},
        "audit": {each: list(await store.list_audit(each)) for each in ids},
        "letters": list(await store.list_dead_letters()),
        "families": {each: await store.get_execution_family(each) for each in ids},
        "traces": {each: _trace(await store.get_trace(each)) for each in ids},
        "all traces": list(await store.list_traces()),
        "logs": {each: _logs(await store.get_logs(each)) for each in ids},
        "all logs": _logs(await store.list_logs()),
    }


def _members(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _trace(trace: Any) -> Any:
    """Return spans with the texts that are kept, and resources and scopes in their places."""
    return [
        {
            **_members(each),
            "attributes": each.attributes.text,
            "events": each.events.text,
            "links": each.links.text,
            "resource": trace.resources[each.resource].attributes.text,
            "scope": trace.scopes[each.scope].name,
        }
        for each in trace.spans
    ]


def _logs(page: Any) -> Any:
    return [
        {
            **_members(each),
            "attributes": each.attributes.text,
            "resource": page.resources[each.resource].attributes.text,
            "scope": page.scopes[each.scope].name,
        }
        for each in page
    ]


def _sorted(document: str) -> Any:
    """Return a document's executions, with the order of spans and logs left out: it is the store's."""
    executions = json.loads(document)["executions"]
    for each in executions:
        for name in ("spans", "logs"):
            each[name].sort(key=json.dumps)
    return executions


@pytest.fixture
async def memory() -> AsyncIterator[Store]:
    """A filled store in memory."""
    async with InMemoryExecutionStore() as store:
        await fill(store)
        yield store


@pytest.fixture
async def postgres(migrated_postgres_url: str) -> AsyncIterator[Store]:
    """An empty store in PostgreSQL."""
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


async def test_a_copy_there_and_back_holds_what_there_was(memory: Store, postgres: Store) -> None:
    report = await copy_store(memory, postgres)
    stats = await memory.stats()
    assert report == CopyReport(workflows=2, executions=4, spans=stats.spans, logs=stats.logs)
    expected = await contents(memory)
    assert await contents(postgres) == expected
    async with InMemoryExecutionStore() as back:
        assert await copy_store(postgres, back) == report
        assert await contents(back) == expected
        for execution_id in ("done", "failed", "child", "derived"):
            assert await back.read_execution(execution_id) == await memory.read_execution(execution_id)


async def test_copying_twice_is_the_same_as_once(memory: Store, postgres: Store) -> None:
    first = await copy_store(memory, postgres)
    once = await contents(postgres)
    assert await copy_store(memory, postgres) == first
    assert await contents(postgres) == once


async def test_what_changed_since_the_first_copy_is_brought_up_to_date(memory: Store, postgres: Store) -> None:
    await copy_store(memory, postgres)
    await memory.set_execution_status("child", "running")
    await memory.update_execution_metadata("child", {"later": True})
    await memory.add_span("child", name="later")
    await copy_store(memory, postgres)
    assert await contents(postgres) == await contents(memory)


async def test_the_copy_goes_on_as_the_original_would(memory: Store, postgres: Store) -> None:
    """It is running there: nodes complete it, letters are retried, versions count on."""
    await copy_store(memory, postgres)
    (letter,) = await postgres.list_dead_letters()
    assert await postgres.retry_dead_letter("failed", letter.dead_letter_id)
    assert await postgres.complete_node("failed", "a", {"success": True}, attempt=2) == "completed"
    assert await postgres.save_workflow({**WORKFLOW, "name": "Order 3"}) == 3
    assert (
        await postgres.create_execution(
            "order", execution_id="done", initial_data={"n": [1, 1.0, None]}, metadata={"k": 2**70}
        )
        == "done"
    )
    assert len(await postgres.list_audit("done")) == len(await memory.list_audit("done"))


async def test_a_url_names_a_store_too_and_progress_is_told(memory: Store, migrated_postgres_url: str) -> None:
    told: list[tuple[int, int, int]] = []
    report = await copy_store(
        memory,
        migrated_postgres_url,
        progress=lambda so_far: told.append((so_far.workflows, so_far.executions, so_far.spans)),
    )
    assert told == sorted(told)
    assert told[-1] == (report.workflows, report.executions, report.spans)
    assert len(set(told)) >= 3


async def test_many_pages_are_copied(postgres: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spane_otel.transfer.copying.PAGE", 7)
    async with InMemoryExecutionStore() as store:
        for number in range(30):
            await store.save_workflow({**WORKFLOW, "id": f"w{number}"})
            await store.create_execution(f"w{number}", execution_id=f"e{number}")
            await store.add_span(f"e{number}", name="s")
        report = await copy_store(store, postgres)
        assert report == CopyReport(workflows=30, executions=30, spans=30)
        assert await contents(postgres) == await contents(store)


async def test_spans_of_any_age_are_copied(postgres: Store) -> None:
    """The window of accepted times is for what arrives, not for what was accepted once."""
    clock = ManualClock(1_600_000_000 * 10**9)
    async with InMemoryExecutionStore(clock=clock) as store:
        await store.create_execution("w", execution_id="old")
        await store.add_span("old", name="s")
        await store.add_log("old", "l")
        assert await copy_store(store, postgres) == CopyReport(executions=1, spans=1, logs=1)
        trace = await postgres.get_trace("old")
        assert trace is not None
        assert [each.start_ns for each in trace.spans] == [clock.now_ns()]


async def test_another_definition_under_the_same_number_is_a_conflict(memory: Store, postgres: Store) -> None:
    await postgres.save_workflow({**WORKFLOW, "name": "not the same"})
    with pytest.raises(ConflictError, match="order"):
        await copy_store(memory, postgres)


async def test_a_store_is_not_copied_into_itself(memory: Store) -> None:
    with pytest.raises(ConfigurationError):
        await copy_store(memory, memory)
    with pytest.raises(ConfigurationError):
        await copy_store("postgresql://h/n", "postgresql://h/n")


async def test_an_execution_moves_in_a_document(memory: Store, postgres: Store) -> None:
    for execution_id in ("done", "failed", "child", "derived"):
        document = await export_execution(memory, execution_id)
        for _ in range(2):  # twice is the same as once
            report = await import_execution(postgres, document)
            assert (report.executions, report.rejected) == (1, {})
        assert await postgres.read_execution(execution_id) == await memory.read_execution(execution_id)
        assert _trace(await postgres.get_trace(execution_id)) == _trace(await memory.get_trace(execution_id))
        assert _logs(await postgres.get_logs(execution_id)) == _logs(await memory.get_logs(execution_id))
        assert _sorted(await export_execution(postgres, execution_id)) == _sorted(document)
    assert await postgres.get_workflow("order", 1) == await memory.get_workflow("order", 1)
    assert await postgres.get_trace_by_id("foreign") is None
    assert trace_id_from_hex((await postgres.list_traces())[0].trace_id) is not None


async def test_with_its_children_an_execution_is_one_document(memory: Store, postgres: Store) -> None:
    document = await export_execution(memory, "done", include_children=True)
    assert (await import_execution(postgres, document)).executions == 2
    (child,) = await postgres.get_child_executions("done")
    assert child.execution_id == "child"


async def test_the_version_that_an_execution_ran_is_the_current_one_where_no_other_is(
    memory: Store, postgres: Store
) -> None:
    await import_execution(postgres, await export_execution(memory, "failed"))
    assert await postgres.get_workflow_version("order") == 2
    assert await postgres.get_workflow("order", 1) is None
    await import_execution(postgres, await export_execution(memory, "done"))
    assert await postgres.get_workflow_version("order") == 2
    assert await postgres.get_workflow("order", 1) == await memory.get_workflow("order", 1)


async def test_of_an_unknown_execution_there_is_no_document(postgres: Store) -> None:
    with pytest.raises(UnknownExecutionError):
        await export_execution(postgres, "nobody")


async def test_of_a_damaged_document_nothing_is_written(memory: Store, postgres: Store) -> None:
    document = await export_execution(memory, "done", include_children=True)
    with pytest.raises(DecodeError):
        await import_execution(postgres, document[:-20])
    assert await postgres.get_execution_count() == 0
