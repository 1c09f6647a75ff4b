"""The load path on a real server: what the database refuses, and how durable an answer is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.identity import resource_row
from spane_otel.records import Batch
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.rows import batch, log, root, span, trace_id

NOISE = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(3_000))
"""Text of 9 kB that hardly compresses: no index takes it (54000), though every column does."""


@pytest_asyncio.fixture
async def connection(migrated_postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


def reasons(result: Any) -> list[tuple[str, int, str]]:
    return [(each.signal, each.index, each.reason) for each in result.rejected]


async def test_a_row_that_only_the_database_refuses_costs_itself(store: PostgresExecutionStore) -> None:
    rows = [span(f"{number}", parent="-", start=number) for number in range(100)]
    rows[37] = span("37", start=37, service=NOISE)
    rows[80] = span("80", start=80, service=NOISE)
    result = await store.write(batch(*rows, log("a")))
    assert reasons(result) == [("spans", 37, "too_large"), ("spans", 80, "too_large")]
    assert (result.spans_stored, result.logs_stored, result.spans_duplicate) == (98, 1, 0)
    trace = await store.get_trace_by_id(trace_id("t").hex())
    assert trace is not None
    assert len(trace.spans) == 98


async def test_every_delivery_of_a_refused_row_is_answered(store: PostgresExecutionStore) -> None:
    bad = span("bad", service=NOISE)
    result = await store.write(batch(bad, span("good"), bad, span("good")))
    assert reasons(result) == [("spans", 0, "too_large"), ("spans", 2, "too_large")]
    assert (result.spans_stored, result.spans_duplicate) == (2, 1)


async def test_a_root_whose_execution_can_not_be_stored_costs_itself(store: PostgresExecutionStore) -> None:
    result = await store.write(batch(root("e", workflow=NOISE), root("f")))
    assert reasons(result) == [("spans", 0, "too_large")]
    assert [each.execution_id for each in await store.list_executions()] == ["f"]


async def test_what_points_to_a_resource_that_can_not_be_stored_is_refused(store: PostgresExecutionStore) -> None:
    broken = resource_row('{"service.name":', service="shop")
    rows = batch(span("a", resource_id=broken.resource_id), span("b"), log("c", resource_id=broken.resource_id))
    rows = Batch(rows.spans, rows.logs, {**rows.resources, broken.resource_id: broken}, rows.scopes)
    result = await store.write(rows)
    assert reasons(result) == [("logs", 0, "invalid_value"), ("spans", 0, "invalid_value")]
    assert (result.spans_stored, result.logs_stored) == (1, 0)


async def test_a_process_that_can_not_be_stored_costs_what_names_it(store: PostgresExecutionStore) -> None:
    result = await store.write(batch(span("a", process_id=NOISE), span("b", process_id="p"), heartbeats=[NOISE, "p"]))
    assert reasons(result) == [("spans", 0, "too_large")]
    assert result.spans_stored == 1


@pytest.mark.parametrize("default", ["off", "local", "remote_write", "on", "remote_apply"])
async def test_an_answer_waits_for_the_disk(connection: Any, migrated_postgres_url: str, default: str) -> None:
    """`synchronous_commit` is raised to `on` where the server's is weaker; a stronger one is left."""
    await connection.execute(f"""
        ALTER DATABASE {await connection.fetchval("SELECT current_database()")} SET synchronous_commit = {default};
        CREATE TABLE public.seen (setting text);
        CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END$$;
        CREATE TRIGGER look AFTER INSERT ON spane.changes EXECUTE FUNCTION public.look()""")
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        await store.write(batch(root("e")))
        await store.create_execution("order")
    seen = {row["setting"] for row in await connection.fetch("SELECT setting FROM public.seen")}
    assert seen == {"remote_apply" if default == "remote_apply" else "on"}


async def test_ordinary_batches_leave_executions_alone(connection: Any, store: PostgresExecutionStore) -> None:
    """A stamped span of a link that this writer has committed waits for nobody who holds the execution."""
    await store.write(batch(root("e", trace="t", end=None)))
    async with connection.transaction():
        await connection.execute("SELECT FROM spane.executions FOR UPDATE")
        inner = span("inner", parent="root of e", execution="e", node="n", start=1)
        async with asyncio.timeout(5):
            assert (await store.write(batch(inner))).spans_stored == 1


async def test_writers_in_opposite_orders_do_not_deadlock(
    connection: Any, store: PostgresExecutionStore, migrated_postgres_url: str
) -> None:
    rows = [root(f"e{number}", end=None) for number in range(40)]

    async with PostgresExecutionStore(migrated_postgres_url) as other:
        for revision in range(1, 6):
            for row in rows:
                row.revision = revision
            await asyncio.gather(store.write(batch(*rows)), other.write(batch(*rows[::-1])))
    deadlocks = await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks == 0


async def test_the_feed_misses_nothing_that_commits_late(connection: Any, store: PostgresExecutionStore) -> None:
    """A transaction begins, another commits and is seen, then the first commits: both are seen, each once."""
    cursor, _ = await store.poll_changes()
    late = connection.transaction()
    await late.start()
    await connection.execute("INSERT INTO spane.changes (kind, execution_id) VALUES ('execution', 'late')")
    await store.create_execution("order", execution_id="early")
    seen = []
    for _ in range(2):
        cursor, changes = await store.poll_changes(cursor)
        seen += [each.execution_id for each in changes]
    assert seen == ["early"]
    await late.commit()
    for _ in range(2):
        cursor, changes = await store.poll_changes(cursor)
        seen += [each.execution_id for each in changes]
    assert seen == ["early", "late"]


async def test_changes_older_than_an_hour_are_deleted_by_whoever_polls(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await store.create_execution("order", execution_id="old")
    await connection.execute("UPDATE spane.changes SET at = now() - interval '2 hours'")
    await store.create_execution("order", execution_id="new")
    cursor, _ = await store.poll_changes()
    store._changes._trim_at = 0
    await store.poll_changes(cursor)
    assert [row["execution_id"] for row in await connection.fetch("SELECT execution_id FROM spane.changes")] == ["new"]


async def test_a_trace_that_many_executions_share_is_listed_once(store: PostgresExecutionStore) -> None:
    await store.write(batch(*(root(f"e{number}", trace="t", start=number) for number in range(30)), root("f", start=7)))
    pages = [await store.list_traces(limit=1)]
    while pages[-1].next is not None:
        pages.append(await store.list_traces(limit=1, cursor=pages[-1].next))
    assert [each.trace_id for page in pages for each in page] == [trace_id("f").hex(), trace_id("t").hex()]
