"""Workflow versions are read once, and never out of date."""

import asyncio
import threading

import pytest

from spane_otel.clock import ManualClock
from spane_otel.errors import ConfigurationError, StoreUnavailableError
from spane_otel.state import Workflow
from spane_otel.stores.cached.versions import WorkflowCache, WorkflowCacheOptions


class Versions:
    """Holds versions of workflows, and counts how often each is read."""

    def __init__(self, *known: tuple[str, int]) -> None:
        self.known = set(known)
        self.reads: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def get_workflow(self, workflow_id: str, version: int | None = None) -> Workflow | None:
        assert version is not None, "which version is current is no question for a cache"
        self.reads.append((workflow_id, version))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Workflow(id=workflow_id, version=version) if (workflow_id, version) in self.known else None


def cache_of(store: Versions, clock: ManualClock | None = None, **options: int) -> WorkflowCache:
    return WorkflowCache(store, WorkflowCacheOptions(**options), clock=clock)  # type: ignore[arg-type]  # reads alone


def test_the_defaults_are_spanes() -> None:
    options = WorkflowCacheOptions()
    assert (options.max_size, options.ttl_ms) == (1_000, 2 * 60 * 60 * 1_000)


@pytest.mark.parametrize("name", ["max_size", "ttl_ms"])
def test_a_number_below_0_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        WorkflowCacheOptions(**{name: -1})


async def test_a_version_is_read_once() -> None:
    store = Versions(("w", 1), ("w", 2))
    cache = cache_of(store)
    first, again, other = await cache.get("w", 1), await cache.get("w", 1), await cache.get("w", 2)
    assert first == again == Workflow(id="w", version=1)
    assert other == Workflow(id="w", version=2)
    assert store.reads == [("w", 1), ("w", 2)]


async def test_a_version_that_is_not_there_yet_is_found_once_it_is() -> None:
    store = Versions()
    cache = cache_of(store)
    assert await cache.get("w", 1) is None
    store.known.add(("w", 1))
    assert await cache.get("w", 1) is not None


async def test_a_version_is_read_again_after_its_time() -> None:
    store, clock = Versions(("w", 1)), ManualClock()
    cache = cache_of(store, clock, ttl_ms=1_000)
    await cache.get("w", 1)
    clock.advance(0.999)
    await cache.get("w", 1)
    assert len(store.reads) == 1
    clock.advance(0.001)
    await cache.get("w", 1)
    assert len(store.reads) == 2


async def test_what_was_not_asked_for_longest_goes_first() -> None:
    store = Versions(*(("w", number) for number in range(1, 4)))
    cache = cache_of(store, max_size=2)
    for number in (1, 2, 1, 3):  # 2 goes
        await cache.get("w", number)
    assert len(cache) == 2
    store.reads.clear()
    for number in (1, 3, 2):
        await cache.get("w", number)
    assert store.reads == [("w", 2)]


async def test_a_cache_without_room_keeps_nothing() -> None:
    store = Versions(("w", 1))
    cache = cache_of(store, max_size=0)
    assert await cache.get("w", 1) == await cache.get("w", 1) is not None
    assert len(store.reads) == 2
    assert len(cache) == 0


async def test_many_who_miss_one_version_at_once_read_it_once() -> None:
    store = Versions(("w", 1))
    store.gate = asyncio.Event()
    cache = cache_of(store)
    waiting = [asyncio.create_task(cache.get("w", 1)) for _ in range(50)]
    await asyncio.sleep(0)
    store.gate.set()
    assert {id(found) for found in await asyncio.gather(*waiting)} == {id(await cache.get("w", 1))}
    assert store.reads == [("w", 1)]


async def test_who_is_cancelled_takes_nobody_elses_answer_away() -> None:
    store = Versions(("w", 1))
    store.gate = asyncio.Event()
    cache = cache_of(store)
    first, second = (asyncio.create_task(cache.get("w", 1)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    store.gate.set()
    assert await second == Workflow(id="w", version=1)
    assert store.reads == [("w", 1)]


async def test_an_error_reaches_everybody_who_waits_and_is_not_kept() -> None:
    store = Versions(("w", 1))
    store.error = StoreUnavailableError("not now")
    cache = cache_of(store)
    outcomes = await asyncio.gather(*(cache.get("w", 1) for _ in range(3)), return_exceptions=True)
    assert outcomes == [store.error] * 3
    store.error = None
    assert await cache.get("w", 1) == Workflow(id="w", version=1)


async def test_event_loops_share_what_is_kept() -> None:
    store = Versions(("w", 1))
    cache = cache_of(store)
    await cache.get("w", 1)
    found: list[Workflow | None] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(cache.get("w", 1))))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert found == [Workflow(id="w", version=1)]
    assert store.reads == [("w", 1)]
