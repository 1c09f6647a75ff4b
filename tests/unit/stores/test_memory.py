"""What is the in-memory store's own: its bounds, what goes when they are reached, and its hour of changes."""

import asyncio
from typing import Any

import pytest

from spane_otel.clock import ManualClock
from spane_otel.records import Change
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.memory.held.changes import Changes
from spane_otel.stores.opening import open_store
from tests.rows import BASE_NS, batch, log, root, span, trace_id


def make_store(**bounds: Any) -> tuple[InMemoryExecutionStore, ManualClock]:
    clock = ManualClock(BASE_NS + 3_600 * 10**9)
    return InMemoryExecutionStore(clock=clock, **bounds), clock


async def traces(store: InMemoryExecutionStore) -> set[str]:
    return {each.name for each in await store.list_traces(limit=1_000)}


async def test_the_oldest_finished_traces_go_when_spans_need_room() -> None:
    store, _ = make_store(max_spans=20)
    for number in range(20):
        await store.write(batch(root(f"e{number}", name=f"{number}")))
    assert (await store.stats()).trimmed == 0
    result = await store.write(batch(root("new", name="new")))
    assert result.rejected == []
    assert await traces(store) == {*(f"{number}" for number in range(3, 20)), "new"}
    assert await store.get_execution("e2") is None
    assert await store.get_execution("e3") is not None
    stats = await store.stats()
    assert (stats.spans, stats.executions, stats.trimmed) == (18, 18, 6), "three executions, each with a span"


async def test_what_runs_stays_and_new_rows_are_refused_when_nothing_can_go() -> None:
    store, _ = make_store(max_spans=4)
    await store.write(batch(root("finished"), *(root(f"e{number}", end=None) for number in range(3))))
    result = await store.write(batch(*(span(f"new {number}", trace="new") for number in range(3))))
    assert [(each.signal, each.reason) for each in result.rejected] == [("spans", "store_full")] * 2
    assert result.spans_stored == 1
    assert [each.execution_id for each in await store.list_executions()] == ["e2", "e1", "e0"]
    ended = await store.write(batch(root("e0", end=5), root("e1", end=5)))
    assert (ended.spans_stored, ended.rejected) == (2, [])
    assert (await store.write(batch(*(span(f"newer {number}", trace="x") for number in range(3))))).rejected == []
    assert {each.execution_id for each in await store.list_executions()} == {"e2"}


async def test_an_execution_of_a_silent_process_does_not_keep_its_room() -> None:
    store, clock = make_store(max_spans=2)
    await store.write(batch(root("gone", end=None, process_id="p"), root("here", end=None, process_id="q")))
    clock.advance(60)
    await store.write(batch(heartbeats=["q"]))
    assert (await store.write(batch(root("new")))).rejected == []
    assert {each.execution_id for each in await store.list_executions()} == {"here", "new"}


async def test_an_execution_goes_whole_and_takes_nothing_of_one_that_runs() -> None:
    store, _ = make_store(max_spans=5)
    await store.write(
        batch(
            root("done", trace="t"),
            span("elsewhere", trace="u", execution="done", node="n"),
            root("outer", trace="s", end=None),
            root("inner", trace="s", name="inner", parent="root of outer"),
        )
    )
    await store.write(batch(span("a", trace="x"), span("b", trace="x")))
    assert await store.get_execution("done") is None
    assert await store.get_trace_by_id(trace_id("u").hex()) is None
    shared = await store.get_trace_by_id(trace_id("s").hex())
    assert shared is not None
    assert len(shared.spans) == 2


async def test_logs_are_bounded_alike() -> None:
    store, _ = make_store(max_logs=10)
    await store.create_execution("order", execution_id="runs")
    await store.write(batch(log("of one that runs", execution="runs")))
    for number in range(20):
        await store.write(batch(log(f"{number}", at=number)))
    stats = await store.stats()
    assert stats.logs <= 10
    assert stats.trimmed == 21 - stats.logs
    assert [each.message for each in await store.get_logs("runs")] == ["of one that runs"]
    assert [each.message for each in await store.list_logs()][-1] == "19"


async def test_resources_go_with_the_last_row_that_points_to_them() -> None:
    store, _ = make_store(max_spans=2)
    for number in range(10):
        made = batch(span(f"{number}", trace=f"{number}", resource_id=bytes([number]) * 16))
        row = next(iter(made.resources.values()))
        made.resources = {made.spans[0].resource_id: type(row)(resource_id=made.spans[0].resource_id)}
        await store.write(made)
    assert len(store._state.telemetry.resources) <= 3


async def test_a_cursor_of_another_life_shows_all_again() -> None:
    first, _ = make_store()
    cursor, _ = await first.poll_changes()
    second, _ = make_store()
    await second.write(batch(root("e", trace="t")))
    _, changes = await second.poll_changes(cursor)
    assert Change("execution", "e") in changes


async def test_changes_are_kept_for_an_hour_and_each_once() -> None:
    store, clock = make_store()
    start, _ = await store.poll_changes()
    await store.write(batch(root("old", trace="t")))
    clock.advance(3_500)
    for number in range(1, 50):
        await store.write(batch(root("busy", trace="u", end=number)))
    _, changes = await store.poll_changes(start)
    assert sorted(changes, key=repr) == sorted(
        [
            Change("execution", "old"),
            Change("spans", "old", trace_id("t").hex()),
            Change("execution", "busy"),
            Change("spans", "busy", trace_id("u").hex()),
        ],
        key=repr,
    )
    clock.advance(200)
    await store.create_execution("order", execution_id="new")
    _, changes = await store.poll_changes(start)
    assert {each.execution_id for each in changes} == {"busy", "new"}


async def test_a_feed_that_had_to_let_changes_go_tells_of_all_that_is_held() -> None:
    store, _ = make_store()
    store._state.changes = Changes(most=10)
    start, _ = await store.poll_changes()
    for number in range(8):
        await store.write(batch(root(f"e{number}", trace=f"t{number}"), log("hello", trace=f"t{number}")))
    await store.delete_execution("e0")
    late, changes = await store.poll_changes(start)
    for number in range(1, 8):
        key = trace_id(f"t{number}").hex()
        expected = {
            Change("execution", f"e{number}"),
            Change("spans", f"e{number}", key),
            Change("logs", f"e{number}", key),
        }
        assert expected <= set(changes)
    assert len(changes) == len(set(changes))
    await store.write(batch(root("new", trace="new")))
    _, changes = await store.poll_changes(late)
    assert {each.execution_id for each in changes} == {"new"}


async def test_it_stands_still_with_its_clock() -> None:
    store, clock = make_store()
    await store.create_execution("order", execution_id="e")
    clock.advance(2)
    await store.set_execution_status("e", "completed")
    execution = await store.get_execution("e")
    assert execution is not None
    assert execution.ended_ns == execution.started_ns + 2 * 10**9 == clock.now_ns()


@pytest.mark.parametrize(("days", "rejected"), [(1, True), (400, False)])
async def test_how_far_back_starts_are_accepted_can_be_set(days: float, rejected: bool) -> None:
    store, clock = make_store(accept_past_days=days)
    there = clock.now_ns() - 300 * 86_400 * 10**9
    result = await store.write(batch(span("a", start_ns=there, end_ns=there)))
    assert bool(result.rejected) is rejected


async def test_its_address_opens_one_and_what_it_holds_survives_closing() -> None:
    store = open_store("memory:")
    assert isinstance(store, InMemoryExecutionStore)
    assert store.address == "memory"
    async with store:
        await store.write(batch(root("e")))
    await store.aclose()
    assert await store.get_execution("e") is not None


async def test_approximate_bytes_grow_with_what_is_held() -> None:
    store, _ = make_store()
    assert (await store.stats()).approx_bytes == 0
    await store.write(batch(span("a")))
    small = (await store.stats()).approx_bytes
    await store.write(batch(span("b", attributes='{"a":"' + "x" * 10_000 + '"}'), log("y" * 10_000)))
    assert (await store.stats()).approx_bytes > small + 20_000


def test_a_loop_that_ended_leaves_the_store_usable() -> None:
    store, _ = make_store()
    asyncio.run(store.write(batch(root("e"))))
    assert asyncio.run(store.get_execution("e")) is not None
