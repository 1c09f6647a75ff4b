"""Bring a database's schema to the version that this code works with."""

import asyncio
import hashlib
import re
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import asyncpg
from asyncpg import Record

from spane_otel.errors import SchemaError, StoreError, StoreUnavailableError
from spane_otel.settings import mask_url
from spane_otel.stores.postgres.classify import Fate, classify
from spane_otel.stores.postgres.schema import BOOKKEEPING
from spane_otel.stores.postgres.statements import check_schema_name, load_script, load_statements, migration_names

OLDEST_SERVER: Final = 150_000
PATIENCE_SECONDS: Final = 60.0
"""How long another migrator, or a lock on a table, is waited for."""
_WAIT_SECONDS: Final = 0.2
_CONNECT_SECONDS: Final = 5.0
_COMMAND_SECONDS: Final = 300.0

_SPANE_TABLES: Final = frozenset(
    {
        "workflows",
        "workflow_versions",
        "node_results",
        "logs",
        "spans",
        "dlq_items",
        "state_change_audit",
        "execution_payloads",
    }
)
"""SPANE's own tables (its Drizzle schema), so that its database is not mistaken for an empty one."""
_OUR_TABLE: Final = re.compile(r'^\w+ TABLE "\w+"\.(\w+)', re.MULTILINE)


async def migrate(url: str, schema: str = "spane") -> list[str]:
    """Bring `schema` of the database at `url` up to date; return the names of the migrations applied.

    A new schema is made from schema.sql and counts every migration as applied. Each run is one transaction: a failure
    or a crash leaves the version that was there. Any number may run at once; one works, the others find it done.

    Raises:
        StoreUnavailableError: the database does not answer, or a lock was not to be had within a minute.
        SchemaError: the schema holds tables that aren't ours, is newer than this code, or the database can't hold it
            (not UTF8, older than PostgreSQL 15).
        StoreError: the database refuses a statement.

    """
    check_schema_name(schema)
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await _migrate_once(url, schema)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            fate = classify(error)
            if fate is not Fate.RETRY or monotonic() > deadline:
                where = mask_url(url)
                if fate in (Fate.RETRY, Fate.RECONNECT, Fate.UNREACHABLE):
                    raise StoreUnavailableError(f"{where} does not answer: {error}") from error
                raise StoreError(f"{where} refuses to migrate: {error}") from error
        await asyncio.sleep(_WAIT_SECONDS)


async def _migrate_once(url: str, schema: str) -> list[str]:
    connection = await asyncpg.connect(
        url,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        statement_cache_size=0,  # a pooler would lend the session, with what is prepared in it, to others
        server_settings={"application_name": "spane-otel migrate"},
    )
    try:
        async with connection.transaction(isolation="read_committed"):
            return await _Migration(connection, schema).run()
    finally:
        with suppress(Exception):  # the work is committed or rolled back already
            await connection.close(timeout=_CONNECT_SECONDS)


class _Migration:
    """One run, inside one transaction."""

    def __init__(self, connection: Any, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._statements = load_statements(schema)

    async def run(self) -> list[str]:
        await self._check_server()
        await self._fetch("limit_lock_waits")
        await self._fetch("lock_migrations", key=_lock_key(self._schema))
        columns = [row["name"] for row in await self._fetch("list_columns", schema=self._schema, table="migrations")]
        if columns == BOOKKEEPING:
            return await self._upgrade()
        await self._refuse_foreign(is_bookkeeping_foreign=bool(columns))
        return await self._create()

    async def _check_server(self) -> None:
        (server,) = await self._fetch("describe_server")
        if server["version"] < OLDEST_SERVER:
            raise SchemaError(f"PostgreSQL 15 or newer is needed, this is {server['version'] // 10_000}")
        if server["encoding"] != "UTF8":
            raise SchemaError(
                f"the database's encoding is {server['encoding']}, which can't hold every text: "
                "create one with ENCODING 'UTF8' TEMPLATE template0"
            )

    async def _refuse_foreign(self, *, is_bookkeeping_foreign: bool) -> None:
        ours = set(_OUR_TABLE.findall("\n".join(load_script("schema.sql", self._schema))))
        present = {row["name"] for row in await self._fetch("list_relations", schema=self._schema)}
        foreign = sorted(present & (ours | _SPANE_TABLES))
        if foreign or is_bookkeeping_foreign:
            raise SchemaError(
                f"schema {self._schema!r} holds tables that aren't spane-otel's: {', '.join(foreign)}; "
                "name another schema with SPANE_SCHEMA"
            )

    async def _create(self) -> list[str]:
        if not await self._fetch("find_schema", schema=self._schema):
            await self._fetch("create_schema")
        await self._run_script("schema.sql")
        names = migration_names()
        for name in names:
            await self._record(name)
        return names

    async def _upgrade(self) -> list[str]:
        applied = {row["name"] for row in await self._fetch("list_migrations")}
        known = migration_names()
        if applied - set(known):
            raise SchemaError(f"schema {self._schema!r} was made by a newer spane-otel: upgrade this program")
        missing = [name for name in known if name not in applied]
        for name in missing:
            await self._run_script(f"migrations/{name}.sql")
            await self._record(name)
        return missing

    async def _run_script(self, name: str) -> None:
        for statement in load_script(name, self._schema):
            await self._connection.execute(statement)

    async def _record(self, name: str) -> None:
        await self._fetch("record_migration", version=int(name[:4]), name=name)

    async def _fetch(self, name: str, /, **values: Any) -> list[Record]:
        text, arguments = self._statements[name].bind(values)
        rows: list[Record] = await self._connection.fetch(text, *arguments)
        return rows


def _lock_key(schema: str) -> int:
    """Return the number that migrators of one schema lock: any that nobody else would choose."""
    digest = hashlib.blake2b(f"spane-otel migrate {schema}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
