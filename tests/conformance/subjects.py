"""The stores that the suite runs against, each with what a test may do to it from outside."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import FunctionType, ModuleType
from typing import Any, Final

import asyncpg
import redis.asyncio

from spane_otel.clock import SECOND, ManualClock, SystemClock
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.protocols import Store
from tests.conformance.faults import FaultyStore, RetryingStore, every_other
from tests.rows import BASE_NS


class Subject:
    """A store under test. A store that differs opts out by a flag; the defaults run everything."""

    without_first_answers = False
    """Writers are retried after they were executed, so what they answer is the second answer."""

    def __init__(self, store: Store) -> None:
        self.store: Store = store

    def now_ns(self) -> int:
        """Return the store's present."""
        return SystemClock().now_ns()

    async def wait(self, seconds: float) -> None:
        """Let time pass for the store."""
        await asyncio.sleep(seconds)

    async def age(self, process_id: str, seconds: float) -> None:
        """Make it so that a process was last heard of `seconds` ago."""
        raise NotImplementedError

    @asynccontextmanager
    async def open_others(self, count: int) -> AsyncIterator[list[Store]]:
        """Open other stores on the same data; the same one again where it is all there is."""
        yield [self.store] * count

    async def find(self, mark: str) -> list[str]:
        """Return where, in all that is kept but the change feed, a text with `mark` in it stands."""
        raise NotImplementedError


LARGE: Final[dict[str, Any]] = {
    "max_executions": 1_000_000,
    "max_spans_per_execution": 1_000_000,
    "max_logs_per_execution": 1_000_000,
    "finished_ttl_seconds": 1_000_000,
}


class MemorySubject(Subject):
    """The store in memory, so large that nothing goes unless a test says how much it holds."""

    def __init__(self, **limits: int) -> None:
        self.clock = ManualClock(BASE_NS + 3_600 * SECOND)
        self.memory = InMemoryExecutionStore(clock=self.clock, **{**LARGE, **limits})
        super().__init__(self.memory)

    def now_ns(self) -> int:
        return self.clock.now_ns()

    async def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)  # so that a test's time limit can strike

    async def age(self, process_id: str, seconds: float) -> None:
        seen = self.memory._state.processes._last_seen_ns
        assert process_id in seen
        seen[process_id] = self.now_ns() - int(seconds * SECOND)

    async def find(self, mark: str) -> list[str]:
        return [place for place in find_text(self.memory, mark) if "changes" not in place]


class PostgresSubject(Subject):
    def __init__(self, store: Store, url: str) -> None:
        super().__init__(store)
        self._url = url

    async def age(self, process_id: str, seconds: float) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            done = await connection.execute(
                "UPDATE spane.processes SET last_seen_at = now() - make_interval(secs => $2) WHERE process_id = $1",
                process_id,
                float(seconds),
            )
        finally:
            await connection.close()
        assert done == "UPDATE 1"

    @asynccontextmanager
    async def open_others(self, count: int) -> AsyncIterator[list[Store]]:
        from spane_otel.stores.postgres import PostgresExecutionStore

        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(PostgresExecutionStore(self._url)) for _ in range(count)]

    async def find(self, mark: str) -> list[str]:
        connection = await asyncpg.connect(self._url)
        try:
            tables = await connection.fetch(
                "SELECT relname AS name FROM pg_class WHERE relnamespace = 'spane'::regnamespace "
                "AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'changes'"
            )
            return [
                table["name"]
                for table in tables
                if await connection.fetchval(
                    f"SELECT true FROM spane.{table['name']} AS held WHERE strpos(held::text, $1) > 0 LIMIT 1", mark
                )
            ]
        finally:
            await connection.close()


class CachedSubject(PostgresSubject):
    """PostgreSQL behind Redis, which keeps what is over from the moment it is over."""

    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self._redis_url = redis_url
        self.cached: Any = self._open(postgres_url)
        super().__init__(self.cached, postgres_url)

    def _open(self, postgres_url: str) -> Any:
        from spane_otel.stores.cached.store import CachedStore
        from spane_otel.stores.postgres import PostgresExecutionStore

        inner = PostgresExecutionStore(postgres_url)
        return CachedStore(inner, self._redis_url, identify=inner.identify, settle_seconds=0)

    @asynccontextmanager
    async def open_others(self, count: int) -> AsyncIterator[list[Store]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self._open(self._url)) for _ in range(count)]

    async def find(self, mark: str) -> list[str]:
        found = await super().find(mark)
        async with redis.asyncio.from_url(self._redis_url) as client:
            for key in [key async for key in client.scan_iter(match=f"*{mark}*")]:
                # A mark that says "forgotten lately" stands for a while in the place of what was deleted.
                if b":g:" not in key or await client.ttl(key) < 0:
                    found.append(key.decode())
        return found + find_text(self.cached._run_here, mark)


def find_text(kept: object, mark: str) -> list[str]:
    """Return the paths, over members and items, from an object to each text inside it that holds `mark`."""
    found: list[str] = []
    seen = {id(kept)}
    waiting: list[tuple[str, object]] = [("", kept)]
    while waiting:
        path, each = waiting.pop()
        if isinstance(each, str):
            if mark in each:
                found.append(path)
            continue
        for name, inside in _parts(each):
            if id(inside) not in seen:
                seen.add(id(inside))
                waiting.append((f"{path}.{name}", inside))
    return found


def _parts(each: object) -> Iterator[tuple[str, object]]:
    if isinstance(each, Mapping):
        for place, (key, value) in enumerate(each.items()):
            yield f"key {place}", key
            yield str(key), value
    elif isinstance(each, Collection) and not isinstance(each, bytes | bytearray | range):
        yield from ((str(place), inside) for place, inside in enumerate(each))
    if not isinstance(each, type | ModuleType | FunctionType):
        yield from getattr(each, "__dict__", {}).items()
        for name in (*getattr(each, "__struct_fields__", ()), *getattr(each, "__slots__", ())):
            yield name, getattr(each, name, None)


Opener = Callable[[str, str], AbstractAsyncContextManager[Subject]]
"""Opens a subject over the URLs of a migrated database and of a Redis, where its name asks for them."""


@asynccontextmanager
async def open_memory(_postgres_url: str, _redis_url: str) -> AsyncIterator[Subject]:
    subject = MemorySubject()
    async with subject.memory:
        yield subject


@asynccontextmanager
async def open_postgres(postgres_url: str, _redis_url: str) -> AsyncIterator[Subject]:
    from spane_otel.stores.postgres import PostgresExecutionStore

    async with PostgresExecutionStore(postgres_url) as store:
        yield PostgresSubject(store, postgres_url)


@asynccontextmanager
async def open_cached(postgres_url: str, redis_url: str) -> AsyncIterator[Subject]:
    subject = CachedSubject(postgres_url, redis_url)
    async with subject.cached:
        yield subject


def make_faulty(opened: Opener) -> Opener:
    """Return an opener whose store executes every other mutator and then fails, before a caller who tries again."""

    @asynccontextmanager
    async def open_faulty(postgres_url: str, redis_url: str) -> AsyncIterator[Subject]:
        async with opened(postgres_url, redis_url) as subject:
            faulty: Any = FaultyStore(subject.store, every_other())
            retrying: Any = RetryingStore(faulty)
            subject.store = retrying
            subject.without_first_answers = True
            yield subject

    return open_faulty


SUBJECTS: Final[dict[str, Opener]] = {
    "memory": open_memory,
    "memory-faulty": make_faulty(open_memory),
    "postgres": open_postgres,
    "postgres-faulty": make_faulty(open_postgres),
    "postgres-cached": open_cached,
}
"""By name; one that begins with `postgres` is given an empty database, one with `cached` an empty Redis too."""
