"""Connections: for each event loop three pools, one for state, one for ingest, one for reading; every wait ends.

An asyncpg pool belongs to the loop that made it, while a store is used from several loops and threads. After a fork
the child makes its own; it keeps what it inherited unused, since closing that would end the parent's connections.

Behind a pooler such as PgBouncer a connection is lent a server for each transaction: what a session keeps (settings,
prepared statements) is lost or becomes another client's. That is found out when connecting, and lived with
(docs/adr/012-connections.md).
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from spane_otel.errors import ConfigurationError
from spane_otel.stores.postgres.statements import Statement

Use = Literal["write", "ingest", "read"]
Connection: TypeAlias = "PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"  # the classes are generic to type checkers alone

CLOSE_SECONDS: Final = 5.0
CACHED_STATEMENTS: Final = 100
LOST_SECONDS: Final = 5.0
"""An answer this much later than the server's own time-out won't come."""

_WEAK_COMMITS: Final = frozenset({"off", "local", "remote_write"})
"""Weaker than `on` (PostgreSQL, synchronous_commit); `remote_apply` is stronger."""


class PoolSettings(Struct, frozen=True, kw_only=True):
    """How many connections there are, and how long what may take; the defaults are SPANE's."""

    size: int = 20
    """At most so many in each event loop: half for reading, a quarter each for state and ingest, one at least."""
    idle_seconds: float = 20.0
    """One that is not used for so long is closed."""
    connect_seconds: float = 10.0
    """For making a connection, or waiting for one that is in use."""
    statement_seconds: float = 10.0

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1:
            raise ConfigurationError(f"pool_size must be a whole number from 1, not {self.size!r}")
        for name in ("idle_seconds", "connect_seconds", "statement_seconds"):
            if not 0 < getattr(self, name) < 86_400:
                raise ConfigurationError(f"{name} must be a number of seconds above 0, at most a day")

    @property
    def shares(self) -> dict[Use, int]:
        """How many of the connections are for what."""
        read, ingest = max(1, self.size // 2), max(1, self.size // 4)
        return {"read": read, "ingest": ingest, "write": max(1, self.size - read - ingest)}


class BusyPoolError(TimeoutError):
    """Every connection is in use, or a new one is not made in time."""


class PooledServerError(Exception):
    """Between us and the server is a pooler that nobody knew of."""


class Pools:
    """The pools of every loop."""

    def __init__(self, url: str, statements: Mapping[str, Statement], settings: PoolSettings) -> None:
        self._url = url
        self._statements = statements
        self._settings = settings
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, LoopPools] = {}
        self._pid = os.getpid()
        self._inherited: list[object] = []
        self._retired: list[tuple[asyncio.AbstractEventLoop, LoopPools]] = []
        self.is_commit_weak = False
        """Whether the server, left alone, answers COMMIT before it is on disk."""
        self.is_pooled = False
        """Whether a session is ours for one transaction only."""

    @asynccontextmanager
    async def acquire(self, use: Use) -> AsyncIterator[Connection]:
        """Lend a connection of the running loop.

        Raises:
            Exception: whatever the driver says; `classify` knows it.

        """
        try:
            pool, connection = await self._acquire(use)
        except PooledServerError:
            self.expect_pooler()
            pool, connection = await self._acquire(use)
        try:
            yield connection
        finally:
            await pool.release(connection, timeout=CLOSE_SECONDS)

    async def expire(self) -> None:
        """Use none of this loop's connections again: the server they lead to is gone or no longer the primary."""
        for pool in (await self._pools()).pools.values():
            await pool.expire_connections()

    def expect_pooler(self) -> None:
        """Keep nothing in sessions from now on; connections that do so idle until they are closed."""
        with self._lock:
            if self.is_pooled:
                return
            self.is_pooled = True
            self._retired += self._by_loop.items()
            self._by_loop = {}

    async def aclose(self) -> None:
        """Close every loop's connections; safe to call twice."""
        self._leave_parent()
        with self._lock:
            held = [*self._by_loop.items(), *self._retired]
        here = asyncio.get_running_loop()
        for loop, pools in held:
            if loop is here:
                await pools.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(pools.aclose(), loop)
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.wrap_future(closing), 2 * CLOSE_SECONDS)

    async def _acquire(self, use: Use) -> tuple[Pool, Connection]:
        pool = (await self._pools()).pools[use]
        seconds = self._settings.connect_seconds
        try:
            async with asyncio.timeout(seconds):  # asyncpg's own time-out would make a task of each call
                return pool, await pool.acquire()
        except TimeoutError as error:
            raise BusyPoolError(f"no connection within {seconds:g} s") from error

    async def _pools(self) -> "LoopPools":
        self._leave_parent()
        loop = asyncio.get_running_loop()
        pools = self._by_loop.get(loop)
        if pools is None:
            shares = self._settings.shares
            made = pools = LoopPools(
                {use: self._new_pool(size) for use, size in shares.items()}, lambda: self._forget(loop, made)
            )
            with self._lock:
                self._by_loop[loop] = pools
            await pools.open()  # gives no other task of this loop a turn
        return pools

    def _forget(self, loop: asyncio.AbstractEventLoop, pools: "LoopPools") -> None:
        with self._lock:
            if self._by_loop.get(loop) is pools:
                del self._by_loop[loop]

    def _leave_parent(self) -> None:
        """In a forked child, begin anew."""
        if os.getpid() != self._pid:
            self._inherited += [self._by_loop, self._retired]
            self._by_loop, self._retired = {}, []
            self._lock = threading.Lock()
            self._pid = os.getpid()

    def _new_pool(self, size: int) -> Pool:
        settings = self._settings
        is_pooled = self.is_pooled
        return asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=size,
            timeout=settings.connect_seconds,
            command_timeout=settings.statement_seconds + LOST_SECONDS,
            max_inactive_connection_lifetime=settings.idle_seconds,
            statement_cache_size=0 if is_pooled else CACHED_STATEMENTS,
            init=self._look_at_pooled_server if is_pooled else self._prepare_session,
            reset=_keep_session,
            server_settings={"application_name": "spane-otel"},
        )

    async def _prepare_session(self, connection: Any) -> None:
        """Make a session of our own ready.

        Raises:
            PooledServerError: it isn't our own.

        """
        row = await self._look_at_server(connection)
        # A pooler answers for many servers: it gives out keys for cancelling that are none of a server's processes.
        if row["pid"] != connection.get_server_pid():
            raise PooledServerError
        text, arguments = self._statements["prepare_session"].bind(self.limits)
        await connection.fetch(text, *arguments)

    async def _look_at_pooled_server(self, connection: Any) -> None:
        await self._look_at_server(connection)

    async def _look_at_server(self, connection: Any) -> Any:
        text, arguments = self._statements["describe_session"].bind({})
        async with connection.transaction():
            # Without a name the statement is gone afterwards, whoever has the session then.
            row = await (await connection.prepare(text, name="")).fetchrow(*arguments)
        self.is_commit_weak = row["synchronous_commit"] in _WEAK_COMMITS
        return row

    @property
    def limits(self) -> dict[str, str]:
        """How long the server lets a statement run."""
        return {"statement_timeout": f"{self._settings.statement_seconds * 1000:.0f}ms"}


class LoopPools:
    """The pools of one loop, closed with it at the latest."""

    def __init__(self, pools: dict[Use, Pool], forget: Callable[[], None]) -> None:
        self.pools = pools
        self._forget = forget
        self._life = self._live()

    async def open(self) -> None:
        for pool in self.pools.values():
            await pool  # without a least size it connects nobody yet
        await anext(self._life)

    async def aclose(self) -> None:
        """Close the connections; to be called in the loop that they belong to."""
        with suppress(RuntimeError):  # the loop is closing them at this moment
            await self._life.aclose()

    async def _live(self) -> AsyncGenerator[None, None]:
        """Be an open generator: whoever ends a loop (`asyncio.run`, a server) closes its generators first."""
        try:
            yield
        finally:
            self._forget()
            for pool in self.pools.values():
                await _close(pool)


async def _keep_session(connection: Any) -> None:
    """Leave the session as it is: nothing of ours changes it, and RESET would cost a round trip and our settings."""


async def _close(pool: Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
    except Exception:  # noqa: BLE001 - whatever the driver says of a dying connection, it is to be gone
        pool.terminate()
