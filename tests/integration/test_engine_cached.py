"""The engine over PostgreSQL behind a Redis cache."""

import asyncio

from spane_otel import ExecutionContext, ExecutionResult, NodeRegistry, PostgresExecutionStore, WorkflowEngine
from spane_otel.stores.cached.store import CachedStore


async def test_a_retried_execution_is_read_as_it_is_now(migrated_postgres_url: str, redis_url: str) -> None:
    """What was kept of it while it had failed is not what it came to."""
    calls = 0

    async def work(context: ExecutionContext) -> ExecutionResult:
        nonlocal calls
        calls += 1
        return ExecutionResult(success=calls > 1, data=context.attempt, error="boom")

    registry = NodeRegistry()
    registry.register("work", work)
    node = {"id": "a", "type": "work", "config": {"retryPolicy": {"maxAttempts": 1}}}
    async with (
        CachedStore(PostgresExecutionStore(migrated_postgres_url), redis_url, settle_seconds=0) as store,
        WorkflowEngine(registry, store, recovery_seconds=0.05) as engine,
    ):
        await engine.register_workflow({"id": "w", "nodes": [node]})
        failed = await engine.execute("w", execution_id="e")
        assert (failed.success, failed.error) == (False, "boom")
        assert (await store.get_node_results("e"))["a"].error == "boom"
        (letter,) = await store.list_dead_letters(execution_id="e")
        assert await store.retry_dead_letter("e", letter.dead_letter_id)
        async with asyncio.timeout(10):
            result = await engine.wait("e")
        assert (result.success, result.data) == (True, 2)
        assert (await store.get_node_results("e"))["a"].data == 2
        record = await store.get_execution("e")
        assert record is not None
        assert (record.status, record.result) == ("completed", 2)
