"""How much the in-memory store holds of executions, what goes, and what it says of that."""

import inspect
from typing import Any

import pytest

from spane_otel.clock import ManualClock
from spane_otel.errors import StoreUnavailableError
from spane_otel.records import Change
from spane_otel.state import NewDeadLetter
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.memory.part import Part
from spane_otel.stores.protocols import Store
from tests.rows import BASE_NS, batch, log, root, span


def make_store(**limits: Any) -> tuple[InMemoryExecutionStore, ManualClock]:
    clock = ManualClock(BASE_NS + 3_600 * 10**9)
    return InMemoryExecutionStore(clock=clock, **limits), clock


async def held(store: InMemoryExecutionStore) -> set[str]:
    return {each.execution_id for each in await store.list_executions(limit=1_000)}


async def run(store: InMemoryExecutionStore, execution_id: str, status: Any = "completed") -> None:
    await store.create_execution("order", execution_id=execution_id)
    if status != "running":
        await store.set_execution_status(execution_id, status)


async def ids(store: InMemoryExecutionStore, execution_id: str = "e") -> list[str | None]:
    trace = await store.get_trace(execution_id)
    assert trace is not None
    return [each.id for each in trace.spans]


# --- executions ---


async def test_its_limits_are_those_of_spane() -> None:
    limits = {
        name: parameter.default
        for name, parameter in inspect.signature(InMemoryExecutionStore).parameters.items()
        if name.startswith(("max_", "finished_", "cleanup_"))
    }
    assert limits == {
        "max_spans": 200_000,
        "max_logs": 200_000,
        "max_executions": 1_000,
        "max_spans_per_execution": 500,
        "max_logs_per_execution": 1_000,
        "finished_ttl_seconds": 3_600,
        "cleanup_seconds": 300,
    }


async def test_beyond_the_limit_the_one_that_finished_longest_ago_goes() -> None:
    store, _ = make_store(max_executions=3)
    for execution_id in ("a", "b", "c"):
        await run(store, execution_id, "running")
    for execution_id in ("b", "a", "c"):
        await store.set_execution_status(execution_id, "failed")
    await run(store, "d")
    assert await held(store) == {"a", "c", "d"}
    await run(store, "e")
    assert await held(store) == {"c", "d", "e"}
    assert (await store.stats()).trimmed == 2


async def test_what_runs_or_is_paused_never_goes_and_more_is_held_if_all_run() -> None:
    store, _ = make_store(max_executions=2)
    for number in range(5):
        await run(store, f"r{number}", "running" if number % 2 else "paused")
    assert len(await held(store)) == 5
    await run(store, "done")
    await run(store, "new", "running")
    assert await held(store) == {*(f"r{number}" for number in range(5)), "new"}


async def test_what_ends_in_a_full_store_can_still_be_read() -> None:
    store, _ = make_store(max_executions=2)
    for number in range(4):
        await run(store, f"r{number}", "running")
    await store.set_execution_status("r0", "completed")
    assert "r0" in await held(store)
    await store.write(batch(*(root(f"s{number}", end=None) for number in range(2))))
    assert "r0" not in await held(store)
    await store.write(batch(root("s0", end=5)))
    assert "s0" in await held(store)
    await store.write(batch(root("s2", end=None)))
    assert "s0" not in await held(store)


async def test_a_failed_execution_that_runs_again_stays() -> None:
    store, _ = make_store(max_executions=2)
    await run(store, "a", "running")
    await store.complete_node("a", "n", {"success": False}, dead_letter=NewDeadLetter())
    await store.set_execution_status("a", "failed")
    (letter,) = await store.list_dead_letters()
    await store.retry_dead_letter("a", letter.dead_letter_id)
    await run(store, "b")
    await run(store, "c", "running")
    assert await held(store) == {"a", "c"}


async def test_an_execution_goes_with_everything_of_it() -> None:
    store, _ = make_store(max_executions=1)
    start, _ = await store.poll_changes()
    await store.save_workflow({"id": "order", "nodes": [{"id": "n", "type": "t"}]})
    await run(store, "a", "running")
    await store.add_span("a", name="step", id="s")
    await store.add_log("a", "hello")
    await store.update_execution_metadata("a", {"k": 1})
    await store.complete_node("a", "n", {"success": True})
    await run(store, "b", "running")
    assert await held(store) == {"b"}
    stats = await store.stats()
    assert (stats.spans, stats.logs, stats.trimmed) == (0, 0, 3)
    assert await store.get_node_results("a") == {}
    assert list(await store.list_audit("a")) == []
    assert await store.read_execution("a") is None
    assert list(await store.list_logs()) == []
    _, changes = await store.poll_changes(start)
    assert Change("execution", "a") in changes
    state = store._state
    assert "a" not in state.executions.journals
    assert (state.additions.of, state.finished, state.telemetry.traces) == ({}, {}, {})


async def test_executions_of_spans_are_counted_alike() -> None:
    store, _ = make_store(max_executions=3)
    for number in range(6):
        await store.write(batch(root(f"e{number}", end=None if number < 2 else 5)))
    assert await held(store) == {"e0", "e1", "e5"}


async def test_the_finished_go_when_nothing_was_heard_of_them_for_long_enough() -> None:
    store, clock = make_store(finished_ttl_seconds=100, cleanup_seconds=10)
    await run(store, "done")
    await run(store, "runs", "running")
    await run(store, "heard")
    clock.advance(60)
    await store.add_log("heard", "late")
    clock.advance(41)
    assert len(await held(store)) == 3, "a reader lets nothing go"
    await run(store, "new", "running")
    assert await held(store) == {"runs", "heard", "new"}
    clock.advance(60)
    await run(store, "newer", "running")
    assert await held(store) == {"runs", "new", "newer"}


async def test_they_are_looked_for_no_more_often_than_was_set() -> None:
    store, clock = make_store(finished_ttl_seconds=5, cleanup_seconds=100)
    await run(store, "done")
    clock.advance(50)
    await run(store, "a", "running")
    assert "done" in await held(store)
    clock.advance(51)
    await run(store, "b", "running")
    assert "done" not in await held(store)


async def test_what_ended_long_ago_stays_as_long_as_what_ended_now() -> None:
    """Old data that is imported counts from when the store heard of it."""
    store, clock = make_store(accept_past_days=400, finished_ttl_seconds=100, cleanup_seconds=10)
    await store.write(batch(root("old", start=-300 * 86_400, end=-300 * 86_400 + 5)))
    clock.advance(90)
    await run(store, "a", "running")
    assert "old" in await held(store)
    clock.advance(11)
    await run(store, "b", "running")
    assert "old" not in await held(store)


# --- spans and logs that are added by hand ---


async def test_of_spans_that_are_too_many_ended_leaves_go_first_and_roots_last() -> None:
    store, clock = make_store(max_spans_per_execution=6)
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="root", id="root")
    await store.add_span("e", name="branch", id="branch", parent_id="root")
    for text in ("runs", "a", "b", "c"):
        clock.advance(1)
        await store.add_span("e", name=text, id=text, parent_id="branch")
    for text in ("b", "a", "branch", "root"):
        clock.advance(1)
        await store.update_span("e", text, status="completed")
    trace = await store.get_trace("e")
    assert trace is not None
    assert not trace.truncated
    for text, gone in (("d", "b"), ("f", "a"), ("g", "runs"), ("h", "c")):
        clock.advance(1)
        await store.add_span(
            "e", name=text, id=text, parent_id="branch", status="completed" if text == "h" else "running"
        )
        assert gone not in await ids(store)
    assert await ids(store) == ["root", "branch", "d", "f", "g", "h"]
    trace = await store.get_trace("e")
    assert trace is not None
    assert trace.truncated
    assert (await store.stats()).trimmed == 4
    assert (await store.count_telemetry(["e"]))["e"].truncated
    by_id = await store.get_trace_by_id(trace.trace_ids[0])
    assert by_id is not None
    assert by_id.truncated


async def test_a_root_stays_longer_than_what_runs_below_another() -> None:
    store, clock = make_store(max_spans_per_execution=4)
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="alone", id="alone", status="completed")
    await store.add_span("e", name="root", id="root")
    for text, status in (("runs", "running"), ("ended", "completed"), ("x", "running"), ("y", "running")):
        clock.advance(1)
        given: Any = status
        await store.add_span("e", name=text, id=text, parent_id="root", status=given)
    assert await ids(store) == ["alone", "root", "x", "y"]


async def test_the_newest_span_stays_so_that_it_can_be_ended() -> None:
    """Each is the parent of the next, so that the newest is the only leaf."""
    store, _ = make_store(max_spans_per_execution=5)
    await store.create_execution("order", execution_id="e")
    parent = None
    for number in range(30):
        await store.add_span("e", name="step", id=f"s{number}", parent_id=parent, status="completed")
        parent = f"s{number}"
        await store.update_span("e", parent, metadata={"n": number})
        assert len(await ids(store)) <= 5
    assert (await ids(store))[-1] == "s29"


async def test_trimming_is_the_same_whether_rows_were_made_or_not() -> None:
    read, unread = (make_store(max_spans_per_execution=20)[0] for _ in range(2))
    for store in (read, unread):
        await store.create_execution("order", execution_id="e")
        for number in range(100):
            parent = None if number % 10 == 0 else f"s{number // 10 * 10}"
            await store.add_span("e", name="step", id=f"s{number}", parent_id=parent)
            if number % 3:
                await store.update_span("e", f"s{number}", status="completed")
            if store is read:
                assert len(await ids(store)) <= 20
    assert await ids(read) == await ids(unread)
    assert (await read.stats()).trimmed == (await unread.stats()).trimmed >= 80
    assert (await read.read_telemetry("e")).batch.spans == (await unread.read_telemetry("e")).batch.spans


async def test_a_span_that_went_is_unknown_and_can_be_added_again() -> None:
    store, _ = make_store(max_spans_per_execution=2)
    await store.create_execution("order", execution_id="e")
    for text in ("a", "b", "c"):
        await store.add_span("e", name=text, id=text)
    assert await ids(store) == ["b", "c"]
    await store.add_span("e", name="another a", id="a")
    assert await ids(store) == ["c", "a"]


async def test_of_logs_that_are_too_many_the_oldest_go() -> None:
    store, _ = make_store(max_logs_per_execution=20)
    await store.create_execution("order", execution_id="e")
    await store.create_execution("order", execution_id="other")
    await store.add_log("other", "stays")
    for number in range(50):
        await store.add_log("e", f"{number}", time_ns=BASE_NS + (50 - number if number < 10 else number * 1_000))
        if number % 7 == 0:
            assert len(await store.get_logs("e", limit=1_000)) <= 20
    shown = [int(each.message) for each in await store.get_logs("e", limit=1_000)]
    assert shown == list(range(50 - len(shown), 50))
    assert len(await store.get_logs("other")) == 1
    stats = await store.stats()
    assert (stats.logs, stats.trimmed) == (len(shown) + 1, 50 - len(shown))


async def test_what_spans_and_logs_of_opentelemetry_an_execution_has_is_not_bounded_by_that() -> None:
    store, _ = make_store(max_spans_per_execution=2, max_logs_per_execution=2)
    made = [span(f"s{number}", parent="root of e", trace="e", execution="e") for number in range(10)]
    await store.write(batch(root("e"), *made, *(log(f"{number}", trace="e", execution="e") for number in range(10))))
    for text in ("a", "b", "c"):
        await store.add_span("e", name=text, id=text)
    assert len(await ids(store)) == 13
    assert len(await store.get_logs("e")) == 10


async def test_spans_added_to_a_full_store_make_room_like_others() -> None:
    store, _ = make_store(max_spans=10, max_logs=10)
    await run(store, "done", "running")
    for number in range(10):
        await store.add_span("done", name="step", id=f"s{number}")
        await store.add_log("done", "hello", id=f"l{number}")
    await store.set_execution_status("done", "completed")
    await run(store, "e", "running")
    await store.add_span("e", name="step")
    await store.add_log("e", "hello")
    assert await held(store) == {"e"}
    assert (await store.stats()).trimmed == 21


async def test_a_store_full_of_what_runs_refuses_what_is_added() -> None:
    store, _ = make_store(max_spans=3, max_logs=3)
    await store.create_execution("order", execution_id="e")
    for number in range(3):
        await store.add_span("e", name="step", id=f"s{number}")
        await store.add_log("e", "hello", id=f"l{number}")
    with pytest.raises(StoreUnavailableError, match="full"):
        await store.add_span("e", name="step", id="more")
    with pytest.raises(StoreUnavailableError, match="full"):
        await store.add_log("e", "hello", id="more")
    assert await store.add_span("e", name="step", id="s1") == "s1"
    assert await store.add_log("e", "hello", id="l1") == "l1"
    stats = await store.stats()
    assert (stats.spans, stats.logs, stats.trimmed) == (3, 3, 0)


# --- the parts ---


def test_no_two_parts_have_a_name_in_common() -> None:
    """A part that overrode another's method would do so in silence."""
    seen: dict[str, type] = {}
    for part in InMemoryExecutionStore.__mro__[1:]:
        if not issubclass(part, Part) or part is Part:
            continue
        for name in vars(part):
            if name.startswith("__"):
                continue
            assert name not in seen, f"{name} in {part.__name__} and {seen[name].__name__}"
            assert name not in vars(Part), f"{name} in {part.__name__} and Part"
            seen[name] = part
    assert len(seen) > 60


def test_it_is_a_store() -> None:
    store: Store = InMemoryExecutionStore()
    assert store.address == "memory"
