"""Clients of one Redis server, one for each event loop, each bound to one life of that server.

A Redis that restarts from a snapshot, or a replica that takes over, brings back what was deleted since. So the server's
run id, new with each start, is part of every key: what an earlier life kept is never read again.
"""

import asyncio
import os
import re
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from spane_otel.errors import ConfigurationError
from spane_otel.settings import mask_url

CONNECTIONS: Final = 8
"""Calls that are on their way at once, in each event loop; the others wait for their turn."""
SOCKET_SECONDS: Final = 2.0
"""Ends what nobody waits for any more."""
CLOSE_SECONDS: Final = 1.0
_RUN_ID: Final = re.compile(rb"run_id:(\w+)")

T = TypeVar("T")
Call = Callable[[Redis, str], Awaitable[T]]
"""What is done with a connection, given the server's run id."""


class Client:
    """The connections of one loop to one life of the server."""

    def __init__(self, url: str, forget: Callable[["Client"], None]) -> None:
        # What is asked again, and when, is decided by the circuit alone.
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
        }
        self._redis: Final[Redis] = Redis.from_url(url, redis_connect_func=self._greet, **options)
        self._forget: Final = forget
        self._run_id: str | None = None
        self._turns: Final = asyncio.Semaphore(CONNECTIONS)
        self._first: Final = asyncio.Lock()
        self._users = 0
        self._idle: Final = asyncio.Event()
        self._idle.set()
        self._life: AsyncGenerator[None, None] | None = None

    async def run(self, call: Call[T]) -> T:
        """Return what `call` returns.

        Raises:
            Exception: whatever the driver says.

        """
        self._users += 1
        self._idle.clear()
        try:
            if self._life is None:
                self._life = self._live()
                await anext(self._life)
            async with self._turns:
                return await call(self._redis, await self._learn_run_id())
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    async def aclose(self) -> None:
        """Close the connections once nobody uses them; to be called in the loop that they belong to."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SOCKET_SECONDS):
                await self._idle.wait()
        if self._life is not None:
            with suppress(RuntimeError):  # the loop is closing them at this moment
                await self._life.aclose()

    async def _live(self) -> AsyncGenerator[None, None]:
        """Be an open generator: whoever ends a loop (`asyncio.run`, a server) closes its generators first."""
        try:
            yield
        finally:
            self._forget(self)
            with suppress(Exception):  # whatever is said of a dying connection, it is to be gone
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._redis.aclose()

    async def _learn_run_id(self) -> str:
        if self._run_id is None:
            async with self._first:
                if self._run_id is None:
                    await self._redis.ping()
        return self._run_id or ""

    async def _greet(self, connection: Any) -> None:
        """Prepare a new connection; refuse one that leads to another life of the server than those before."""
        try:
            await connection.on_connect()
            await connection.send_command("INFO", "server")
            found = _RUN_ID.search(await connection.read_response())
        except BaseException:
            # Else one that was given up in the middle stays in the pool, and its next user reads the last one's answer.
            await connection.disconnect(nowait=True)
            raise
        run_id = found[1].decode() if found else ""
        if self._run_id not in (None, run_id):
            await connection.disconnect(nowait=True)
            raise RedisConnectionError("another server answers now")
        self._run_id = run_id


class Clients:
    """The client of every loop.

    Raises:
        ConfigurationError: `url` is none of a Redis.

    """

    def __init__(self, url: str) -> None:
        try:
            parse_url(url)
        except ValueError:
            raise ConfigurationError(
                f"{mask_url(url)!r} is no Redis: use redis://HOST:PORT/0, rediss://… or unix://…"
            ) from None
        self._url: Final = url
        self._lock: Final = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, Client] = {}
        self._pid = os.getpid()
        self._inherited: list[object] = []

    def get(self) -> Client:
        """Return the client of the running loop."""
        if os.getpid() != self._pid:  # a forked child touches nothing of its parent's
            self._inherited.append(self._by_loop)
            self._by_loop, self._pid = {}, os.getpid()
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            client = Client(self._url, self._forget)
            with self._lock:
                self._by_loop[loop] = client
        return client

    def take(self) -> Client | None:
        """Return this loop's client, to be closed: it does not answer, or leads to a server that is gone."""
        with self._lock:
            return self._by_loop.pop(asyncio.get_running_loop(), None)

    async def aclose(self) -> None:
        """Close every loop's client; safe to call twice."""
        with self._lock:
            held, self._by_loop = self._by_loop, {}
        here = asyncio.get_running_loop()
        for loop, client in held.items():
            if loop is here:
                await client.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(client.aclose(), loop)
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.wrap_future(closing), SOCKET_SECONDS + 2 * CLOSE_SECONDS)

    def _forget(self, client: Client) -> None:
        with self._lock:
            for loop in [loop for loop, each in self._by_loop.items() if each is client]:
                del self._by_loop[loop]
