"""What leases promise in PostgreSQL, whose clock they go by: time passes here where a test moves `expires_at`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.errors import InvalidValueError, UnknownExecutionError
from spane_otel.state import Lease
from spane_otel.stores.postgres import PostgresExecutionStore

ONE = Lease("one", 60)
TWO = Lease("two", 60)


@pytest_asyncio.fixture
async def connection(migrated_postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


async def make(store: PostgresExecutionStore, *execution_ids: str, workflow: str = "order") -> None:
    for execution_id in execution_ids:
        await store.create_execution(workflow, execution_id=execution_id)
        assert await store.acquire_lease(execution_id, ONE)


async def let_run_out(connection: Any) -> None:
    await connection.execute("UPDATE spane.execution_leases SET expires_at = now() - interval '1 ms'")


async def read_holders(connection: Any) -> dict[str, str]:
    rows = await connection.fetch("SELECT execution_id, holder FROM spane.execution_leases WHERE expires_at > now()")
    return {row["execution_id"]: row["holder"] for row in rows}


async def test_a_lease_in_force_is_its_holders_alone(connection: Any, store: PostgresExecutionStore) -> None:
    await make(store, "e")
    assert not await store.acquire_lease("e", TWO)
    assert await store.acquire_lease("e", ONE)
    await let_run_out(connection)
    assert await store.acquire_lease("e", TWO)
    assert await read_holders(connection) == {"e": "two"}


async def test_of_many_who_want_a_lease_one_gets_it(store: PostgresExecutionStore, connection: Any) -> None:
    await store.create_execution("order", execution_id="e")
    got = await asyncio.gather(*(store.acquire_lease("e", Lease(f"h{n}", 60)) for n in range(20)))
    assert got.count(True) == 1
    assert await read_holders(connection) == {"e": f"h{got.index(True)}"}


async def test_renewing_keeps_what_is_held_and_tells_what_is_lost(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await make(store, "kept", "lost", "late")
    await connection.execute("UPDATE spane.execution_leases SET holder = 'two' WHERE execution_id = 'lost'")
    await connection.execute("UPDATE spane.execution_leases SET expires_at = now() WHERE execution_id = 'late'")
    assert await store.renew_leases(Lease("one", 600)) == ["kept"]
    left = await connection.fetchval(
        "SELECT extract(epoch FROM expires_at - now()) FROM spane.execution_leases WHERE execution_id = 'kept'"
    )
    assert 500 < left <= 600


async def test_what_was_given_up_can_be_claimed_at_once(connection: Any, store: PostgresExecutionStore) -> None:
    await make(store, "e")
    await store.release_lease("e", "two")
    assert await store.claim_executions(TWO) == []
    await store.release_lease("e", "one")
    assert await store.renew_leases(ONE) == []
    assert await store.claim_executions(TWO) == ["e"]
    assert await read_holders(connection) == {"e": "two"}


async def test_of_an_ended_execution_nothing_is_claimed_and_no_lease_is_left(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await make(store, "released", "forgotten")
    for execution_id in ("released", "forgotten"):
        await store.set_execution_status(execution_id, "completed")
    await store.release_lease("released", "one")
    assert await connection.fetchval("SELECT array_agg(execution_id) FROM spane.execution_leases") == ["forgotten"]
    await let_run_out(connection)
    assert await store.claim_executions(TWO) == []
    assert await connection.fetchval("SELECT count(*) FROM spane.execution_leases") == 0


async def test_paused_executions_and_those_without_a_lease_are_left_alone(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await make(store, "paused")
    await store.create_execution("order", execution_id="nobody's")
    await store.set_execution_status("paused", "paused")
    await let_run_out(connection)
    assert await store.claim_executions(TWO) == []
    await store.set_execution_status("paused", "running")
    assert await store.claim_executions(TWO) == ["paused"]


async def test_claims_are_of_the_oldest_of_the_workflows_that_are_wanted(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await make(store, "c", "b", "a")
    await make(store, "other", workflow="other")
    await let_run_out(connection)
    assert await store.claim_executions(TWO, workflow_ids=["order", "\0"], limit=2) == ["c", "b"]
    assert await store.claim_executions(TWO, workflow_ids=[]) == []
    assert await store.claim_executions(TWO) == ["a", "other"]


async def test_claimers_at_the_same_time_never_get_the_same(connection: Any, store: PostgresExecutionStore) -> None:
    ids = [f"e{n:02}" for n in range(60)]
    await make(store, *ids)
    await let_run_out(connection)
    claimed = await asyncio.gather(*(store.claim_executions(Lease(f"h{n}", 60), limit=5) for n in range(16)))
    while more := await store.claim_executions(TWO, limit=5):
        claimed.append(more)
    assert sorted(each for part in claimed for each in part) == ids


async def test_a_claimer_does_not_wait_for_another_one(connection: Any, store: PostgresExecutionStore) -> None:
    await make(store, "busy", "idle")
    await let_run_out(connection)
    async with connection.transaction():
        await connection.execute("SELECT FROM spane.execution_leases WHERE execution_id = 'busy' FOR UPDATE")
        assert await asyncio.wait_for(store.claim_executions(TWO), 5) == ["idle"]


async def test_a_lease_is_of_an_execution_that_is_there_and_of_somebody(store: PostgresExecutionStore) -> None:
    for execution_id in ("nobody", "\0"):
        with pytest.raises(UnknownExecutionError):
            await store.acquire_lease(execution_id, ONE)
    await store.create_execution("order", execution_id="e")
    for lease in (Lease("", 1), Lease("\0", 1), Lease("x", 0), Lease("x", float("nan")), Lease("x", float("inf"))):
        with pytest.raises(InvalidValueError):
            await store.acquire_lease("e", lease)
    await store.release_lease("nobody", "one")


async def count_waiting(connection: Any) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_leases_are_renewed_in_the_order_of_their_executions(
    store: PostgresExecutionStore, connection: Any, migrated_postgres_url: str
) -> None:
    """Who writes results locks leases in that order, too: otherwise the two would wait for each other."""
    await make(store, "c", "b", "a")
    other = await asyncpg.connect(migrated_postgres_url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM spane.execution_leases WHERE execution_id = 'b' FOR UPDATE")
            renewing = asyncio.create_task(store.renew_leases(ONE))
            async with asyncio.timeout(10):
                while not await count_waiting(connection):  # noqa: ASYNC110 - the server waits: there is no event
                    await asyncio.sleep(0.01)
            free = await connection.fetch("SELECT execution_id FROM spane.execution_leases FOR UPDATE SKIP LOCKED")
        assert [row["execution_id"] for row in free] == ["c"]
        assert await renewing == ["a", "b", "c"]
    finally:
        await other.close()
