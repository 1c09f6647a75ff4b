"""Spans: their identity, their versions, and that every field comes back."""

from typing import Any

import pytest

from spane_otel.identity import resource_row, scope_row
from spane_otel.records import SPAN_KINDS, SPAN_STATUSES, Resource, Scope, Span, Trace
from spane_otel.stores.protocols import Store
from tests.rows import batch, ns, span, span_id, trace_id

TRACE = trace_id("t").hex()

EXTREME_ATTRIBUTES = (
    '{"":"empty key","int":9223372036854775807,"least":-9223372036854775808,"exact":9007199254740993,"zero":-0.0,'
    '"small":5e-324,"big":1.7976931348623157e308,"one":1.0,"nan":{"doubleValue":"NaN"},"bytes":{"bytesValue":"AP8="},'
    '"map":{"kvlistValue":{"bytesValue":"text"}},"nested":{"a":[1,[2,{"b":null}]]},"mixed":[1,"1",true,null],'
    '"spaced" : "kept as written","unicode":"ü €😀\\u0001","bool":true}'
)


async def load(store: Store, trace: str = TRACE) -> Trace:
    found = await store.get_trace_by_id(trace)
    assert found is not None
    return found


async def load_span(store: Store) -> Span:
    trace = await load(store)
    assert len(trace.spans) == 1
    return trace.spans[0]


async def test_every_field_of_a_span_comes_back_as_it_was_sent(store: Store) -> None:
    events = (
        '[{"name":"exception","time_ns":"1700000000000000001","attributes":' + EXTREME_ATTRIBUTES + ","
        '"dropped_attributes_count":4294967295}]'
    )
    links = (
        '[{"trace_id":"0123456789abcdef0123456789abcdef","span_id":"fedcba9876543210","trace_state":"a=b",'
        '"flags":4294967295,"attributes":{"n":9007199254740993},"dropped_attributes_count":1}]'
    )
    row = span(
        "a",
        span_id=-(2**63),
        parent_id=2**63 - 1,
        start=1,
        end_ns=2**63 - 1,
        name="GET /ü?q=😀 ' \" \\ \n",
        kind=3,
        status=2,
        status_message="it's\nbroken",
        trace_state="vendor=1,other=2",
        flags=2**32 - 1,
        attributes=EXTREME_ATTRIBUTES,
        dropped_attributes_count=2**32 - 1,
        events=events,
        dropped_events_count=2**32 - 2,
        links=links,
        dropped_links_count=2**32 - 3,
        execution_id="e",
        node_id="n/1",
        added_id="by hand",
        revision=2**31 - 1,
        seq=2**31 - 1,
    )
    await store.write(batch(row))
    read = await load_span(store)
    assert read.attributes.text == EXTREME_ATTRIBUTES
    assert read.events.text == events
    assert read.links.text == links
    assert read.attributes["bytes"] == b"\x00\xff"
    assert read.attributes["exact"] == 2**53 + 1
    assert read.events[0]["attributes"]["least"] == -(2**63)
    assert read == Span(
        trace_id=TRACE,
        span_id="8000000000000000",
        id="by hand",
        parent_span_id="7fffffffffffffff",
        name="GET /ü?q=😀 ' \" \\ \n",
        kind="client",
        start_ns=ns(1),
        end_ns=2**63 - 1,
        status="error",
        status_message="it's\nbroken",
        state="failed",
        trace_state="vendor=1,other=2",
        flags=2**32 - 1,
        attributes=read.attributes,
        dropped_attributes_count=2**32 - 1,
        events=read.events,
        dropped_events_count=2**32 - 2,
        links=read.links,
        dropped_links_count=2**32 - 3,
        resource=0,
        scope=0,
        execution_id="e",
        node_id="n/1",
    )


async def test_a_span_with_nothing_but_its_identity_comes_back_empty(store: Store) -> None:
    await store.write(batch(span("a", name="")))
    read = await load_span(store)
    assert read == Span(
        trace_id=TRACE,
        span_id=f"{span_id('a') & (2**64 - 1):016x}",
        start_ns=ns(0),
        end_ns=ns(1),
        state="completed",
    )
    assert read.attributes == {}
    assert read.events == []
    assert read.links == []


async def test_every_kind_and_status_has_its_word(store: Store) -> None:
    await store.write(
        batch(
            *(span(f"kind {number}", kind=number, start=number) for number in range(len(SPAN_KINDS))),
            *(span(f"status {number}", trace="u", status=number, start=number) for number in range(3)),
        )
    )
    assert tuple(each.kind for each in (await load(store)).spans) == SPAN_KINDS
    assert tuple(each.status for each in (await load(store, trace_id("u").hex())).spans) == SPAN_STATUSES


async def test_a_spans_state_is_derived_when_read(store: Store) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"end": 1}, "completed"),
        ({"end": 1, "status": 2}, "failed"),
        ({"end": 1, "state": "cancelled"}, "cancelled"),
        ({"end": 1, "state": "skipped", "status": 2}, "skipped"),
        ({"end": None}, "open"),
        ({"end": None, "status": 2}, "failed"),
        ({"end": None, "process_id": "p"}, "running"),
        ({"end": None, "state": "running"}, "running"),
    ]
    rows = [span(f"{number}", seq=number, **columns) for number, (columns, _) in enumerate(cases)]
    await store.write(batch(*rows, heartbeats=["p"]))
    assert [each.state for each in (await load(store)).spans] == [state for _, state in cases]


async def test_an_end_before_the_start_is_kept_raw(store: Store) -> None:
    await store.write(batch(span("a", start=5, end=4), span("b", start=6, end_ns=0)))
    assert [each.end_ns for each in (await load(store)).spans] == [ns(4), 0]


@pytest.mark.first_answers
async def test_a_span_delivered_again_is_stored_once_and_counted_as_duplicate(store: Store) -> None:
    rows = [span("a"), span("b")]
    first = await store.write(batch(*rows))
    assert (first.spans_stored, first.spans_duplicate, first.rejected) == (2, 0, [])
    again = await store.write(batch(*rows, span("c"), span("c")))
    assert (again.spans_stored, again.spans_duplicate) == (4, 3)
    assert len((await load(store)).spans) == 3
    assert (await store.stats()).spans == 3


async def test_an_end_replaces_its_announcement(store: Store) -> None:
    await store.write(batch(span("a", end=None, process_id="p", attributes='{"v":1}'), heartbeats=["p"]))
    assert (await load_span(store)).state == "running"
    await store.write(batch(span("a", end=3, process_id="p", attributes='{"v":2}', status=1)))
    read = await load_span(store)
    assert (read.end_ns, read.state, read.status) == (ns(3), "completed", "ok")
    assert read.attributes == {"v": 2}


async def test_the_greater_version_holds_in_either_order_and_in_one_batch(store: Store) -> None:
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "ended over open": ({"end": 3}, {"end": None, "revision": 9}),
        "the later end": ({"end": 3}, {"end": 2, "revision": 9}),
        "the revision of equal ends": ({"end": 3, "revision": 2}, {"end": 3, "revision": 1}),
        "the revision of open ones": ({"end": None, "revision": 2}, {"end": None, "revision": 1}),
        "an end at 0": ({"end_ns": 0}, {"end": None, "revision": 9}),
        "an end before 1970": ({"end_ns": -5}, {"end": None, "revision": 9}),
    }
    for case, (greater, lesser) in cases.items():
        winner = {"name": "winner", "attributes": '{"v":"winner"}', **greater}
        loser = {"name": "loser", "attributes": '{"v":"loser"}', **lesser}
        traces = [f"{case} {number}" for number in range(4)]
        await store.write(batch(span("a", trace=traces[0], **winner)))
        await store.write(batch(span("a", trace=traces[0], **loser), span("a", trace=traces[1], **loser)))
        await store.write(batch(span("a", trace=traces[1], **winner)))
        await store.write(batch(span("a", trace=traces[2], **loser), span("a", trace=traces[2], **winner)))
        await store.write(batch(span("a", trace=traces[3], **winner), span("a", trace=traces[3], **loser)))
        for trace in traces:
            spans = (await load(store, trace_id(trace).hex())).spans
            assert [(each.name, each.attributes["v"]) for each in spans] == [("winner", "winner")], trace


async def test_of_equal_versions_the_first_stored_holds(store: Store) -> None:
    await store.write(batch(span("a", name="first")))
    await store.write(batch(span("a", name="second")))
    assert (await load_span(store)).name == "first"


async def test_equal_ids_with_different_starts_are_two_spans(store: Store) -> None:
    await store.write(batch(span("a", start=1, name="one"), span("a", start=2, name="two")))
    assert [each.name for each in (await load(store)).spans] == ["one", "two"]


async def test_equal_span_ids_of_different_traces_are_two_spans(store: Store) -> None:
    await store.write(batch(span("a", trace="t"), span("a", trace="u")))
    assert (await store.stats()).spans == 2
    assert len((await load(store)).spans) == 1


async def test_spans_come_in_the_order_start_then_place_then_signed_id(store: Store) -> None:
    await store.write(
        batch(
            span("late", start=2, span_id=1),
            span("positive", start=1, seq=1, span_id=3),
            span("negative", start=1, seq=1, span_id=-3),
            span("placed first", start=1, seq=0, span_id=9),
            span("early", start=0, seq=7, span_id=8),
        )
    )
    names = [each.name for each in (await load(store)).spans]
    assert names == ["early", "placed first", "negative", "positive", "late"]


async def test_a_span_keeps_the_place_of_its_first_version(store: Store) -> None:
    await store.write(batch(span("a", end=None, seq=0), span("b", end=None, seq=1)))
    await store.write(batch(span("b", seq=0, name="b ended"), span("a", seq=5, name="a ended")))
    assert [each.name for each in (await load(store)).spans] == ["a ended", "b ended"]


async def test_resources_and_scopes_are_returned_once_and_pointed_to(store: Store) -> None:
    shop = resource_row('{"service.name":"shop","n":9007199254740993}', "https://r/1", 2, "shop")
    bank = resource_row('{"service.name":"bank"}', "", 0, "bank")
    scope = scope_row("lib", "1.2", '{"a":1}', "https://s/1", 3)
    other = scope_row()
    made = batch(
        span("a", start=1, resource_id=shop.resource_id, scope_id=scope.scope_id, service="shop"),
        span("b", start=2, resource_id=bank.resource_id, scope_id=scope.scope_id, service="bank"),
        span("c", start=3, resource_id=shop.resource_id, scope_id=other.scope_id, service="shop"),
    )
    made.resources = {each.resource_id: each for each in (shop, bank)}
    made.scopes = {each.scope_id: each for each in (scope, other)}
    await store.write(made)
    await store.write(made)
    trace = await load(store)
    assert len(trace.resources) == len(trace.scopes) == 2
    resources = [trace.resources[each.resource] for each in trace.spans]
    scopes = [trace.scopes[each.scope] for each in trace.spans]
    assert resources[0] == resources[2] == Resource(resources[0].attributes, "https://r/1", 2)
    assert resources[0].attributes.text == '{"service.name":"shop","n":9007199254740993}'
    assert resources[1].attributes == {"service.name": "bank"}
    assert scopes[0] == scopes[1] == Scope("lib", "1.2", scopes[0].attributes, "https://s/1", 3)
    assert scopes[0].attributes == {"a": 1}
    assert scopes[2] == Scope()


async def test_a_writer_may_change_its_rows_after_writing(store: Store) -> None:
    row = span("a", name="kept")
    made = batch(row)
    await store.write(made)
    row.name = "changed"
    made.spans.clear()
    made.resources.clear()
    read = await load(store)
    assert read.spans[0].name == "kept"
    assert read.resources[0].attributes == {"service.name": "shop"}


async def test_what_a_reader_changes_is_its_own(store: Store) -> None:
    await store.write(batch(span("a", attributes='{"list":[1]}')))
    read = await load(store)
    read.spans[0].attributes["list"].append(2)
    read.spans.clear()
    assert (await load_span(store)).attributes == {"list": [1]}


async def test_an_empty_batch_is_nothing(store: Store) -> None:
    result = await store.write(batch())
    assert (result.spans_stored, result.logs_stored, result.rejected) == (0, 0, [])
