"""Whether a database holds our schema, and in which version."""

from typing import Any, Final, Protocol

from asyncpg import Record

from spane_otel.errors import SchemaError
from spane_otel.stores.postgres.statements import migration_names

BOOKKEEPING: Final = ["version", "name", "applied_at"]
"""The columns of our `migrations`: frameworks have tables of that name, with other columns."""


class Fetching(Protocol):
    """Runs statements of sql/queries in one schema."""

    @property
    def schema(self) -> str: ...

    async def fetch(self, name: str, /, **values: Any) -> list[Record]: ...


async def check_schema(session: Fetching) -> None:
    """Return if the schema is the one that this version of spane-otel works with.

    Raises:
        SchemaError: it is missing, older, newer or not ours; the message says what to do.

    """
    schema = session.schema
    columns = [row["name"] for row in await session.fetch("list_columns", schema=schema, table="migrations")]
    if not columns:
        raise SchemaError(f"there is no schema {schema!r} of spane-otel in this database: run `spane-otel migrate`")
    if columns != BOOKKEEPING:
        raise SchemaError(f"schema {schema!r} is not spane-otel's: name another one with SPANE_SCHEMA")
    applied = {row["name"] for row in await session.fetch("list_migrations")}
    known = migration_names()
    if applied - set(known):
        raise SchemaError(f"schema {schema!r} was made by a newer spane-otel: upgrade this program")
    if set(known) - applied:
        raise SchemaError(f"schema {schema!r} is of an older spane-otel: run `spane-otel migrate`")
