"""The store behind PgBouncer in transaction mode: a session is ours for one transaction, then somebody else's."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.errors import StoreUnavailableError, UnknownExecutionError
from spane_otel.state import Lease
from spane_otel.stores.postgres import PostgresExecutionStore, database
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.migrate import migrate
from spane_otel.stores.postgres.pool import Pools
from tests.pgbouncer import pgbouncer_program, serve_pgbouncer
from tests.rows import batch, log, root, span
from tests.servers import PostgresServer

pytestmark = pytest.mark.system

SERVERS = 3
"""Fewer than there are callers, so that transactions of one client are run by this server and that."""
WORKFLOW = {"id": "order", "nodes": [{"id": "a", "type": "t"}, {"id": "b", "type": "t"}]}


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[str]:
    program = pgbouncer_program()
    if program is None:
        pytest.skip("no pgbouncer: install Debian's package")
    with serve_pgbouncer(program, postgres_server.url, SERVERS) as url:
        yield url


def through(pooler: str, url: str) -> str:
    """Return the URL of the database of `url` behind the pooler."""
    return urlunsplit(urlsplit(pooler)._replace(path=urlsplit(url).path))


@pytest.fixture
def pooled_url(pooler: str, migrated_postgres_url: str) -> str:
    return through(pooler, migrated_postgres_url)


@pytest_asyncio.fixture
async def store(pooled_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(pooled_url) as store:
        yield store


async def live(store: PostgresExecutionStore, execution_id: str) -> None:
    """Do for one execution all that happens to one."""
    assert await store.create_execution("order", execution_id=execution_id, lease=Lease("me")) == execution_id
    await store.write(batch(root(execution_id), log("hello", trace=execution_id, execution=execution_id)))
    await store.add_span(execution_id, name="by hand", id="1")
    await store.update_span(execution_id, "1", status="completed")
    await store.add_log(execution_id, "by hand")
    await store.update_execution_metadata(execution_id, {"large": "x" * 100_000})
    await store.set_execution_timeout(execution_id, 1)
    await store.set_execution_timeout(execution_id, None)
    assert await store.complete_node(execution_id, "a", {"success": True, "data": 1}) == "running"
    assert await store.set_execution_status(execution_id, "paused", operation=f"pause {execution_id}")
    status = await store.complete_node(execution_id, "b", {"success": True}, execution_result={"n": 1})
    assert status == "completed"
    await store.release_lease(execution_id, "me")


async def check(store: PostgresExecutionStore, execution_id: str) -> None:
    held = await store.get_execution(execution_id)
    assert held is not None
    assert (held.status, held.workflow_version, held.result) == ("completed", 1, {"n": 1})
    assert held.metadata == {"large": "x" * 100_000}
    trace = await store.get_trace(execution_id)
    assert trace is not None
    assert len(trace.spans) == 2
    assert [each.message for each in await store.get_logs(execution_id)] == ["hello", "by hand"]
    assert set(await store.get_node_results(execution_id)) == {"a", "b"}
    changes = [each.change for each in await store.list_audit(execution_id)]
    assert (changes[0], changes[-1], changes.count("status")) == ("created", "status", 2)


async def test_many_at_once_do_all_that_there_is_to_do(store: PostgresExecutionStore, pooled_url: str) -> None:
    cursor, _ = await store.poll_changes()
    await store.save_workflow(WORKFLOW)
    ids = [f"e{n}" for n in range(24)]
    async with PostgresExecutionStore(pooled_url) as other:
        await asyncio.gather(*(live((store, other)[n % 2], each) for n, each in enumerate(ids)))
        await asyncio.gather(*(check((other, store)[n % 2], each) for n, each in enumerate(ids)))
    assert store._database.pools.is_pooled
    assert sorted(each.execution_id for each in await store.list_executions(limit=1_000)) == sorted(ids)
    assert await store.get_execution_count("order") == len(ids)
    _, changes = await store.poll_changes(cursor)
    assert {each.execution_id for each in changes if each.kind == "execution"} == set(ids)
    assert await store.sweep_timeouts() == []
    assert await store.claim_executions(Lease("other")) == []
    assert await store.delete_execution("e0")
    assert await store.get_execution_count() == len(ids) - 1
    archive = await store.read_execution("e1")
    assert archive is not None
    assert (archive.execution.execution_id, len(archive.node_results)) == ("e1", 2)
    await store.ping()


async def test_what_fails_leaves_nothing_of_what_was_done_before(
    store: PostgresExecutionStore, migrated_postgres_url: str
) -> None:
    result = await store.write(batch(root("e"), span("bad", execution="e", start=-(10**7))))
    assert (result.spans_stored, [each.reason for each in result.rejected]) == (1, ["start_out_of_window"])

    async def fail(session: Session) -> None:
        await session.execute("insert_changes", kind=["execution"], execution_id=["kept"], trace_id=[None])
        raise UnknownExecutionError("kept")

    with pytest.raises(UnknownExecutionError):
        await store._database.run("write", fail)
    direct = await asyncpg.connect(migrated_postgres_url)
    try:
        assert await direct.fetchval("SELECT count(*) FROM spane.changes WHERE execution_id = 'kept'") == 0
    finally:
        await direct.close()


async def test_other_clients_of_the_servers_find_their_sessions_as_they_left_them(
    store: PostgresExecutionStore, pooled_url: str, migrated_postgres_url: str
) -> None:
    await asyncio.gather(*(store.create_execution("order", execution_id=f"e{n}") for n in range(20)))
    await asyncio.gather(*(store.get_execution(f"e{n}") for n in range(20)))
    client = await asyncpg.connect(pooled_url, statement_cache_size=0)
    try:
        for _ in range(4 * SERVERS):
            async with client.transaction():
                row = await client.fetchrow(
                    "SELECT current_setting('enable_seqscan'), current_setting('statement_timeout'),"
                    " current_setting('idle_in_transaction_session_timeout'),"
                    " (SELECT count(*) FROM pg_prepared_statements WHERE name <> '')"
                )
            assert row is not None
            assert tuple(row) == ("on", "0", "0", 0)
    finally:
        await client.close()


async def test_a_pooler_that_looks_like_a_server_is_found_out_by_its_errors(
    pooled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_away(self: Pools, connection: Any) -> None:
        await self._look_at_server(connection)

    monkeypatch.setattr(Pools, "_prepare_session", look_away)
    async with PostgresExecutionStore(pooled_url) as store, PostgresExecutionStore(pooled_url) as other:
        for turn in range(20):
            ids = [f"{turn}/{n}" for n in range(20)]
            await asyncio.gather(
                *((store, other)[n % 2].create_execution("order", execution_id=each) for n, each in enumerate(ids))
            )
            await asyncio.gather(*((store, other)[n % 2].get_execution(each) for n, each in enumerate(ids)))
            if store._database.pools.is_pooled and other._database.pools.is_pooled:
                break
        assert store._database.pools.is_pooled or other._database.pools.is_pooled
        assert await store.get_execution_count() == 20 * (turn + 1)


async def test_a_statement_that_hangs_is_given_up(
    pooled_url: str, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.2)
    direct = await asyncpg.connect(migrated_postgres_url)
    try:
        async with PostgresExecutionStore(pooled_url, statement_seconds=0.3) as store:
            await store.create_execution("order", execution_id="e")
            async with direct.transaction():
                await direct.execute("LOCK TABLE spane.executions")
                with pytest.raises(StoreUnavailableError, match="timeout"):
                    await asyncio.wait_for(store.get_execution("e"), 10)
            assert await store.get_execution("e") is not None
    finally:
        await direct.close()


async def test_a_schema_is_migrated_through_it(pooler: str, postgres_url: str) -> None:
    url = through(pooler, postgres_url)
    applied = await asyncio.gather(*(migrate(url) for _ in range(4)))
    assert sorted(map(len, applied))[:3] == [0, 0, 0]
    async with PostgresExecutionStore(url) as store:
        await store.ping()
        assert await store.get_execution_count() == 0
