"""Work whose process is gone is abandoned; it comes back when its process does."""

import asyncio

from spane_otel.records import STALE_AFTER_SECONDS, Change, Span
from spane_otel.stores.protocols import Store
from tests.conformance.subjects import Subject
from tests.rows import batch, ns, root, span, trace_id


async def load_span(store: Store, trace: str = "t") -> Span:
    found = await store.get_trace_by_id(trace_id(trace).hex())
    assert found is not None
    return found.spans[0]


async def ids(store: Store, status: str) -> list[str]:
    return [each.execution_id for each in await store.list_executions(status=status)]  # type: ignore[arg-type]  # text


async def start(store: Store) -> None:
    """Write one running execution of each kind: of process p, of process q, of no process, of a caller."""
    await store.write(
        batch(
            root("of p", trace="t", end=None, process_id="p", start=4),
            root("of q", trace="u", end=None, process_id="q", start=3),
            root("of nobody", trace="v", end=None, start=2),
            heartbeats=["p", "q"],
        )
    )
    await store.create_execution("order", execution_id="of a caller")


async def test_an_execution_is_abandoned_while_its_process_is_silent(subject: Subject) -> None:
    store = subject.store
    await start(store)
    assert await ids(store, "abandoned") == []
    assert await ids(store, "running") == ["of a caller", "of p", "of q", "of nobody"]
    await subject.age("p", STALE_AFTER_SECONDS + 15)
    assert await ids(store, "abandoned") == ["of p"]
    assert await ids(store, "running") == ["of a caller", "of q", "of nobody"]
    gone = await store.get_execution("of p")
    assert gone is not None
    assert gone.status == "running"
    assert gone.abandoned_since_ns is not None
    silent_ns = subject.now_ns() - gone.abandoned_since_ns
    assert 0 <= silent_ns - (STALE_AFTER_SECONDS + 15) * 10**9 < 10**10
    (listed,) = await store.list_executions(status="abandoned")
    assert listed.abandoned_since_ns == gone.abandoned_since_ns
    await store.write(batch(heartbeats=["p"]))
    assert await ids(store, "abandoned") == []
    back = await store.get_execution("of p")
    assert back is not None
    assert back.abandoned_since_ns is None


async def test_a_process_that_was_heard_of_lately_is_alive(subject: Subject) -> None:
    await start(subject.store)
    await subject.age("p", STALE_AFTER_SECONDS - 10)
    assert await ids(subject.store, "abandoned") == []
    assert (await load_span(subject.store)).state == "running"


async def test_an_open_span_is_abandoned_since_its_process_was_last_heard_of(subject: Subject) -> None:
    store = subject.store
    await start(store)
    running = await load_span(store)
    assert (running.state, running.last_seen_ns) == ("running", None)
    await subject.age("p", STALE_AFTER_SECONDS + 15)
    gone = await load_span(store)
    execution = await store.get_execution("of p")
    assert execution is not None
    assert (gone.state, gone.last_seen_ns) == ("abandoned", execution.abandoned_since_ns)
    assert {each.name: each.state for each in await store.list_traces()} == {
        "root of of p": "abandoned",
        "root of of q": "running",
        "root of of nobody": "open",
    }
    assert (await load_span(store, "u")).state == "running"
    assert (await load_span(store, "v")).state == "open"


async def test_what_has_ended_is_never_abandoned(subject: Subject) -> None:
    store = subject.store
    await start(store)
    await store.write(
        batch(span("done", trace="x", process_id="p"), span("failed", trace="y", end=None, process_id="p", status=2))
    )
    await subject.age("p", STALE_AFTER_SECONDS + 15)
    await store.write(batch(root("of p", trace="t", end=9, process_id="p", start=4)))
    execution = await store.get_execution("of p")
    assert execution is not None
    assert (execution.status, execution.ended_ns, execution.abandoned_since_ns) == ("completed", ns(9), None)
    assert [(await load_span(store, each)).state for each in "txy"] == ["completed", "completed", "failed"]
    assert await ids(store, "abandoned") == []


async def test_a_span_added_by_hand_as_running_without_a_process_stays_running(subject: Subject) -> None:
    await subject.store.write(batch(span("a", end=None, state="running", added_id="a")))
    assert (await load_span(subject.store)).state == "running"


async def test_a_late_row_of_a_silent_process_does_not_revive_it(subject: Subject) -> None:
    store = subject.store
    await start(store)
    await subject.age("p", STALE_AFTER_SECONDS + 15)
    await store.write(batch(span("late", end=None, process_id="p", parent="root of of p")))
    assert await ids(store, "abandoned") == ["of p"]


async def test_a_process_that_only_a_row_names_is_heard_of_with_it(subject: Subject) -> None:
    store = subject.store
    await store.write(batch(root("e", trace="t", end=None, process_id="r")))
    assert await ids(store, "running") == ["e"]
    await subject.age("r", STALE_AFTER_SECONDS + 15)
    assert await ids(store, "abandoned") == ["e"]


async def test_a_running_execution_without_a_root_follows_its_earliest_links_process(subject: Subject) -> None:
    store = subject.store
    await store.write(
        batch(
            span("second", execution="e", node="n", trace="u", start=2, end=None, process_id="q"),
            span("first", execution="e", node="n", trace="t", start=1, end=None, process_id="p"),
            heartbeats=["p", "q"],
        )
    )
    await subject.age("q", STALE_AFTER_SECONDS + 15)
    assert await ids(store, "abandoned") == []
    await subject.age("p", STALE_AFTER_SECONDS + 15)
    assert await ids(store, "abandoned") == ["e"]


async def test_the_feed_tells_of_processes_that_went_silent_and_came_back(subject: Subject) -> None:
    store = subject.store
    await start(store)
    await subject.age("p", STALE_AFTER_SECONDS - 0.5)
    cursor, _ = await store.poll_changes()
    seen: set[Change] = set()
    async with asyncio.timeout(10):
        while Change("execution", "of p") not in seen or "of p" not in await ids(store, "abandoned"):
            await subject.wait(0.1)
            cursor, changes = await store.poll_changes(cursor)
            seen.update(changes)
    assert Change("execution", "of q") not in seen
    async with asyncio.timeout(10):
        while changes:
            await subject.wait(0.1)
            cursor, changes = await store.poll_changes(cursor)
    await store.write(batch(heartbeats=["p"]))
    seen.clear()
    async with asyncio.timeout(10):
        while Change("execution", "of p") not in seen:
            cursor, changes = await store.poll_changes(cursor)
            seen.update(changes)
            await asyncio.sleep(0.02)
    assert await ids(store, "abandoned") == []
