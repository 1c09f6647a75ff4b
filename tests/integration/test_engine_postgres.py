"""The engine on PostgreSQL: state, spans and logs in one database; several engines on it."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from spane_otel import ExecutionContext, ExecutionResult, NodeRegistry, PostgresExecutionStore, WorkflowEngine
from spane_otel.telemetry import shutdown

DIAMOND: dict[str, Any] = {
    "id": "diamond",
    "name": "diamond",
    "entryNodeId": "a",
    "nodes": [
        {"id": "a", "type": "work", "outputs": ["b", "c", "d"]},
        {"id": "b", "type": "work", "outputs": ["e"]},
        {"id": "c", "type": "work", "outputs": ["e"]},
        {"id": "d", "type": "work", "outputs": ["e"]},
        {"id": "e", "type": "work"},
    ],
}


@pytest.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store
    shutdown(2.0)


def registry(work: Callable[[ExecutionContext], Awaitable[ExecutionResult]] | None = None) -> NodeRegistry:
    async def hand_on(context: ExecutionContext) -> ExecutionResult:
        context.log(f"{context.node_id} ran")
        return ExecutionResult(success=True, data=context.input_data)

    made = NodeRegistry()
    made.register("work", work or hand_on)
    return made


async def test_an_execution_with_its_spans_and_logs_is_in_the_database(store: PostgresExecutionStore) -> None:
    async with WorkflowEngine(registry(), store) as engine:
        await engine.register_workflow(DIAMOND)
        result = await engine.execute("diamond", [1])
    execution_id = result.execution_id or ""
    assert result.data == {"b": [1], "c": [1], "d": [1]}
    record = await store.get_execution(execution_id)
    assert record is not None
    assert (record.status, record.result, record.origin, record.workflow_version) == (
        "completed",
        result.data,
        "api",
        1,
    )
    trace = await store.get_trace(execution_id)
    assert trace is not None
    assert Counter(span.name for span in trace.spans) == {"diamond": 1, "a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
    assert {span.state for span in trace.spans} == {"completed"}
    assert len(await store.get_logs(execution_id)) == 5
    changes = Counter(entry.change for entry in await store.list_audit(execution_id))
    assert changes == {"created": 1, "node_result": 5, "status": 1}


async def test_a_hundred_at_once_all_complete_with_their_own_data(store: PostgresExecutionStore) -> None:
    async with WorkflowEngine(registry(), store) as engine:
        await engine.register_workflow(DIAMOND)
        results = await asyncio.gather(*(engine.execute("diamond", number) for number in range(100)))
    assert [result.data for result in results] == [{"b": n, "c": n, "d": n} for n in range(100)]
    assert await store.get_execution_count("diamond") == 100


async def test_engines_share_what_is_left_behind_and_none_runs_twice(
    store: PostgresExecutionStore, migrated_postgres_url: str
) -> None:
    """Three engines, each with connections of its own, take over thirty executions."""
    ran: Counter[tuple[str, str]] = Counter()

    async def work(context: ExecutionContext) -> ExecutionResult:
        ran[context.execution_id, context.node_id] += 1
        return ExecutionResult(success=True, data=context.input_data)

    started = asyncio.Event()
    let_go = asyncio.Event()

    async def stuck(context: ExecutionContext) -> ExecutionResult:
        started.set()
        await let_go.wait()
        return ExecutionResult(success=True, data=context.input_data)

    ids = [f"e{number}" for number in range(30)]
    async with WorkflowEngine(registry(stuck), store) as first:
        await first.register_workflow(DIAMOND)
        for execution_id in ids:
            await first.start("diamond", 1, execution_id=execution_id)
        await started.wait()
        await first.aclose(0)
    others = [PostgresExecutionStore(migrated_postgres_url) for _ in range(3)]
    engines = [WorkflowEngine(registry(work), each, recovery_seconds=0.05, max_executions=12) for each in others]
    for engine in engines:
        await engine.register_workflow(DIAMOND)
    async with engines[0], engines[1], engines[2]:
        async with asyncio.timeout(30):
            results = await asyncio.gather(*(engines[0].wait(each) for each in ids))
    for each in others:
        await each.aclose()
    assert all(result.success for result in results)
    assert ran == {(execution_id, node_id): 1 for execution_id in ids for node_id in "abcde"}


async def test_what_one_process_saves_the_other_runs_at_once(
    store: PostgresExecutionStore, migrated_postgres_url: str
) -> None:
    async with (
        PostgresExecutionStore(migrated_postgres_url) as other,
        WorkflowEngine(registry(), store) as engine,
        WorkflowEngine(registry(), other) as saver,
    ):
        await engine.register_workflow({"id": "w", "nodes": [{"id": "a", "type": "work"}]})
        assert (await engine.execute("w", 1)).data == 1
        await saver.register_workflow({"id": "w", "nodes": [{"id": "a", "type": "work"}, {"id": "b", "type": "work"}]})
        assert (await engine.execute("w", 1)).data == {"a": 1, "b": 1}


async def test_a_change_made_by_another_process_is_noticed_within_seconds(
    store: PostgresExecutionStore, migrated_postgres_url: str
) -> None:
    entered = asyncio.Event()

    async def wait(_: ExecutionContext) -> ExecutionResult:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with PostgresExecutionStore(migrated_postgres_url) as other, WorkflowEngine(registry(wait), store) as engine:
        await engine.register_workflow({"id": "w", "nodes": [{"id": "a", "type": "work"}]})
        running = asyncio.create_task(engine.execute("w", execution_id="e"))
        await entered.wait()
        await other.set_execution_status("e", "cancelled", error="enough")
        async with asyncio.timeout(10):
            assert (await running).error == "enough"


FORGETFUL = """
import asyncio, sys
from spane_otel import ExecutionResult, NodeRegistry, PostgresExecutionStore, WorkflowEngine

async def work(context):
    context.log("ran")
    return ExecutionResult(True, 1)

async def main():
    registry = NodeRegistry()
    registry.register("work", work)
    engine = WorkflowEngine(registry, PostgresExecutionStore(sys.argv[1]))
    await engine.register_workflow({"id": "w", "nodes": [{"id": "a", "type": "work"}]})
    print((await engine.execute("w", execution_id="e")).data)

asyncio.run(main())
"""


async def test_a_program_that_closes_nothing_still_leaves_its_spans_and_logs(
    store: PostgresExecutionStore, migrated_postgres_url: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORGETFUL, migrated_postgres_url, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, output) == (0, b"1\n")
    trace = await store.get_trace("e")
    assert trace is not None
    assert [(span.name, span.state) for span in trace.spans] == [("w", "completed"), ("a", "completed")]
    assert [log.body for log in await store.get_logs("e")] == ["ran"]


async def test_large_outputs_go_from_node_to_node(store: PostgresExecutionStore) -> None:
    async def grow(context: ExecutionContext) -> ExecutionResult:
        return ExecutionResult(success=True, data={"text": "x" * 1_000_000, "from": context.node_id})

    async with WorkflowEngine(registry(grow), store) as engine:
        nodes = [{"id": "a", "type": "work", "outputs": ["b"]}, {"id": "b", "type": "work"}]
        await engine.register_workflow({"id": "w", "nodes": nodes})
        result = await engine.execute("w")
    assert result.data == {"text": "x" * 1_000_000, "from": "b"}
    record = await store.get_execution(result.execution_id or "")
    assert record is not None
    assert record.result == result.data
