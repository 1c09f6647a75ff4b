"""Logs added by hand: log records like any other."""

import asyncio
from typing import Any

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidValueError, UnknownExecutionError
from spane_otel.ids import execution_trace_id
from spane_otel.stores.protocols import Store
from tests.conformance.loading import load_logs, load_spans
from tests.conformance.pages import read_pages
from tests.conformance.subjects import Subject
from tests.rows import batch, log, ns, root, span_id, trace_id


async def test_a_log_comes_back_as_it_was_added(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    answer = await store.add_log(
        "e",
        "out of stock ü",
        level="warn",
        node_id="n",
        id="log 1 ü",
        time_ns=ns(5),
        metadata={"sku": "A-1", "left": 0, "list": [1, None]},
    )
    assert answer == "log 1 ü"
    page = await store.get_logs("e")
    (added,) = page
    assert (added.id, added.message, added.body, added.level) == ("log 1 ü", "out of stock ü", "out of stock ü", "warn")
    assert (added.severity, added.severity_text) == (13, "WARN")
    assert (added.execution_id, added.node_id, added.time_ns, added.time_source) == ("e", "n", ns(5), "time")
    assert dict(added.attributes) == {"sku": "A-1", "left": 0, "list": [1, None]}
    assert added.span_id is None
    assert page.resources[added.resource].attributes["service.name"] == "spane"


async def test_without_an_id_each_call_is_another_and_without_a_time_it_is_now(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    before_ns = subject.now_ns()
    ids = [await store.add_log("e", "same") for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(len(each) == 36 and each[14] == "7" for each in ids)
    logs = await load_logs(store, "e")
    assert {each.id for each in logs} == set(ids)
    for each in logs:
        assert (each.level, each.message) == ("info", "same")
        assert before_ns - SECOND <= each.time_ns <= subject.now_ns() + SECOND


async def test_every_level_is_taken_and_means_at_least_that(store: Store) -> None:
    levels = ["trace", "debug", "info", "warn", "error", "fatal"]
    await store.create_execution("order", execution_id="e")
    for level in levels:
        await store.add_log("e", level, level=level)
    for place, level in enumerate(levels):
        found = await store.get_logs("e", level=level)
        assert [each.level for each in found] == levels[place:]


async def test_an_id_that_is_there_in_this_execution_is_a_no_op(subject: Subject) -> None:
    store = subject.store
    for execution_id in ("e", "f"):
        await store.create_execution("order", execution_id=execution_id)
        await store.add_log(execution_id, f"of {execution_id}", id="l")
    held = await load_logs(store, "e")
    await subject.wait(0.002)
    assert await store.add_log("e", "another message", id="l", level="fatal", time_ns=ns(1)) == "l"
    assert await load_logs(store, "e") == held
    assert [each.message for each in await load_logs(store, "f")] == ["of f"]


async def test_many_who_add_one_id_at_once_add_one(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(*(store.add_log("e", f"m{number}", id="l") for number in range(8)))
    assert len(await load_logs(store, "e")) == 1


async def test_an_id_added_at_two_times_in_two_days_at_once_is_one_log(store: Store) -> None:
    """A log's time is part of its key: it is found there under whatever time it came first."""
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(
        *(store.add_log("e", "m", id="l", time_ns=ns(-86_400 * (number % 2) - number)) for number in range(6))
    )
    assert len(await load_logs(store, "e")) == 1


async def test_logs_come_by_time_then_in_the_order_in_which_they_were_added(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    messages = [f"m{number}" for number in range(12)]
    for message in messages:
        await store.add_log("e", message, time_ns=ns(5))
    await store.add_log("e", "first", time_ns=ns(4))
    await store.add_log("e", "last", time_ns=ns(6))
    expected = ["first", *messages, "last"]
    assert [each.message for each in await load_logs(store, "e")] == expected

    async def read(limit: int, cursor: str | None) -> Any:
        return await store.get_logs("e", limit=limit, cursor=cursor)

    for limit in (1, 5, 14):
        assert [each.message for each in await read_pages(read, limit)] == expected


async def test_logs_are_found_by_node_and_text(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_log("e", "Out of STOCK", node_id="a")
    await store.add_log("e", "100% in stock", node_id="b")
    await store.add_log("e", "else")
    assert [each.message for each in await store.get_logs("e", node_id="b")] == ["100% in stock"]
    assert [each.message for each in await store.get_logs("e", text="stock")] == ["Out of STOCK", "100% in stock"]
    assert [each.message for each in await store.get_logs("e", text="0%")] == ["100% in stock"]
    assert len(await store.get_logs("e", text="")) == 3


async def test_a_log_is_at_the_span_that_it_names(store: Store) -> None:
    await store.write(batch(root("e", trace="t", end=None)))
    await store.add_span("e", name="added", id="added")
    foreign = f"{span_id('root of e') & (2**64 - 1):016x}"
    await store.add_log("e", "at an added span", span_id="added", time_ns=ns(1))
    await store.add_log("e", "at another", span_id=foreign, time_ns=ns(2))
    added = (await load_spans(store, "e"))["added"]
    at_added, at_another = await load_logs(store, "e")
    assert (at_added.span_id, at_added.trace_id) == (added.span_id, added.trace_id)
    assert at_another.span_id == foreign
    listed = await store.list_logs(trace_id=added.trace_id, span_id=added.span_id)
    assert [each.message for each in listed] == ["at an added span"]


async def test_added_logs_and_those_of_opentelemetry_are_one_list(store: Store) -> None:
    await store.write(batch(root("e", trace="t", end=None), log("received", trace="t", at=2)))
    await store.add_log("e", "before", time_ns=ns(1))
    await store.add_log("e", "after", time_ns=ns(3))
    assert [each.message for each in await load_logs(store, "e")] == ["before", "received", "after"]
    assert [each.message for each in await store.list_logs()] == ["before", "received", "after"]
    assert (await store.count_telemetry(["e"]))["e"].logs == 3


async def test_any_text_is_a_message_and_metadata_of_any_kind_is_kept(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    for message in ("", " ", "a\nb", "ü €😀", "x" * 100_000, "null", "{}"):
        text = await store.add_log("e", message)
        (read,) = [each for each in await load_logs(store, "e") if each.id == text]
        assert read.message == message
    text = await store.add_log("e", "m", metadata={"bytes": b"\0\xff", "nan": float("inf"), "big": 2**70, "": None})
    (read,) = [each for each in await load_logs(store, "e") if each.id == text]
    assert dict(read.attributes) == {"bytes": b"\0\xff", "nan": float("inf"), "big": str(2**70), "": None}


async def test_a_text_that_json_holds_and_no_column_does_is_repaired(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_log("e", "bad \0 and \ud800", metadata={"k\0": "v\ud800"})
    (read,) = await load_logs(store, "e")
    assert read.message == "bad \ufffd and \ufffd"
    assert dict(read.attributes) == {"k\ufffd": "v\ufffd"}


async def test_what_makes_no_sense_is_refused_and_adds_nothing(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    far = 400 * 86_400 * SECOND
    wrong: list[dict[str, Any]] = [
        *({"level": bad} for bad in ("warning", "", "INFO", None, 5)),
        *({"id": bad} for bad in ("", "a\0", "\ud800", 5)),
        *({"node_id": bad} for bad in ("", "x" * 257)),
        *({"time_ns": bad} for bad in (0, subject.now_ns() - far, subject.now_ns() + far, 2**63)),
        *({"metadata": bad} for bad in ([1], "text", 5)),
    ]
    for arguments in wrong:
        with pytest.raises(InvalidValueError):
            await store.add_log("e", "m", **arguments)
    assert await load_logs(store, "e") == []


async def test_an_unknown_execution_gets_no_log(store: Store) -> None:
    with pytest.raises(UnknownExecutionError):
        await store.add_log("nobody", "m")
    assert (await store.stats()).logs == 0


async def test_added_logs_show_in_the_change_feed(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    cursor, _ = await store.poll_changes()
    await store.add_log("e", "m")
    _, changes = await store.poll_changes(cursor)
    assert ("logs", "e") in {(each.kind, each.execution_id) for each in changes}


async def test_a_log_alone_links_no_trace(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_log("e", "m")
    trace = await store.get_trace("e")
    assert trace is not None
    assert (trace.spans, trace.trace_ids) == ([], ())
    assert await store.get_trace_by_id(execution_trace_id("e").hex()) is None
    assert await store.get_trace_by_id(trace_id("t").hex()) is None
