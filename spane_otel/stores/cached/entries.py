"""What Redis keeps of one database: entries that are there or not, and never any trouble.

Each look is bounded in time; after a failure Redis is left alone for some seconds. Only forgetting has a duty: what
could not be forgotten is *owed*, and tried again until Redis has done it or the entry's time is up. As long as this
process owes it, it does not read it.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

from msgspec import Struct
from redis.asyncio import Redis

from spane_otel.counters import Sample
from spane_otel.stores.cached.clients import Call, Clients
from spane_otel.stores.cached.scripts import (
    EPOCH_MILLISECONDS,
    FORGET,
    GENERATION_MILLISECONDS,
    HELD,
    KEEP,
    KEEP_MILLISECONDS,
    LOOK_UP,
)
from spane_otel.stores.cached.texts import SHAPE

_log: Final = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 0.05
REST_SECONDS: Final = 5.0
"""After a failure Redis is not asked for so long."""
OWED_TIMEOUT_SECONDS: Final = 2.0
OWED_REST_SECONDS: Final = 1.0
OWED_LIMIT: Final = 10_000
"""More executions to forget than this: all are."""
PER_CALL: Final = 1_000
"""Executions forgotten in one step at most: Redis does nothing else meanwhile."""

T = TypeVar("T")


class Entry(Struct, frozen=True):
    """What was found of an execution, and what it takes to keep more."""

    values: list[bytes | None]
    """One for each field that was asked for."""
    counts: bool
    """Whether anything is kept of this execution."""
    milliseconds: int
    generation: bytes
    epoch: bytes
    prefix: str


class Entries:
    """The entries of one database in one Redis; may be used from any thread and event loop."""

    def __init__(
        self,
        url: str,
        identify: Callable[[], Awaitable[str]],
        *,
        ttl_seconds: float,
        timeout_seconds: float,
        rest_seconds: float = REST_SECONDS,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._clients: Final = Clients(url)
        self._identify: Final = identify
        self._ttl_ms: Final = max(1, int(ttl_seconds * 1_000))
        self._timeout: Final = timeout_seconds
        self._rest: Final = rest_seconds
        self._now: Final = now
        self._identity: str | None = None
        self._resting_until = float("-inf")
        self._owed: Final[dict[str, float]] = {}
        """Executions to be forgotten, and until when that matters."""
        self._owes_all = False
        self._payer: asyncio.Task[None] | None = None
        self._started: Final[set[asyncio.Task[Any]]] = set()
        self.counts: Final = dict.fromkeys(("hit", "miss", "skipped", "failed"), 0)

    async def look_up(self, execution_id: str, fields: Sequence[str]) -> Entry | None:
        """Return what is kept of an execution; None if Redis is not asked or does not answer."""
        if self._owes_all or execution_id in self._owed:
            self.counts["skipped"] += 1
            return None

        async def look(redis: Redis, prefix: str) -> Entry:
            answer = await _run(
                redis, LOOK_UP, _keys(prefix, execution_id), [secrets.token_hex(8), EPOCH_MILLISECONDS, *fields]
            )
            milliseconds, generation, epoch, counts, *values = answer
            return Entry(values, bool(counts), milliseconds, generation, epoch, prefix)

        return await self._ask(look)

    async def keep(self, entry: Entry, execution_id: str, values: Mapping[str, bytes]) -> None:
        """Keep what was read after `entry` was looked up, unless the execution changed since."""
        if entry.generation == HELD.encode() or execution_id in self._owed:
            return

        async def write(redis: Redis, prefix: str) -> None:
            if prefix != entry.prefix:  # another life of the server
                return
            seen = [entry.milliseconds, entry.generation, entry.epoch, KEEP_MILLISECONDS, self._ttl_ms]
            pairs = [part for pair in values.items() for part in pair]
            await _run(redis, KEEP, _keys(prefix, execution_id), [*seen, *pairs])

        await self._ask(write)

    async def forget(self, execution_ids: Iterable[str], *fields: str, hold: bool = False) -> None:
        """Forget executions, or some fields of them; with `hold` nothing is kept of them until the next time."""
        wanted = list(dict.fromkeys(execution_ids))
        if not wanted:
            return

        async def drop(redis: Redis, prefix: str) -> bool:
            await _forget(redis, prefix, wanted, fields, hold=hold)
            return True

        done = None
        try:
            done = await self._ask(drop)
        finally:  # also where the caller is cancelled: what has changed has changed
            if not done:
                self._owe(wanted)

    async def get(self, name: str) -> bytes | None:
        """Return what is kept under a name of its own; None if there is nothing, or Redis does not say."""

        async def read(redis: Redis, prefix: str) -> bytes | None:
            found = await redis.get(prefix + name)
            return found if isinstance(found, bytes) else None

        return await self._ask(read)

    async def set(self, name: str, value: bytes) -> None:
        """Keep something that never changes."""

        async def write(redis: Redis, prefix: str) -> None:
            await redis.set(prefix + name, value, px=self._ttl_ms)

        await self._ask(write)

    def count(self, *, hit: bool) -> None:
        self.counts["hit" if hit else "miss"] += 1

    def samples(self) -> Iterator[Sample]:
        """Yield what the cache has to say on `/metrics`."""
        name = "spane_cache_requests_total"
        text = "What the Redis cache answered: hit, miss, skipped (left alone after a failure), failed."
        for result, count in self.counts.items():
            yield name, "counter", text, {"result": result}, count
        owed = "Executions that Redis has still to be told to forget."
        yield "spane_cache_owed_executions", "gauge", owed, {}, len(self._owed)

    async def aclose(self) -> None:
        """Try for a last time to forget what is owed, and close the connections; safe to call twice."""
        payer, self._payer = self._payer, None
        if payer is not None and payer.get_loop() is asyncio.get_running_loop():
            payer.cancel()
            await asyncio.wait([payer])
        if self._owed or self._owes_all:
            with suppress(Exception):  # whatever a broken Redis says, nobody waits for it here
                await self._within(OWED_TIMEOUT_SECONDS, self._settle())
        here = [task for task in self._started if task.get_loop() is asyncio.get_running_loop()]
        if here:
            await asyncio.wait(here, timeout=OWED_TIMEOUT_SECONDS)
        await self._clients.aclose()

    async def _ask(self, call: Call[T]) -> T | None:
        if self._now() < self._resting_until:
            self.counts["skipped"] += 1
            return None
        try:
            identity = await self._load_identity()
        except Exception:  # noqa: BLE001 - the store says it better to whoever asks it next
            return None
        try:
            return await self._within(self._timeout, self._call(call, identity))
        except Exception as error:  # noqa: BLE001 - a cache's failure is nobody else's
            self.counts["failed"] += 1
            if self._now() >= self._resting_until:
                _log.warning("Redis is left alone for %g s: %s", self._rest, str(error) or type(error).__name__)
            self._resting_until = self._now() + self._rest
            self._discard_client()
            return None

    def _call(self, call: Call[T], identity: str) -> Coroutine[Any, Any, T]:
        """Make a call with a prefix for keys in the place of the server's run id."""
        return self._clients.get().run(lambda redis, run_id: call(redis, _prefix(identity, run_id)))

    def _discard_client(self) -> None:
        client = self._clients.take()
        if client is not None:
            self._start(client.aclose())

    async def _within(self, seconds: float, call: Coroutine[Any, Any, T]) -> T:
        """Return what `call` returns; leave it alone after `seconds`, since a driver may miss that it is cancelled."""
        task = self._start(call)
        try:
            done, _ = await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            raise TimeoutError
        return task.result()

    def _start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(call, name="spane-cache")
        self._started.add(task)
        task.add_done_callback(self._finish)
        return task

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._started.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio complains of those that were left alone

    async def _load_identity(self) -> str:
        if self._identity is None:
            self._identity = await self._identify()
        return self._identity

    def _owe(self, execution_ids: Sequence[str]) -> None:
        until = self._now() + self._ttl_ms / 1_000
        self._owed.update(dict.fromkeys(execution_ids, until))
        if len(self._owed) > OWED_LIMIT:
            self._owes_all = True
            self._owed.clear()
        if self._payer is None or self._payer.done():
            self._payer = asyncio.create_task(self._pay(), name="spane-cache-owed")

    async def _pay(self) -> None:
        while self._owed or self._owes_all:
            try:
                await self._within(OWED_TIMEOUT_SECONDS, self._settle())
            except Exception:  # noqa: BLE001 - it is owed until it is done
                self._discard_client()
                await asyncio.sleep(OWED_REST_SECONDS)
                for execution_id in [each for each, until in list(self._owed.items()) if until < self._now()]:
                    self._owed.pop(execution_id, None)

    async def _settle(self) -> None:
        await self._call(self._forget_owed, await self._load_identity())

    async def _forget_owed(self, redis: Redis, prefix: str) -> None:
        if self._owes_all:
            await redis.set(_epoch(prefix), secrets.token_hex(8), px=EPOCH_MILLISECONDS)
            self._owes_all = False
        while owed := list(self._owed)[:PER_CALL]:
            marks = [self._owed.get(each) for each in owed]
            await _forget(redis, prefix, owed, ())
            for each, mark in zip(owed, marks, strict=True):
                if self._owed.get(each) == mark:  # else it changed again meanwhile
                    self._owed.pop(each, None)


async def _forget(
    redis: Redis, prefix: str, execution_ids: Sequence[str], fields: Sequence[str], *, hold: bool = False
) -> None:
    generation = HELD if hold else secrets.token_hex(8)
    for start in range(0, len(execution_ids), PER_CALL):
        keys = [key for each in execution_ids[start : start + PER_CALL] for key in _keys(prefix, each)[:2]]
        await _run(redis, FORGET, keys, [generation, GENERATION_MILLISECONDS, *fields])


async def _run(redis: Redis, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    return await redis.register_script(script)(keys=list(keys), args=list(arguments))


def _prefix(identity: str, run_id: str) -> str:
    return f"spane:cache:{identity}:{SHAPE}:{run_id}:"


def _keys(prefix: str, execution_id: str) -> list[str]:
    return [f"{prefix}e:{execution_id}", f"{prefix}g:{execution_id}", _epoch(prefix)]


def _epoch(prefix: str) -> str:
    return f"{prefix}epoch"
