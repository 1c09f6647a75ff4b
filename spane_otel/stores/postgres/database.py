"""One database: statements by name, transactions, and repeating what may succeed on the second try."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any, Final, Literal, NoReturn, TypeVar

from asyncpg import Record

from spane_otel.errors import InvalidValueError, SchemaError, SpaneError, StoreError, StoreUnavailableError
from spane_otel.settings import mask_url
from spane_otel.stores.postgres.classify import Fate, classify, poison_reason
from spane_otel.stores.postgres.origins import Resources, Scopes
from spane_otel.stores.postgres.pool import Connection, Pools, PoolSettings, Use
from spane_otel.stores.postgres.schema import check_schema
from spane_otel.stores.postgres.statements import check_schema_name, load_statements

RETRY_SECONDS: Final = 5.0
"""Errors that pass are waited out for this long."""
_FIRST_WAIT: Final = 0.02
_LONGEST_WAIT: Final = 0.5
_PASSING: Final = (Fate.RETRY, Fate.RECONNECT, Fate.POOLED)

Isolation = Literal["read_committed", "repeatable_read"]

T = TypeVar("T")
Operation = Callable[["Session"], Awaitable[T]]


class Session:
    """A connection lent for one operation, with the statements of one schema."""

    def __init__(self, connection: Connection, database: "Database", whole: AsyncExitStack | None) -> None:
        self._connection = connection
        self._database = database
        self._whole = whole
        """Where the session is lent to us, too, and for one transaction only: the end of that one."""
        self._is_begun = False
        self.schema: Final = database.schema
        self.resources: Final = database.resources
        self.scopes: Final = database.scopes

    async def fetch(self, name: str, /, **values: Any) -> list[Record]:
        """Run a statement of sql/queries and return its rows."""
        text, arguments = await self._bind(name, values)
        rows: list[Record] = await self._connection.fetch(text, *arguments)
        return rows

    async def fetchrow(self, name: str, /, **values: Any) -> Record | None:
        """Run a statement and return its first row, if there is one."""
        text, arguments = await self._bind(name, values)
        row: Record | None = await self._connection.fetchrow(text, *arguments)
        return row

    async def execute(self, name: str, /, **values: Any) -> int:
        """Run a statement and return how many rows it wrote."""
        text, arguments = await self._bind(name, values)
        tag: str = await self._connection.execute(text, *arguments)
        return int(tag.rpartition(" ")[2])

    async def commit(self, name: str, /, **values: Any) -> list[Record]:
        """Run a statement that is a transaction by itself, and return its rows once they are durable."""
        if not self._database.pools.is_commit_weak:
            return await self.fetch(name, **values)
        async with self.transaction():
            return await self.fetch(name, **values)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Commit what is done inside, durably: an acknowledgement given afterwards holds."""
        async with self._begin("read_committed"):
            if self._database.pools.is_commit_weak:
                await self.execute("raise_commit")
            yield

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[None]:
        """Have all that is read inside be of one moment."""
        async with self._begin("repeatable_read", readonly=True):
            yield

    @asynccontextmanager
    async def _begin(self, isolation: Isolation, *, readonly: bool = False) -> AsyncIterator[None]:
        if self._whole is None:
            async with self._connection.transaction(isolation=isolation, readonly=readonly):
                yield
        else:
            await self._begin_whole(self._whole, isolation, readonly=readonly)
            yield

    async def _begin_whole(self, whole: AsyncExitStack, isolation: Isolation, *, readonly: bool = False) -> None:
        """Begin the one transaction that the operation is; what the operation begins itself becomes a part of it."""
        if not self._is_begun:
            self._is_begun = True
            await whole.enter_async_context(self._connection.transaction(isolation=isolation, readonly=readonly))
            await self.execute("prepare_transaction", **self._database.pools.limits)

    async def _bind(self, name: str, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        if self._whole is not None:
            await self._begin_whole(self._whole, "read_committed")
        return self._database.statements[name].bind(values)


class Database:
    """A database and a schema in it."""

    def __init__(self, url: str, schema: str, settings: PoolSettings) -> None:
        self.schema: Final = check_schema_name(schema)
        self.address: Final = mask_url(url)
        self.statements: Final = load_statements(schema)
        self.pools: Final = Pools(url, self.statements, settings)
        self.resources: Final = Resources()
        self.scopes: Final = Scopes()
        self._is_checked = False

    async def check(self) -> None:
        """Return if the database answers, takes writes and holds our schema; what was known before doesn't count."""
        self._is_checked = False
        await self.run("write", _check_writable)

    async def run(self, use: Use, operation: Operation[T]) -> T:
        """Return what `operation` returns, repeated on errors that pass, for RETRY_SECONDS.

        Whatever it does is done again from the start, so it is one transaction, or idempotent.

        Raises:
            StoreUnavailableError: the database does not answer, or not now; the driver's error is the cause.
            SchemaError: a table is missing.
            StoreError: the database refuses.
            PoisonError: the database refuses a value.
            MissingPartitionError: a row has no partition.

        """
        deadline = monotonic() + RETRY_SECONDS
        wait = _FIRST_WAIT
        while True:
            try:
                async with self._lend(use) as session:
                    if not self._is_checked:
                        await check_schema(session)
                        self._is_checked = True
                    return await operation(session)
            except SpaneError:
                raise
            except Exception as error:  # noqa: BLE001 - classified below, and never swallowed
                fate = classify(error)
                if fate is Fate.POOLED:
                    self.pools.expect_pooler()
                if fate is Fate.RECONNECT:
                    # One repetition is not enough: every idle connection of the pool may be as dead as this one.
                    await self.pools.expire()
                if fate not in _PASSING or monotonic() + wait > deadline:
                    self._give_up(error, fate)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads writers, guards nothing
            wait = min(2 * wait, _LONGEST_WAIT)

    @asynccontextmanager
    async def _lend(self, use: Use) -> AsyncIterator[Session]:
        async with self.pools.acquire(use) as connection:
            if self.pools.is_pooled:
                async with AsyncExitStack() as whole:
                    yield Session(connection, self, whole)
            else:
                yield Session(connection, self, None)

    def _give_up(self, error: Exception, fate: Fate) -> NoReturn:
        match fate:
            case Fate.RETRY | Fate.RECONNECT | Fate.POOLED | Fate.UNREACHABLE:
                raise StoreUnavailableError(f"{self.address} does not answer: {describe(error)}") from error
            case Fate.POISON:
                raise PoisonError(error) from error
            case Fate.NO_PARTITION:
                raise MissingPartitionError(f"no partition for a row in {self.address}") from error
            case Fate.SCHEMA:
                self._is_checked = False
                raise SchemaError(
                    f"schema {self.schema!r} of {self.address} is not complete ({describe(error)}): "
                    "run `spane-otel migrate`"
                ) from error
            case _:
                raise StoreError(f"{self.address} refuses: {describe(error)}") from error


async def _check_writable(session: Session) -> None:
    await session.execute("check_writable")


class PoisonError(InvalidValueError):
    """The database refuses a value, so that no repetition helps; the driver's error is the cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"the database refuses a value: {describe(error)}", poison_reason(error))


class MissingPartitionError(StoreError):
    """A row's partition is not there: its day was dropped, or nobody made it."""


def describe(error: BaseException) -> str:
    """Return an error's first line for people, its class where it has no text."""
    return str(error).partition("\n")[0] or type(error).__name__
