"""The stores that the suite runs against, each with what a test may do to it from outside."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import asyncpg

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


class MemorySubject(Subject):
    def __init__(self) -> None:
        self.clock = ManualClock(BASE_NS + 3_600 * SECOND)
        self.memory = InMemoryExecutionStore(clock=self.clock)
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
}
"""By name; one that begins with `postgres` is given an empty database, one with `cached` an empty Redis too."""
