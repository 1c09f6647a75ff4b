"""The change feed: nothing is missed, whatever reads it and however often."""

import asyncio

import pytest

from spane_otel.errors import InvalidValueError
from spane_otel.records import Change
from spane_otel.stores.protocols import Store
from tests.rows import batch, log, root, span, trace_id

TRACE = trace_id("t").hex()


async def poll(store: Store, cursor: str, wanted: set[Change]) -> str:
    """Poll until every change in `wanted` was seen, and return the cursor then."""
    missing = set(wanted)
    async with asyncio.timeout(10):
        while missing:
            cursor, changes = await store.poll_changes(cursor)
            missing -= set(changes)
            if missing:
                await asyncio.sleep(0.02)
    return cursor


async def drain(store: Store, cursor: str) -> str:
    """Poll until nothing comes any more."""
    async with asyncio.timeout(10):
        while True:
            cursor, changes = await store.poll_changes(cursor)
            if not changes:
                return cursor
            await asyncio.sleep(0.02)


async def test_without_a_cursor_there_is_the_present_and_nothing(store: Store) -> None:
    await store.write(batch(root("e", trace="t")))
    cursor, changes = await store.poll_changes()
    assert changes == []
    assert cursor


async def test_every_kind_of_write_is_seen(store: Store) -> None:
    cursor, _ = await store.poll_changes()
    await store.write(batch(root("e", trace="t", end=None), log("a", trace="t", execution="e"), span("x", trace="u")))
    cursor = await poll(
        store,
        cursor,
        {
            Change("execution", "e"),
            Change("spans", "e", TRACE),
            Change("logs", "e", TRACE),
            Change("spans", None, trace_id("u").hex()),
        },
    )
    await store.write(batch(root("e", trace="t", end=3)))
    cursor = await poll(store, cursor, {Change("execution", "e"), Change("spans", "e", TRACE)})
    await store.write(batch(log("b", execution="e")))
    cursor = await poll(store, cursor, {Change("logs", "e")})
    await store.create_execution("order", execution_id="f")
    cursor = await poll(store, cursor, {Change("execution", "f")})
    await store.set_execution_status("f", "failed")
    cursor = await poll(store, cursor, {Change("execution", "f")})
    await store.delete_execution("f")
    await poll(store, cursor, {Change("execution", "f")})


async def test_what_changes_nothing_is_not_announced(store: Store) -> None:
    rows = batch(root("e", trace="t"), log("a", trace="t"))
    cursor, _ = await store.poll_changes()
    await store.write(rows)
    cursor = await drain(store, await poll(store, cursor, {Change("execution", "e")}))
    await store.write(rows)
    await store.write(batch(root("e", trace="t", end=None)))
    await store.write(batch(span("marker", trace="u")))
    seen: list[Change] = []
    async with asyncio.timeout(10):
        while Change("spans", None, trace_id("u").hex()) not in seen:
            cursor, changes = await store.poll_changes(cursor)
            seen += changes
            await asyncio.sleep(0.02)
    assert set(seen) == {Change("spans", None, trace_id("u").hex())}


async def test_readers_do_not_take_changes_from_each_other(store: Store) -> None:
    start, _ = await store.poll_changes()
    await store.write(batch(root("e", trace="t")))
    wanted = {Change("execution", "e")}
    first = await poll(store, start, wanted)
    await poll(store, start, wanted)
    await store.write(batch(root("f")))
    await poll(store, first, {Change("execution", "f")})
    await poll(store, start, {Change("execution", "e"), Change("execution", "f")})


async def test_nothing_is_missed_while_many_write(store: Store) -> None:
    cursor, _ = await store.poll_changes()
    wanted = {Change("execution", f"e{number}") for number in range(40)}

    async def write(numbers: range) -> None:
        for number in numbers:
            await store.write(batch(root(f"e{number}")))

    reader = asyncio.create_task(poll(store, cursor, wanted))
    await asyncio.gather(*(write(range(first, 40, 4)) for first in range(4)))
    await reader


async def test_a_cursor_that_is_not_ours_is_refused(store: Store) -> None:
    for cursor in ("", "x", "!", "WzFd", "WyJhIiwiYiIsImMiXQ"):
        with pytest.raises(InvalidValueError):
            await store.poll_changes(cursor)
