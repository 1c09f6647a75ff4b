"""Connections that die, servers that don't answer, and what a caller hears of it."""

import asyncio
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.errors import StoreUnavailableError
from spane_otel.stores.postgres import PostgresExecutionStore, database
from tests.rows import batch, root, span


@pytest_asyncio.fixture
async def connection(migrated_postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


async def fill_pools(store: PostgresExecutionStore) -> None:
    """Open every connection of every pool."""
    for use, size in store._database.pools._settings.shares.items():
        async with AsyncExitStack() as stack:
            for _ in range(size):
                await stack.enter_async_context(store._database.pools.acquire(use))


async def end_connections(connection: Any) -> int:
    """End every other connection of this database; return how many there were."""
    rows = await connection.fetch(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return len(rows)


async def test_connections_that_died_while_idle_cost_no_call(connection: Any, store: PostgresExecutionStore) -> None:
    await fill_pools(store)
    assert await end_connections(connection) > 2
    result = await store.write(batch(root("e")))
    assert (result.spans_stored, result.rejected) == (1, [])
    await end_connections(connection)
    assert await store.get_execution("e") is not None


async def test_connections_that_die_in_the_middle_lose_nothing(connection: Any, store: PostgresExecutionStore) -> None:
    async def write(number: int) -> None:
        for step in range(20):
            result = await store.write(batch(*(span(f"{number}/{step}/{each}", start=step) for each in range(20))))
            assert result.spans_stored == 20

    writers = asyncio.gather(*(write(number) for number in range(4)))
    ended = 0
    while not writers.done():
        ended += await end_connections(connection)
        await asyncio.sleep(0.02)
    await writers
    assert ended > 0
    assert (await store.stats()).spans == 1_600


async def test_a_server_that_became_read_only_is_waited_for(
    connection: Any, store: PostgresExecutionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a failover: the server still answers, but no longer takes writes; then it does again."""
    await fill_pools(store)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await end_connections(connection)
    with monkeypatch.context() as patch:
        patch.setattr(database, "RETRY_SECONDS", 0.1)
        with pytest.raises(StoreUnavailableError, match="read-only"):
            await store.ping()
    refused = asyncio.Event()
    expire = store._database.pools.expire

    async def expire_and_tell() -> None:
        refused.set()
        await expire()

    monkeypatch.setattr(store._database.pools, "expire", expire_and_tell)
    writing = asyncio.create_task(store.write(batch(span("a"))))
    await asyncio.wait_for(refused.wait(), 5)
    await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert (await writing).spans_stored == 1
    await store.ping()


async def count_waiting(connection: Any) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def await_blocked(connection: Any) -> None:
    """Return once somebody waits for a lock."""
    async with asyncio.timeout(10):
        while not await count_waiting(connection):  # noqa: ASYNC110 - another process waits: there is no event
            await asyncio.sleep(0.01)


async def test_nobody_listening_is_said_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.2)
    async with PostgresExecutionStore("postgresql://u:secret@127.0.0.1:1/d") as store:
        for call in (store.ping(), store.write(batch(span("a"))), store.get_execution("e")):
            with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1") as raised:
                await call
            assert isinstance(raised.value.__cause__, OSError)
            assert "secret" not in str(raised.value)


async def test_a_server_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d?sslmode=disable"
        async with PostgresExecutionStore(url, connect_seconds=0.3) as store:
            with pytest.raises(StoreUnavailableError):
                await asyncio.wait_for(store.get_execution("e"), 10)


async def test_a_statement_that_hangs_is_given_up(
    connection: Any, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.2)
    async with PostgresExecutionStore(migrated_postgres_url, statement_seconds=0.3) as store:
        await store.write(batch(root("e")))
        async with connection.transaction():
            await connection.execute("LOCK TABLE spane.executions")
            with pytest.raises(StoreUnavailableError):
                await asyncio.wait_for(store.get_execution("e"), 10)
        assert await store.get_execution("e") is not None


async def test_a_pool_that_is_busy_makes_a_caller_wait_and_then_give_up(
    connection: Any, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.3)
    async with PostgresExecutionStore(migrated_postgres_url, pool_size=1, connect_seconds=0.2) as store:
        await store.create_execution("order", execution_id="e")
        async with connection.transaction():
            await connection.execute("LOCK TABLE spane.executions")
            waiting = asyncio.create_task(store.get_execution("e"))
            await await_blocked(connection)
            with pytest.raises(StoreUnavailableError):
                await store.get_execution("e")
        assert await waiting is not None


async def test_readers_do_not_take_the_writers_connections(connection: Any, migrated_postgres_url: str) -> None:
    async with PostgresExecutionStore(migrated_postgres_url, pool_size=1) as store:
        await store.create_execution("order", execution_id="e")
        async with connection.transaction():
            await connection.execute("LOCK TABLE spane.executions")
            waiting = asyncio.create_task(store.get_execution("e"))
            await await_blocked(connection)
            assert (await asyncio.wait_for(store.write(batch(span("a"))), 5)).spans_stored == 1
            assert not waiting.done()
        assert await waiting is not None


async def test_state_is_written_while_all_of_ingest_waits(connection: Any, migrated_postgres_url: str) -> None:
    async with PostgresExecutionStore(migrated_postgres_url, pool_size=4) as store:
        await store.create_execution("order", execution_id="e")
        async with connection.transaction():
            await connection.execute("LOCK TABLE spane.execution_spans")
            writing = [asyncio.create_task(store.write(batch(span(f"s{n}")))) for n in range(8)]
            await await_blocked(connection)
            async with asyncio.timeout(5):
                await store.update_node_result("e", "a", {"success": True})
                assert await store.set_execution_status("e", "completed")
                assert await store.get_execution("e") is not None
            assert not any(each.done() for each in writing)
        assert sum([(await each).spans_stored for each in writing]) == 8


async def test_no_more_connections_are_made_than_there_may_be(connection: Any, migrated_postgres_url: str) -> None:
    async with PostgresExecutionStore(migrated_postgres_url, pool_size=8) as store:
        await asyncio.gather(
            *(store.create_execution("order", execution_id=f"e{n}") for n in range(30)),
            *(store.write(batch(root(f"s{n}"))) for n in range(30)),
            *(store.list_executions() for _ in range(30)),
            *(store.save_workflow({"id": f"w{n}", "nodes": []}) for n in range(30)),
        )
        assert 3 <= await count_connections(connection) <= 8


async def test_connections_that_nobody_uses_are_closed(connection: Any, migrated_postgres_url: str) -> None:
    async with PostgresExecutionStore(migrated_postgres_url, idle_seconds=0.2) as store:
        await fill_pools(store)
        await await_no_connections(connection)
        await store.ping()


async def test_a_transaction_that_is_left_standing_is_ended_by_the_server(
    connection: Any, store: PostgresExecutionStore
) -> None:
    """So that a process which stands still does not keep others from what it had locked."""
    settings = {}

    async def read(session: database.Session) -> None:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout", "jit"):
            settings[name] = await session._connection.fetchval("SELECT current_setting($1)", name)

    for use in store._database.pools._settings.shares:
        settings.clear()
        await store._database.run(use, read)
        assert settings == {"statement_timeout": "10s", "idle_in_transaction_session_timeout": "1min", "jit": "off"}


async def test_statements_planned_before_a_migration_are_planned_again_after_it(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": 1})
    await store.get_execution("e")
    await store.update_execution_metadata("e", {"b": 2})
    await connection.execute("ALTER TABLE spane.executions ADD COLUMN later text")
    await connection.execute("ALTER TABLE spane.execution_metadata ADD COLUMN later text")
    assert await store.get_execution("e") is not None
    await store.update_execution_metadata("e", {"c": 3})
    await store.write(batch(root("other")))
    await store.write(batch(root("other", name="again", start=9)))


async def count_connections(connection: Any) -> int:
    return int(
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


async def await_no_connections(connection: Any) -> None:
    async with asyncio.timeout(10):
        while await count_connections(connection):  # noqa: ASYNC110 - the server ends them: there is no event
            await asyncio.sleep(0.01)


async def test_a_loop_that_ends_takes_its_connections_along(connection: Any, store: PostgresExecutionStore) -> None:
    await asyncio.to_thread(lambda: asyncio.run(store.ping()))
    await await_no_connections(connection)
    assert store._database.pools._by_loop == {}


async def test_closing_a_store_closes_the_connections_of_every_loop(
    connection: Any, store: PostgresExecutionStore
) -> None:
    opened, closed = threading.Event(), threading.Event()

    async def hold() -> None:
        await store.ping()
        opened.set()
        await asyncio.to_thread(closed.wait, 10)

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    await asyncio.to_thread(opened.wait, 10)
    await store.ping()
    assert await count_connections(connection) == 2
    await store.aclose()
    await store.aclose()
    await await_no_connections(connection)
    closed.set()
    await asyncio.to_thread(thread.join)


FORK = """
import asyncio, os, sys
from spane_otel.stores.postgres import PostgresExecutionStore

store = PostgresExecutionStore(sys.argv[1])

async def parent():
    await store.create_execution("order", execution_id="parent")
    child = os.fork()
    if child == 0:
        return True
    await asyncio.to_thread(os.waitpid, child, 0)
    assert await store.get_execution("child") is not None
    await store.create_execution("order", execution_id="parent again")
    await store.aclose()
    return False

async def in_child():
    await store.create_execution("order", execution_id="child")
    await store.aclose()

runner = asyncio.Runner()
if runner.run(parent()):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(in_child())
    os._exit(0)
runner.close()
print("done")
"""


@pytest.mark.system
async def test_a_forked_child_connects_anew_and_leaves_its_parents_connections_alone(
    migrated_postgres_url: str,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", FORK, migrated_postgres_url, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, output) == (0, b"done\n")
