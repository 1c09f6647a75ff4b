"""Connections: two pools for each event loop, one for writing and one for reading, every wait with a deadline.

An asyncpg pool belongs to the loop that made it, while a store is used from several loops and threads. After a fork
the child makes its own; it keeps what it inherited unused, since closing that would end the parent's connections.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from spane_otel.stores.postgres.statements import Statement

Use = Literal["write", "read"]
USES: Final[tuple[Use, ...]] = ("write", "read")
Connection: TypeAlias = "PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"  # the classes are generic to type checkers alone

CONNECT_SECONDS: Final = 5.0
ACQUIRE_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 5.0

_WEAK_COMMITS: Final = frozenset({"off", "local", "remote_write"})
"""Weaker than `on` (PostgreSQL, synchronous_commit); `remote_apply` is stronger."""


class BusyPoolError(TimeoutError):
    """Every connection is in use, or a new one is not made in time."""


class Pools:
    """The pools of every loop."""

    def __init__(self, url: str, prepare: Statement, pool_size: int) -> None:
        self._url = url
        self._prepare = prepare
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, LoopPools] = {}
        self._pid = os.getpid()
        self._inherited: list[object] = []
        self.is_commit_weak = False
        """Whether the server, left alone, answers COMMIT before it is on disk."""

    @asynccontextmanager
    async def acquire(self, use: Use) -> AsyncIterator[Connection]:
        """Lend a connection of the running loop.

        Raises:
            Exception: whatever the driver says; `classify` knows it.

        """
        pools = await self._pools()
        pool = pools.pools[use]
        try:
            connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
        except TimeoutError as error:
            raise BusyPoolError(f"no connection within {ACQUIRE_SECONDS:g} s") from error
        try:
            yield connection
        finally:
            await pool.release(connection, timeout=CLOSE_SECONDS)

    async def expire(self) -> None:
        """Use none of this loop's connections again: the server they lead to is gone or no longer the primary."""
        for pool in (await self._pools()).pools.values():
            await pool.expire_connections()

    async def aclose(self) -> None:
        """Close every loop's connections; safe to call twice."""
        self._leave_parent()
        with self._lock:
            held = list(self._by_loop.items())
        here = asyncio.get_running_loop()
        for loop, pools in held:
            if loop is here:
                await pools.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(pools.aclose(), loop)
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.wrap_future(closing), 2 * CLOSE_SECONDS)

    async def _pools(self) -> "LoopPools":
        self._leave_parent()
        loop = asyncio.get_running_loop()
        pools = self._by_loop.get(loop)
        if pools is None:
            pools = LoopPools({use: self._new_pool() for use in USES}, lambda: self._forget(loop))
            with self._lock:
                self._by_loop[loop] = pools
            await pools.open()  # gives no other task of this loop a turn
        return pools

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._by_loop.pop(loop, None)

    def _leave_parent(self) -> None:
        """In a forked child, begin anew."""
        if os.getpid() != self._pid:
            self._inherited.append(self._by_loop)
            self._by_loop = {}
            self._lock = threading.Lock()
            self._pid = os.getpid()

    def _new_pool(self) -> Pool:
        return asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._pool_size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            max_inactive_connection_lifetime=300,
            init=self._prepare_connection,
            reset=_keep_session,
            server_settings={"application_name": "spane-otel"},
        )

    async def _prepare_connection(self, connection: Any) -> None:
        text, arguments = self._prepare.bind({})
        self.is_commit_weak = await connection.fetchval(text, *arguments) in _WEAK_COMMITS


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
