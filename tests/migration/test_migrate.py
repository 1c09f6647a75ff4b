"""What `migrate` promises, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.errors import ConfigurationError, SchemaError, StoreError, StoreUnavailableError
from spane_otel.stores.postgres import PostgresExecutionStore, statements
from spane_otel.stores.postgres.migrate import migrate
from spane_otel.stores.postgres.statements import load_script, migration_names, sql_folder
from tests.servers import PostgresServer


@pytest_asyncio.fixture
async def connection(postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def describe(connection: Any, schema: str = "spane") -> dict[str, list[tuple[Any, ...]]]:
    """Return what the catalogs say of a schema, but for when a migration was applied."""
    queries = {
        "columns": """SELECT relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
                             collname, pg_get_expr(adbin, adrelid)
                        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
                        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                       WHERE relnamespace = $1::text::regnamespace AND attnum > 0 AND NOT attisdropped""",
        "relations": """SELECT relname, relkind, pg_get_partkeydef(oid), reloptions
                          FROM pg_class WHERE relnamespace = $1::text::regnamespace""",
        "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = $1::text",
        "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
                            FROM pg_constraint WHERE connamespace = $1::text::regnamespace""",
        "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = $1::text::regnamespace",
        "migrations": f"SELECT version, name FROM {schema}.migrations WHERE $1::text IS NOT NULL",
        "settings": f"SELECT name, value FROM {schema}.settings WHERE $1::text IS NOT NULL",
    }
    return {
        kind: sorted(tuple(row) for row in await connection.fetch(query, schema)) for kind, query in queries.items()
    }


async def test_a_new_schema_and_one_that_was_migrated_step_by_step_are_the_same(
    connection: Any, postgres_url: str
) -> None:
    await migrate(postgres_url, "made_at_once")
    await connection.execute("CREATE SCHEMA step_by_step")
    for name in migration_names():
        for statement in load_script(f"migrations/{name}.sql", "step_by_step"):
            await connection.execute(statement)
        await connection.execute(
            "INSERT INTO step_by_step.migrations (version, name) VALUES ($1, $2)", int(name[:4]), name
        )
    one, other = await describe(connection, "made_at_once"), await describe(connection, "step_by_step")
    for kind, rows in one.items():
        renamed = [tuple(str(each).replace("made_at_once", "step_by_step") for each in row) for row in rows]
        assert sorted(renamed) == sorted(tuple(str(each) for each in row) for row in other[kind]), kind


def test_migrations_are_numbered_without_a_gap_and_named() -> None:
    names = migration_names()
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert all(name[4] == "_" and name[5:].replace("_", "").isalnum() and name.islower() for name in names)


async def test_ten_migrators_at_once_migrate_once(connection: Any, postgres_url: str) -> None:
    applied = await asyncio.gather(*(migrate(postgres_url) for _ in range(10)))
    assert sorted(applied, key=len) == [[]] * 9 + [migration_names()]
    assert [row["name"] for row in await connection.fetch("SELECT name FROM spane.migrations")] == migration_names()


async def test_migrating_again_changes_nothing(connection: Any, postgres_url: str) -> None:
    assert await migrate(postgres_url) == migration_names()
    before = await describe(connection)
    assert await migrate(postgres_url) == []
    assert await describe(connection) == before


async def test_two_schemas_of_one_database_are_independent(postgres_url: str) -> None:
    for schema in ("one", "user"):  # a reserved word is a name like any other
        await migrate(postgres_url, schema)
        async with PostgresExecutionStore(postgres_url, schema=schema) as store:
            await store.create_execution("order", execution_id=f"in {schema}")
            assert [each.execution_id for each in await store.list_executions()] == [f"in {schema}"]


@pytest.fixture
def more_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of sql/ to which a test may add migrations, in the place of ours."""
    for path in sql_folder().rglob("*.sql"):
        copy = tmp_path / path.relative_to(sql_folder())
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(statements, "_PACKED", tmp_path)
    return tmp_path


def add_migration(folder: Path, text: str) -> str:
    name = f"{len(migration_names()) + 1:04}_more"
    (folder / "migrations" / f"{name}.sql").write_text(text, "utf-8")
    return name


async def test_only_what_is_missing_is_applied(connection: Any, postgres_url: str, more_migrations: Path) -> None:
    await migrate(postgres_url)
    name = add_migration(more_migrations, "CREATE TABLE spane.more (a text DEFAULT 'a;b');\n-- and ;\nSELECT 1;")
    assert await migrate(postgres_url) == [name]
    assert await connection.fetchval("INSERT INTO spane.more DEFAULT VALUES RETURNING a") == "a;b"


async def test_a_migration_that_fails_leaves_nothing_and_no_version(
    connection: Any, postgres_url: str, more_migrations: Path
) -> None:
    await migrate(postgres_url)
    before = await describe(connection)
    add_migration(more_migrations, "CREATE TABLE spane.more (a text); SELECT 1 / 0;")
    with pytest.raises(StoreError, match="division by zero"):
        await migrate(postgres_url)
    assert await describe(connection) == before


async def test_a_migration_gives_way_to_who_holds_the_table(
    connection: Any, postgres_url: str, more_migrations: Path
) -> None:
    """A blocked ALTER makes every later reader wait behind it, so it lets go after two seconds and tries again."""
    await migrate(postgres_url)
    name = add_migration(more_migrations, "ALTER TABLE spane.executions ADD COLUMN more text;")
    async with connection.transaction():
        await connection.execute("LOCK TABLE spane.executions IN ACCESS SHARE MODE")
        migrating = asyncio.create_task(migrate(postgres_url))
        reader = await asyncpg.connect(postgres_url)
        try:
            while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not migrating.done()
            await asyncio.wait_for(reader.fetch("SELECT FROM spane.executions"), 10)
        finally:
            await reader.close()
        assert not migrating.done()
    assert await migrating == [name]


@pytest.mark.parametrize("table", ["executions", "workflows", "execution_spans", "settings"])
async def test_a_schema_with_tables_of_somebody_else_is_refused(connection: Any, postgres_url: str, table: str) -> None:
    await connection.execute(f"CREATE TABLE public.{table} (id int)")
    with pytest.raises(SchemaError, match=f"{table}.*SPANE_SCHEMA"):
        await migrate(postgres_url, "public")
    assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'execution_traces'") == 0


async def test_a_bookkeeping_table_of_somebody_else_is_refused(connection: Any, postgres_url: str) -> None:
    await connection.execute("CREATE TABLE public.migrations (id int, migration text, batch int)")
    with pytest.raises(SchemaError, match="SPANE_SCHEMA"):
        await migrate(postgres_url, "public")


async def test_tables_of_other_names_are_left_alone(connection: Any, postgres_url: str) -> None:
    await connection.execute("CREATE TABLE public.customers (id int)")
    await migrate(postgres_url, "public")
    assert await connection.fetchval("SELECT count(*) FROM public.customers") == 0


async def test_a_database_that_is_not_utf8_is_refused(postgres_server: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres_server.url)
    name = "spane_test_latin1"
    try:
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        with pytest.raises(SchemaError, match="LATIN1"):
            await migrate(urlunsplit(urlsplit(postgres_server.url)._replace(path=f"/{name}")))
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name}")
        await connection.close()


async def test_a_server_that_is_not_there_is_said_so() -> None:
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1"):
        await migrate("postgresql://u:secret@127.0.0.1:1/d")


async def test_a_name_that_no_schema_may_have_is_refused(postgres_url: str) -> None:
    for name in ("", 'a"b', "a.b", "pg_temp", "Upper", "a" * 64):
        with pytest.raises(ConfigurationError):
            await migrate(postgres_url, name)
        with pytest.raises(ConfigurationError):
            PostgresExecutionStore(postgres_url, schema=name)


async def refusal(url: str, schema: str = "spane") -> str:
    async with PostgresExecutionStore(url, schema=schema) as store:
        with pytest.raises(SchemaError) as raised:
            await store.ping()
        with pytest.raises(SchemaError):
            await store.get_execution("e")
        return str(raised.value)


async def test_a_store_refuses_a_schema_that_is_not_of_its_version(
    connection: Any, postgres_url: str, more_migrations: Path
) -> None:
    assert "spane-otel migrate" in await refusal(postgres_url)
    await connection.execute("CREATE TABLE public.migrations (id int)")
    assert "SPANE_SCHEMA" in await refusal(postgres_url, "public")
    await migrate(postgres_url)
    name = add_migration(more_migrations, "SELECT 1;")
    assert "spane-otel migrate" in await refusal(postgres_url)
    await migrate(postgres_url)
    (more_migrations / "migrations" / f"{name}.sql").unlink()
    assert "newer" in await refusal(postgres_url)
    with pytest.raises(SchemaError, match="newer"):
        await migrate(postgres_url)


async def test_a_store_that_was_refused_works_once_the_schema_is_there(postgres_url: str) -> None:
    async with PostgresExecutionStore(postgres_url) as store:
        with pytest.raises(SchemaError):
            await store.get_execution("e")
        await migrate(postgres_url)
        assert await store.get_execution("e") is None
        await store.ping()
