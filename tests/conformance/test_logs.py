"""Logs: their identity, order, filters and pages, and whose they are."""

from functools import partial
from typing import Any

import pytest

from spane_otel.identity import resource_row
from spane_otel.records import Log, LogPage, Resource
from spane_otel.stores.protocols import Store
from tests.conformance.pages import read_pages
from tests.rows import batch, log, ns, root, span, span_id, trace_id

TRACE = trace_id("t").hex()


def bodies(page: LogPage) -> list[Any]:
    return [each.body for each in page]


async def load(store: Store, **filters: Any) -> LogPage:
    return await store.list_logs(trace_id=TRACE, **filters)


async def test_every_field_of_a_log_comes_back_as_it_was_sent(store: Store) -> None:
    attributes = '{"exact":9007199254740993,"bytes":{"bytesValue":"AP8="},"spaced" : -0.0}'
    row = log(
        {"text": "it's ü €😀", "n": [1, 2.0]},
        trace="t",
        at=1,
        uid="uid-1",
        at_span="a",
        execution="e",
        node_id="n",
        process_id="p",
        observed_ns=2**63 - 1,
        severity=24,
        severity_text="FATAL4",
        attributes=attributes,
        dropped_attributes_count=2**32 - 1,
        event_name="order.failed",
        flags=2**32 - 1,
        seq=2**31 - 1,
    )
    await store.write(batch(row))
    (read,) = await load(store)
    assert read.attributes.text == attributes
    assert read.body_text == row.body
    assert read == Log(
        log_id=row.log_id.hex(),
        id="uid-1",
        time_ns=ns(1),
        observed_ns=2**63 - 1,
        time_source="time",
        severity=24,
        severity_text="FATAL4",
        level="fatal",
        body={"text": "it's ü €😀", "n": [1, 2.0]},
        attributes=read.attributes,
        dropped_attributes_count=2**32 - 1,
        event_name="order.failed",
        trace_id=TRACE,
        span_id=f"{span_id('a') & (2**64 - 1):016x}",
        flags=2**32 - 1,
        execution_id="e",
        node_id="n",
        body_text=row.body,
    )


async def test_a_body_may_be_any_value(store: Store) -> None:
    cases: list[tuple[str, Any]] = [
        ("null", None),
        ('""', ""),
        ("true", True),
        ("9223372036854775807", 2**63 - 1),
        ("1.0", 1.0),
        ('{"doubleValue":"Infinity"}', float("inf")),
        ('{"bytesValue":"AP8="}', b"\x00\xff"),
        ('[1,{"kvlistValue":{"bytesValue":"x"}}]', [1, {"bytesValue": "x"}]),
    ]
    await store.write(batch(*(log("", trace="t", body=text, seq=number) for number, (text, _) in enumerate(cases))))
    read = [(each.body_text, each.body, type(each.body)) for each in await load(store)]
    assert read == [(text, value, type(value)) for text, value in cases]


async def test_a_log_says_where_its_time_comes_from(store: Store) -> None:
    await store.write(batch(*(log(f"{source}", trace="t", time_source=source, seq=source) for source in range(3))))
    assert [each.time_source for each in await load(store)] == ["time", "observed", "receipt"]


@pytest.mark.first_answers
async def test_a_log_delivered_again_is_stored_once(store: Store) -> None:
    rows = [log("a", trace="t"), log("b", trace="t", uid="u")]
    first = await store.write(batch(*rows))
    assert (first.logs_stored, first.logs_duplicate) == (2, 0)
    again = await store.write(batch(*rows, log("c", trace="t"), log("c", trace="t")))
    assert (again.logs_stored, again.logs_duplicate) == (4, 3)
    assert (await store.stats()).logs == 3


async def test_equal_lines_of_one_request_are_two_and_stay_two(store: Store) -> None:
    for _ in range(2):
        await store.write(batch(log("tick", trace="t", ordinal=0), log("tick", trace="t", ordinal=1)))
    assert bodies(await load(store)) == ["tick", "tick"]


async def test_of_one_identity_the_first_stored_holds(store: Store) -> None:
    await store.write(batch(log("first", trace="t", uid="u")))
    await store.write(batch(log("second", trace="t", uid="u")))
    assert bodies(await load(store)) == ["first"]


async def test_one_uid_at_two_times_or_in_two_traces_is_two_logs(store: Store) -> None:
    await store.write(
        batch(log("a", trace="t", uid="u"), log("b", trace="t", uid="u", at=1), log("c", trace="x", uid="u"))
    )
    assert bodies(await load(store)) == ["a", "b"]
    assert (await store.stats()).logs == 3


async def test_logs_come_in_the_order_time_then_place_then_id(store: Store) -> None:
    rows = [log(f"tied {number}", trace="t", at=1, seq=3) for number in range(5)]
    tied = [f"tied {rows.index(row)}" for row in sorted(rows, key=lambda row: row.log_id)]
    await store.write(
        batch(
            *rows, log("late", trace="t", at=2), log("placed", trace="t", at=1, seq=2), log("early", trace="t", seq=9)
        )
    )
    assert bodies(await load(store)) == ["early", "placed", *tied, "late"]


async def test_logs_are_paged_each_once(store: Store) -> None:
    rows = [log(f"{number}", trace="t", at=number // 4, seq=number % 2) for number in range(12)]
    await store.write(batch(*rows))
    expected = bodies(await load(store))
    assert len(expected) == 12
    for limit in (1, 5, 12):
        read = await read_pages(partial(load, store), limit)
        assert [each.body for each in read] == expected


async def test_a_level_means_at_least_that(store: Store) -> None:
    await store.write(
        batch(*(log(f"{number}", trace="t", severity=number, seq=number) for number in (0, 1, 5, 9, 13, 16, 17, 21)))
    )
    expected = {
        None: ["0", "1", "5", "9", "13", "16", "17", "21"],
        "trace": ["1", "5", "9", "13", "16", "17", "21"],
        "debug": ["5", "9", "13", "16", "17", "21"],
        "info": ["9", "13", "16", "17", "21"],
        "warn": ["13", "16", "17", "21"],
        "error": ["17", "21"],
        "fatal": ["21"],
    }
    for level, found in expected.items():
        assert bodies(await load(store, level=level)) == found


async def test_text_is_found_in_the_body_as_it_reads(store: Store) -> None:
    """Neither the case counts, nor how JSON writes a quote, nor what a pattern language makes of a percent sign."""
    await store.write(
        batch(
            log('He said "Hello"', trace="t", seq=0),
            log("100% done_", trace="t", seq=1),
            log("path C:\\temp", trace="t", seq=2),
            log({"key": "Hello"}, trace="t", seq=3),
            log("line\nbreak ü", trace="t", seq=4),
        )
    )
    expected = {
        'said "hello"': [0],
        "HELLO": [0, 3],
        "%": [1],
        "done_": [1],
        "_": [1],
        "c:\\T": [2],
        "\nbreak": [4],
        "ü": [4],
        '"key"': [3],
        "nothing": [],
        "": [0, 1, 2, 3, 4],
    }
    everything = bodies(await load(store))
    for text, places in expected.items():
        assert bodies(await load(store, text=text)) == [everything[place] for place in places], text


async def test_logs_are_filtered_by_span_and_time(store: Store) -> None:
    await store.write(
        batch(
            log("a", trace="t", at=1, at_span="x"),
            log("b", trace="t", at=2, at_span="y"),
            log("c", trace="u", at=2, at_span="x"),
            log("d", at=3),
        )
    )
    hex_x = f"{span_id('x') & (2**64 - 1):016x}"
    assert bodies(await load(store, span_id=hex_x)) == ["a"]
    assert bodies(await load(store, since=ns(2))) == ["b"]
    assert bodies(await load(store, until=ns(2))) == ["a"]
    assert sorted(bodies(await store.list_logs(since=ns(2), until=ns(3)))) == ["b", "c"]
    assert bodies(await store.list_logs(since=ns(3))) == ["d"]
    assert await load(store, span_id="no id") == []
    assert await store.list_logs(trace_id="no id") == []
    assert await store.list_logs(trace_id="0" * 31 + "1") == []


async def test_logs_point_to_resources_that_are_returned_once(store: Store) -> None:
    bank = resource_row('{"service.name":"bank"}', "https://r", 1, "bank")
    made = batch(
        log("a", trace="t", at=1), log("b", trace="t", at=2, resource_id=bank.resource_id), log("c", trace="t", at=3)
    )
    made.resources[bank.resource_id] = bank
    await store.write(made)
    page = await load(store)
    assert len(page.resources) == 2
    assert page.resources[page[0].resource] == page.resources[page[2].resource]
    assert page.resources[page[1].resource] == Resource(page.resources[page[1].resource].attributes, "https://r", 1)
    assert page.resources[page[1].resource].attributes == {"service.name": "bank"}
    assert page.scopes[page[1].scope].name == "tests"


async def test_an_executions_logs_are_those_of_its_traces_and_its_own_without_a_trace(store: Store) -> None:
    await store.write(
        batch(
            root("e", trace="t"),
            span("n", trace="u", execution="e", node="n"),
            log("unstamped, first trace", trace="t", at=1),
            log("stamped, second trace", trace="u", at=2, execution="e", node_id="n", severity=17),
            log("no trace", at=3, execution="e"),
            log("another trace", trace="x", at=4),
            log("another execution, no trace", at=5, execution="f"),
            log("nobody's"),
        )
    )
    read = await store.get_logs("e")
    assert bodies(read) == ["unstamped, first trace", "stamped, second trace", "no trace"]
    assert bodies(await store.get_logs("e", node_id="n")) == ["stamped, second trace"]
    assert bodies(await store.get_logs("e", level="error")) == ["stamped, second trace"]
    assert bodies(await store.get_logs("e", text="FIRST")) == ["unstamped, first trace"]
    first = await store.get_logs("e", limit=2)
    assert bodies(first) == bodies(read)[:2]
    assert bodies(await store.get_logs("e", limit=2, cursor=first.next)) == ["no trace"]


async def test_of_a_shared_trace_an_execution_has_its_stamped_logs_and_those_of_its_spans(store: Store) -> None:
    await store.write(
        batch(
            root("outer", trace="t", name="outer"),
            span("step", trace="t", parent="outer"),
            root("inner", trace="t", name="inner", parent="step"),
            span("inner step", trace="t", parent="inner"),
            log("stamped outer", trace="t", at=1, execution="outer"),
            log("stamped inner", trace="t", at=2, execution="inner"),
            log("at the outer step", trace="t", at=3, at_span="step"),
            log("at the inner step", trace="t", at=4, at_span="inner step"),
            log("at no span", trace="t", at=5),
            log("at the span that ends the outer's part", trace="t", at=6, at_span="inner"),
        )
    )
    assert bodies(await store.get_logs("outer")) == ["stamped outer", "at the outer step"]
    assert bodies(await store.get_logs("inner")) == [
        "stamped inner",
        "at the inner step",
        "at the span that ends the outer's part",
    ]
    assert len(await store.list_logs(trace_id=TRACE)) == 6


async def test_what_a_reader_changes_is_its_own(store: Store) -> None:
    row = log({"list": [1]}, trace="t")
    await store.write(batch(row))
    row.body = "null"
    (read,) = await load(store)
    read.body["list"].append(2)
    assert bodies(await load(store)) == [{"list": [1]}]
