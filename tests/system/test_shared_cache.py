"""Two processes, one database, one Redis: what one does, the other sees."""

import subprocess
import sys
from typing import Any

import pytest

from spane_otel import WorkflowCacheOptions
from spane_otel.stores.cached.store import CachedStore
from spane_otel.stores.cached.versions import WorkflowCache
from spane_otel.stores.opening import open_store
from spane_otel.stores.postgres import PostgresExecutionStore

pytestmark = pytest.mark.system

OTHER = """
import asyncio, sys
from spane_otel.stores.opening import open_store

async def work():
    async with open_store(sys.argv[1], redis_url=sys.argv[2]) as store:
        {}

asyncio.run(work())
"""


def elsewhere(statement: str, url: str, redis_url: str) -> str:
    """Run a statement on a store of another process; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", OTHER.format(statement), url, redis_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_what_another_process_deletes_is_gone(migrated_postgres_url: str, redis_url: str) -> None:
    inner = PostgresExecutionStore(migrated_postgres_url)
    store: Any = CachedStore(inner, redis_url, identify=inner.identify, settle_seconds=0, timeout_seconds=5)
    async with store:
        await store.create_execution("w", execution_id="e")
        await store.set_execution_status("e", "completed")
        for _ in range(2):
            assert await store.get_execution("e") is not None
        assert store._entries.counts["hit"] == 1
        assert elsewhere("print(await store.delete_execution('e'))", migrated_postgres_url, redis_url) == "True"
        assert await store.get_execution("e") is None
        assert store._entries.counts["failed"] == 0


async def test_what_another_process_saves_is_pinned_at_once(migrated_postgres_url: str, redis_url: str) -> None:
    async with open_store(migrated_postgres_url, redis_url=redis_url) as store:
        versions = WorkflowCache(store, WorkflowCacheOptions())
        await store.save_workflow({"id": "w", "name": "first", "nodes": []})
        for number, name in ((1, "first"), (2, "second"), (3, "third")):
            execution = await store.get_execution(await store.create_execution("w"))
            assert execution is not None
            assert execution.workflow_version == number
            workflow = await versions.get("w", number)
            assert workflow is not None
            assert workflow.name == name
            following = {"first": "second", "second": "third", "third": "fourth"}[name]
            saved = f"print(await store.save_workflow({{'id': 'w', 'name': '{following}', 'nodes': []}}))"
            assert elsewhere(saved, migrated_postgres_url, redis_url) == str(number + 1)
