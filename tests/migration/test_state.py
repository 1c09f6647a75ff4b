"""A database as the first schema left it, with data in it, becomes the newest one and reads the same."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import pytest_asyncio

from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.postgres.migrate import migrate
from spane_otel.stores.postgres.statements import load_script, migration_names
from tests.migration.test_migrate import describe
from tests.rows import batch, log, ns, root, span
from tests.servers import PostgresServer

FIRST = "0001_initial"
TABLES = (
    *("resources", "scopes", "processes", "executions", "execution_metadata", "execution_traces"),
    *("execution_spans", "execution_logs"),
)


class Databases(NamedTuple):
    new: str
    """Made at once, and filled."""
    old: str
    """Of the first schema, filled with the same rows."""


async def fill(store: PostgresExecutionStore) -> None:
    """Do what could be done when there was only the first schema."""
    await store.create_execution("order", execution_id="running", initial_data={"n": 1}, metadata={"tenant": "a"})
    await store.create_execution("order", execution_id="failed", metadata={"deep": {"list": [0, False, "", None]}})
    await store.set_execution_status("failed", "failed", error="no stock")
    await store.create_execution("ship", "failed", 1, execution_id="child")
    await store.create_execution("ship", execution_id="gone")
    await store.delete_execution("gone")
    await store.write(
        batch(
            root("of spans", workflow="order", end=None, process_id="p1"),
            span("node", trace="of spans", parent="root of of spans", execution="of spans", node="a"),
            span("linked", trace="linked", execution="linked", node="a"),
            span("of a caller's", trace="running", execution="running"),
            span("nobody's", trace="nobody's", attributes='{"big":9007199254740993,"f":1.0}'),
            span("a week ago", trace="week", start=-7 * 86_400, execution="week"),
            log("hello", trace="of spans", at_span="node", execution="of spans"),
            log({"a": [1]}, execution="running", uid="uid-1"),
            heartbeats=["p1"],
        )
    )


async def make_first_schema(url: str, source: Any) -> None:
    """Make the first schema at `url` and copy into it what of the rows of `source` it has columns for."""
    target = await asyncpg.connect(url)
    try:
        await target.execute("CREATE SCHEMA spane")
        for statement in load_script(f"migrations/{FIRST}.sql", "spane"):
            await target.execute(statement)
        await target.execute("INSERT INTO spane.migrations (version, name) VALUES (1, $1)", FIRST)
        for table, column in (("execution_spans", "start_ns"), ("execution_logs", "time_ns")):
            for row in await source.fetch(f"SELECT DISTINCT {column} AS at_ns FROM spane.{table} ORDER BY 1"):
                await target.execute("SELECT spane.ensure_partition($1)", row["at_ns"])
        for table in TABLES:
            columns = [
                row["attname"]
                for row in await target.fetch(
                    "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass"
                    " AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                    f"spane.{table}",
                )
            ]
            rows = await source.fetch(f"SELECT {', '.join(columns)} FROM spane.{table}")
            assert rows, table
            await target.copy_records_to_table(table, records=rows, columns=columns, schema_name="spane")
    finally:
        await target.close()


@pytest_asyncio.fixture
async def databases(postgres_server: PostgresServer, migrated_postgres_url: str) -> AsyncIterator[Databases]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        await fill(store)
    source = await asyncpg.connect(migrated_postgres_url)
    old = postgres_server.create_database()
    try:
        await make_first_schema(old, source)
        yield Databases(migrated_postgres_url, old)
    finally:
        await source.close()
        postgres_server.drop_database(old)


async def read_all(store: PostgresExecutionStore) -> dict[str, Any]:
    """Return all that a reader can see of executions and telemetry."""
    executions = list(await store.list_executions(limit=1_000))
    ids = [each.execution_id for each in executions]
    traces = list(await store.list_traces(limit=1_000))
    return {
        "executions": executions,
        "one by one": [await store.get_execution(each) for each in ids],
        "traces of executions": [await store.get_trace(each, include_children=True) for each in ids],
        "logs": [list(await store.get_logs(each)) for each in ids],
        "all logs": list(await store.list_logs(limit=1_000)),
        "traces": traces,
        "each trace": [await store.get_trace_by_id(each.trace_id) for each in traces],
        "counts": await store.count_telemetry(ids),
        "by workflow": {each: await store.get_execution_count(each) for each in (None, "order", "ship", "nobody's")},
        "families": [await store.get_execution_family(each) for each in ids],
    }


async def test_it_becomes_the_schema_that_a_new_database_has(databases: Databases) -> None:
    await migrate(databases.old)
    old, new = await asyncpg.connect(databases.old), await asyncpg.connect(databases.new)
    try:
        migrated, made = await describe(old), await describe(new)
    finally:
        await old.close()
        await new.close()
    for kind, rows in made.items():
        assert migrated[kind] == rows, kind
    assert len([row for row in made["relations"] if row[0].startswith("execution_spans_")]) >= 2


async def test_everything_reads_as_before(databases: Databases) -> None:
    assert await migrate(databases.old) == migration_names()[1:]
    async with PostgresExecutionStore(databases.old) as old, PostgresExecutionStore(databases.new) as new:
        migrated, made = await read_all(old), await read_all(new)
        for what, records in made.items():
            assert migrated[what] == records, what
        assert {each.execution_id for each in made["executions"]} == {
            *("running", "failed", "child", "of spans", "linked", "week")
        }
        assert made["by workflow"] == {None: 6, "order": 3, "ship": 1, "nobody's": 0}
        assert len(made["all logs"]) == 2


async def test_what_was_there_can_do_what_is_new(databases: Databases) -> None:
    await migrate(databases.old)
    async with PostgresExecutionStore(databases.old) as store:
        assert await store.save_workflow({"id": "order", "nodes": [{"id": "a", "type": "t"}]}) == 1
        await store.update_node_result("running", "a", {"success": True, "data": 1})
        await store.update_execution_metadata("running", {"large": "x" * 100_000})
        await store.set_execution_timeout("of spans", 1)
        assert await store.sweep_timeouts() == ["of spans"]
        assert await store.set_execution_status("running", "completed", result=0)
        await store.write(batch(root("of spans", workflow="order", end=9), root("new", workflow="order")))
        held = await store.get_execution("running")
        assert held is not None
        assert (held.status, held.result, held.workflow_version) == ("completed", 0, None)
        assert held.metadata == {"tenant": "a", "large": "x" * 100_000}
        assert [each.seq for each in await store.list_audit("running")] == [1, 2, 3]
        swept = await store.get_execution("of spans")
        assert swept is not None
        assert (swept.status, swept.error) == ("failed", "timeout")
        for execution_id in ("running", "linked", "new"):
            assert await store.delete_execution(execution_id)
        assert await store.get_execution_count("order") == 2
        assert await store.get_execution_count() == 4
        assert [each.execution_id for each in await store.list_stuck_executions(0)] == ["child"]


def test_the_week_before_is_a_partition_of_its_own() -> None:
    assert ns(-7 * 86_400) // (86_400 * 10**9) < ns(0) // (86_400 * 10**9)
