"""Clients of one Redis server, one for each event loop, each bound to one life of that server.

A Redis that restarts from a snapshot, or a replica that takes over, brings back what was deleted since. So the server's
run id, new with each start, is part of every key: what an earlier life kept is never read again.
"""

import asyncio
import os
import re
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from spane_otel.errors import ConfigurationError
from spane_otel.settings import mask_url

SOCKET_SECONDS: Final = 2.0
"""Ends what nobody waits for any more."""
CLOSE_SECONDS: Final = 1.0
_RUN_ID: Final = re.compile(rb"run_id:(\w+)")


class Client:
    """A client and the life of the server that it speaks to."""

    def __init__(self, url: str) -> None:
        self.run_id: str | None = None
        # What is asked again, and when, is decided by the circuit alone.
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
        }
        self.redis: Final[Redis] = Redis.from_url(url, redis_connect_func=self._greet, **options)
        self._life: AsyncGenerator[None, None] = self._live()

    async def open(self) -> None:
        """Connect, so that `run_id` is known."""
        await anext(self._life)
        await self.redis.ping()

    async def aclose(self) -> None:
        """Close the connections; to be called in the loop that they belong to."""
        with suppress(RuntimeError):  # the loop is closing them at this moment
            await self._life.aclose()

    async def _live(self) -> AsyncGenerator[None, None]:
        """Be an open generator: whoever ends a loop (`asyncio.run`, a server) closes its generators first."""
        try:
            yield
        finally:
            with suppress(Exception):  # whatever is said of a dying connection, it is to be gone
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.redis.aclose()

    async def _greet(self, connection: Any) -> None:
        """Prepare a new connection; refuse one that leads to another life of the server than those before."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        found = _RUN_ID.search(await connection.read_response())
        run_id = found[1].decode() if found else ""
        if self.run_id not in (None, run_id):
            raise RedisConnectionError("another server answers now")
        self.run_id = run_id


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

    async def get(self) -> Client:
        """Return the client of the running loop, connected.

        Raises:
            Exception: whatever the driver says.

        """
        if os.getpid() != self._pid:  # a forked child touches nothing of its parent's
            self._inherited.append(self._by_loop)
            self._by_loop, self._pid = {}, os.getpid()
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is not None and client.run_id is not None:
            return client
        client = Client(self._url)
        try:
            await client.open()
        except BaseException:
            await client.aclose()
            raise
        with self._lock:
            held = self._by_loop.setdefault(loop, client)
        if held is not client:  # another task of this loop was faster
            await client.aclose()
        return held

    async def discard(self) -> None:
        """Use this loop's client no more: it does not answer, or leads to a server that is gone."""
        with self._lock:
            client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

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
                    await asyncio.wait_for(asyncio.wrap_future(closing), 2 * CLOSE_SECONDS)
