"""One poll tells every live page what it asked for, once, and survives the store."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from spane_otel.errors import StoreUnavailableError
from spane_otel.ids import execution_trace_id
from spane_otel.records import Change
from spane_otel.server import changes
from spane_otel.server.changes import PENDING_LIMIT, ChangeHub, Delivery, Listener
from tests.rows import batch, log, root, span, trace_id
from tests.unit.server.conftest import FailingStore

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
async def hub(store: FailingStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ChangeHub]:
    monkeypatch.setattr(changes, "OUTAGE_SECONDS", 0.01)
    made = ChangeHub(store, poll_seconds=0.01)
    yield made
    await made.aclose()


async def hear(listener: Listener) -> Delivery:
    await listener.wait()
    return listener.take()


async def joined(listener: Listener) -> Listener:
    """Return `listener` once it has heard that the store is available."""
    assert (await hear(listener)).available is True
    return listener


async def hear_changes(listener: Listener) -> set[Change]:
    """Return the next changes, skipping news of the store."""
    while not (found := set((await hear(listener)).changes)):
        pass
    return found


async def test_a_listener_hears_what_is_committed_from_then_on(hub: ChangeHub, store: FailingStore) -> None:
    await store.write(batch(span("before", trace="old")))
    listener = await joined(hub.listen())
    await store.write(batch(root("e"), log("hello", trace="e", execution="e")))
    heard = await hear_changes(listener)
    assert {(change.kind, change.trace_id) for change in heard} >= {("spans", trace_id("e").hex())}
    assert not any(change.trace_id == trace_id("old").hex() for change in heard)


async def test_a_cursor_brings_what_was_committed_since(hub: ChangeHub, store: FailingStore) -> None:
    cursor, _ = await store.poll_changes()
    await store.write(batch(span("missed", trace="missed")))
    listener = hub.listen(cursor=cursor)
    assert await hear_changes(listener) == {Change("spans", None, trace_id("missed").hex())}


async def test_the_cursor_of_a_delivery_resumes_behind_it(hub: ChangeHub, store: FailingStore) -> None:
    listener = await joined(hub.listen())
    await store.write(batch(span("a", trace="one")))
    await listener.wait()
    delivery = listener.take()
    hub.leave(listener)
    await store.write(batch(span("b", trace="two")))
    resumed = hub.listen(cursor=delivery.cursor)
    assert await hear_changes(resumed) == {Change("spans", None, trace_id("two").hex())}


@pytest.mark.parametrize("cursor", ["nonsense", "", "AAAA", "\N{SNOWMAN}"])
async def test_a_cursor_that_is_none_means_look_at_everything(hub: ChangeHub, cursor: str) -> None:
    assert await hear_changes(hub.listen(cursor=cursor)) == {Change("spans"), Change("logs"), Change("execution")}


async def test_an_execution_hears_its_own_changes_and_those_of_its_traces(hub: ChangeHub, store: FailingStore) -> None:
    """A later batch may hold spans of its trace that name no execution."""
    await store.write(batch(root("e"), root("other")))
    listener = await joined(hub.listen(execution_id="e"))
    await store.write(
        batch(span("unstamped", trace="e", parent="root of e"), span("foreign", trace="x"), root("third"))
    )
    heard = await hear_changes(listener)
    assert {change.trace_id for change in heard if change.kind == "spans"} == {trace_id("e").hex()}
    assert {change.execution_id for change in heard} <= {"e", None}


async def test_an_execution_hears_of_a_trace_that_became_its_own_later(hub: ChangeHub, store: FailingStore) -> None:
    await store.write(batch(root("e")))
    listener = await joined(hub.listen(execution_id="e"))
    await store.write(batch(span("linked", trace="second", execution="e")))
    await hear_changes(listener)
    await store.write(batch(span("inner", trace="second", parent="linked")))
    assert trace_id("second").hex() in {change.trace_id for change in await hear_changes(listener)}


async def test_an_execution_that_is_not_there_yet_is_heard_of_once_it_is(hub: ChangeHub, store: FailingStore) -> None:
    listener = await joined(hub.listen(execution_id="e"))
    await store.create_execution("w", execution_id="e")
    assert await hear_changes(listener) == {Change("execution", "e")}


async def test_a_trace_hears_only_its_own_changes(hub: ChangeHub, store: FailingStore) -> None:
    listener = await joined(hub.listen(trace_id=trace_id("t").hex()))
    await store.write(batch(span("a", trace="t"), span("b", trace="u"), log("x", trace="t")))
    heard = await hear_changes(listener)
    assert {change.trace_id for change in heard} == {trace_id("t").hex()}


def test_equal_changes_fall_together_and_many_become_look_at_everything() -> None:
    """A page that does not read costs a bounded amount, and misses nothing in the end."""
    listener = Listener(None, None, None)
    for number in range(3):
        listener.push(str(number), [Change("spans", "e", "t")] * 1_000)
    assert listener.take().changes == [Change("spans", "e", "t")]
    for number in range(10_000):
        listener.push(str(number), [Change("spans", None, str(number)), Change("logs", None, str(number))])
        assert len(listener._pending) <= PENDING_LIMIT + 2
    delivery = listener.take()
    assert set(delivery.changes) >= {Change("spans"), Change("logs")}
    assert len(delivery.changes) <= PENDING_LIMIT
    assert delivery.cursor == "9999"


async def test_an_outage_is_told_and_what_was_committed_during_it_is_not_missed(
    hub: ChangeHub, store: FailingStore
) -> None:
    listener = await joined(hub.listen())
    store.failure = StoreUnavailableError("down")
    assert (await hear(listener)).available is False
    store.failure = None
    await store.write(batch(span("meanwhile", trace="m")))
    deliveries = [await hear(listener)]
    while not deliveries[-1].changes:
        deliveries.append(await hear(listener))
    assert True in {delivery.available for delivery in deliveries}
    assert deliveries[-1].changes == [Change("spans", None, trace_id("m").hex())]


async def test_a_page_that_opens_during_an_outage_hears_of_it_and_of_its_end(
    hub: ChangeHub, store: FailingStore
) -> None:
    store.failure = RuntimeError("not even a store error")
    listener = hub.listen()
    assert (await hear(listener)).available is False
    store.failure = None
    await joined(listener)


async def test_the_store_is_polled_only_while_somebody_listens(hub: ChangeHub, store: FailingStore) -> None:
    first, second = hub.listen(), hub.listen()
    (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "spane-changes"]
    assert len(hub) == 2
    hub.leave(first)
    assert not task.cancelling()
    hub.leave(second)
    with pytest.raises(asyncio.CancelledError):
        await task
    await joined(hub.listen())


async def test_closing_ends_every_listener_and_later_ones_at_once(hub: ChangeHub) -> None:
    listener = await joined(hub.listen())
    await hub.aclose()
    await listener.wait()
    assert listener.closed
    assert hub.listen().closed


async def test_an_added_span_is_heard_under_its_execution(hub: ChangeHub, store: FailingStore) -> None:
    await store.create_execution("w", execution_id="e")
    listener = await joined(hub.listen(execution_id="e"))
    row = span("added", execution="e")
    row.trace_id = execution_trace_id("e")
    await store.write(batch(row))
    assert "e" in {change.execution_id for change in await hear_changes(listener)}
