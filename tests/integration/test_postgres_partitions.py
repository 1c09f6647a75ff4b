"""Partitions: made by the first writer that meets a day, whoever else does at that moment."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.clock import SECOND, ManualClock
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.rows import BASE_NS, batch, log, root, span, trace_id

DAY = 86_400 * SECOND


@pytest_asyncio.fixture
async def connection(migrated_postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


async def partitions(connection: Any, parent: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1",
        f"spane.{parent}",
    )
    return [row["name"] for row in rows]


async def days_of_partitions(connection: Any) -> list[tuple[int, int]]:
    """Return first day and day after the last of each partition of spans, in days since 1970."""
    rows = await connection.fetch(
        "SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class JOIN pg_inherits ON inhrelid = oid"
        " WHERE inhparent = 'spane.execution_spans'::regclass"
    )
    bounds = [[int(part) // DAY for part in row["bound"].split("'")[1::2]] for row in rows]
    return sorted((lower, upper) for lower, upper in bounds)


async def test_ten_callers_at_once_make_each_partition_once_while_others_insert(
    connection: Any, migrated_postgres_url: str
) -> None:
    days = [BASE_NS - number * DAY for number in range(8)]
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        inserting = True
        written = 0

        async def insert() -> None:
            nonlocal written
            while inserting:
                result = await store.write(batch(span(f"{written}", start=written / 1e6), log(f"{written}")))
                assert result.rejected == []
                written += 1

        async def ensure() -> None:
            caller = await asyncpg.connect(migrated_postgres_url)
            try:
                for day in days:
                    await caller.execute("SELECT spane.ensure_partition($1)", day)
            finally:
                await caller.close()

        inserter = asyncio.create_task(insert())
        await asyncio.gather(*(ensure() for _ in range(10)))
        inserting = False
        await inserter
        for parent in ("execution_spans", "execution_logs"):
            assert len(await partitions(connection, parent)) == len(days)
        assert written > 0
        assert (await store.stats()).spans == written


async def test_stores_that_meet_new_days_together_lose_nothing(migrated_postgres_url: str) -> None:
    async def write(number: int) -> int:
        async with PostgresExecutionStore(migrated_postgres_url) as store:
            rows = [span(f"{number}/{day}", start=-86_400 * day) for day in range(12)]
            return (await store.write(batch(*rows))).spans_stored

    assert await asyncio.gather(*(write(number) for number in range(5))) == [12] * 5


async def test_a_day_that_was_dropped_is_made_again(connection: Any, migrated_postgres_url: str) -> None:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        await store.write(batch(span("a"), log("a")))
        for parent in ("execution_spans", "execution_logs"):
            for name in await partitions(connection, parent):
                await connection.execute(f"DROP TABLE {name}")
        result = await store.write(batch(span("a"), log("a"), root("e", start=-86_400)))
        assert (result.spans_stored, result.logs_stored, result.rejected) == (2, 1, [])
        assert result.spans_duplicate == 0


async def test_what_is_older_than_is_accepted_makes_no_partition(connection: Any, migrated_postgres_url: str) -> None:
    clock = ManualClock(BASE_NS)
    async with PostgresExecutionStore(migrated_postgres_url, clock=clock, accept_past_days=2) as store:
        result = await store.write(
            batch(
                span("old", start=-3 * 86_400), span("new"), span("far", start=2 * 86_400), log("old", at=-3 * 86_400)
            )
        )
    assert [(each.signal, each.index, each.reason) for each in result.rejected] == [
        ("logs", 0, "start_out_of_window"),
        ("spans", 0, "start_out_of_window"),
        ("spans", 2, "start_out_of_window"),
    ]
    assert len(await partitions(connection, "execution_spans")) == 1


async def test_a_wider_partition_fills_the_gap_between_narrower_ones(connection: Any) -> None:
    monday = 1_699_833_600 * SECOND  # Monday 2023-11-13; weeks are counted from Thursday 1970-01-01
    for day in (0, 3):
        await connection.execute("SELECT spane.ensure_partition($1)", monday + day * DAY)
    await connection.execute("UPDATE spane.settings SET value = '7' WHERE name = 'partition_days'")
    for day in range(-10, 10):
        await connection.execute("SELECT spane.ensure_partition($1)", monday + day * DAY + 5)
    found = await days_of_partitions(connection)
    assert all(one[1] == other[0] for one, other in pairwise(found))
    # A week, Thursday to Sunday, Monday, Tuesday and Wednesday, Thursday, the rest of its week.
    assert [upper - lower for lower, upper in found] == [7, 4, 1, 2, 1, 6]


async def test_a_role_without_the_right_to_create_writes_new_days(connection: Any, migrated_postgres_url: str) -> None:
    """An application's role: it may use the schema and its tables, and put traps on its own search path."""
    await connection.execute("CREATE ROLE spane_writer LOGIN")
    try:
        await connection.execute(
            "GRANT USAGE ON SCHEMA spane TO spane_writer;"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA spane TO spane_writer"
        )
        url = migrated_postgres_url.replace("//postgres@", "//spane_writer@")
        assert url != migrated_postgres_url
        attacker = await asyncpg.connect(url)
        try:
            await attacker.execute(
                "CREATE TEMP TABLE settings (name text, value text);"
                "INSERT INTO settings VALUES ('partition_days', '36500');"
                "SET search_path = pg_temp, public"
            )
            await attacker.execute("SELECT spane.ensure_partition($1)", BASE_NS)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await attacker.execute("CREATE TABLE spane.mine (a int)")
        finally:
            await attacker.close()
        ((lower, upper),) = await days_of_partitions(connection)
        assert upper - lower == 1
        async with PostgresExecutionStore(url) as store:
            assert (await store.write(batch(span("a", start=-3 * 86_400)))).spans_stored == 1
            assert await store.get_trace_by_id(trace_id("t").hex()) is not None
    finally:
        await connection.execute("DROP OWNED BY spane_writer; DROP ROLE spane_writer")


async def test_nobody_makes_partitions_far_ahead(connection: Any) -> None:
    with pytest.raises(asyncpg.DatetimeFieldOverflowError):
        await connection.execute("SELECT spane.ensure_partition($1)", BASE_NS + 30 * DAY)
