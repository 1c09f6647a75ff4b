"""The smaller parts of an engine: its queue, its clock, its places."""

import asyncio

from spane_otel.clock import SECOND
from spane_otel.engine import InProcessQueue, ManualEngineClock, NodeJob, SystemEngineClock
from spane_otel.engine.nesting import child_execution_id
from spane_otel.engine.runtime import Places
from tests.unit.engine.lab import turn


def job(node_id: str, priority: int = 0) -> NodeJob:
    return NodeJob("e", node_id, priority=priority)


# --- the queue ---


async def test_a_queue_hands_out_by_priority_then_in_order() -> None:
    queue = InProcessQueue()
    for each in (job("a"), job("b", 5), job("c"), job("d", 5)):
        await queue.put(each)
    assert [(await queue.get()).node_id for _ in range(4)] == ["b", "d", "a", "c"]


async def test_who_waits_at_an_empty_queue_is_woken_one_for_each_node() -> None:
    queue = InProcessQueue()
    takers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await turn()
    await queue.put(job("a"))
    await turn()
    assert [taker.done() for taker in takers] == [True, False, False]
    for taker in takers[1:]:
        taker.cancel()
    await asyncio.gather(*takers, return_exceptions=True)


async def test_a_taker_that_is_cancelled_leaves_the_node_to_the_next() -> None:
    queue = InProcessQueue()
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await turn()
    await queue.put(job("a"))
    first.cancel()  # in the very moment in which it is its turn
    assert (await second).node_id == "a"
    await asyncio.gather(first, return_exceptions=True)


async def test_a_closed_queue_is_empty() -> None:
    queue = InProcessQueue()
    await queue.put(job("a"))
    await queue.aclose()
    await queue.aclose()
    assert len(queue) == 0


# --- time ---


async def test_a_manual_clock_wakes_who_waits_until_then() -> None:
    clock = ManualEngineClock()
    early, late = (asyncio.create_task(clock.sleep_until(clock.now_ns() + each * SECOND)) for each in (1, 2))
    await turn()
    assert clock.awaited_ns == [clock.now_ns() + SECOND, clock.now_ns() + 2 * SECOND]
    clock.advance(1)
    await turn()
    assert (early.done(), late.done()) == (True, False)
    clock.advance(1)
    await asyncio.gather(early, late)


async def test_what_has_passed_is_not_waited_for() -> None:
    for clock in (ManualEngineClock(), SystemEngineClock()):
        async with asyncio.timeout(1):
            await clock.sleep_until(clock.now_ns() - SECOND)
            await clock.sleep_until(clock.now_ns())


async def test_the_machines_clock_is_waited_for() -> None:
    clock = SystemEngineClock()
    at_ns = clock.now_ns() + SECOND // 100
    await clock.sleep_until(at_ns)
    assert clock.now_ns() >= at_ns


# --- places ---


async def test_places_are_given_in_the_order_of_asking() -> None:
    places = Places()
    assert places.try_enter("w", 1)
    assert not places.try_enter("w", 1)
    assert places.try_enter("other", 1)
    order: list[int] = []

    async def enter(number: int) -> None:
        await places.enter("w", 1, asyncio.get_running_loop().create_future())
        order.append(number)

    tasks = [asyncio.create_task(enter(number)) for number in range(3)]
    await turn()
    tasks[0].cancel()
    for _ in range(2):
        places.leave("w")
        await turn()
    assert order == [1, 2]
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_nobody_without_a_limit_waits() -> None:
    places = Places()
    assert all(places.try_enter("w", None) for _ in range(100))


async def test_a_place_that_is_given_to_somebody_who_is_cancelled_goes_to_the_next() -> None:
    places = Places()
    places.try_enter("w", 1)
    first, second = (
        asyncio.create_task(places.enter("w", 1, asyncio.get_running_loop().create_future())) for _ in range(2)
    )
    await turn()
    places.leave("w")
    first.cancel()  # in the very moment in which it has the place
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert not places.try_enter("w", 1)


# --- ids ---


def test_a_childs_id_follows_from_its_parents_and_is_a_uuid() -> None:
    first = child_execution_id("e", "n", 0, 1)
    assert first == child_execution_id("e", "n", 0, 1)
    others = {
        child_execution_id("e", "n", 0, 2),
        child_execution_id("e", "m", 0, 1),
        child_execution_id("f", "n", 0, 1),
    }
    assert len({first, *others}) == 4
    assert (first[14], first[19] in "89ab", len(first)) == ("8", True, 36)
