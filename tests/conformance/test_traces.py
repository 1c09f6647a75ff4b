"""Traces: by id, by execution, and in a list by their root."""

from typing import Any

from spane_otel.records import TRACE_SPAN_LIMIT, Stamp, Trace, TraceSummary
from spane_otel.stores.protocols import Store
from tests.conformance.pages import read_pages
from tests.rows import batch, log, ns, root, span, span_id, trace_id

ENTRY = 0x300
"""OTLP's flags: it is known that the parent is remote, and it is."""


def names(trace: Trace | None) -> list[str]:
    assert trace is not None
    return [each.name for each in trace.spans]


def child_of(parent: str, depth: int) -> Stamp:
    return Stamp(workflow_id="sub", parent_execution_id=parent, depth=depth)


async def listed(store: Store, **filters: Any) -> list[str]:
    return [each.name for each in await store.list_traces(**filters)]


async def test_a_trace_is_found_by_its_hex_id_alone(store: Store) -> None:
    await store.write(batch(span("a"), span("b", trace="u")))
    hex_id = trace_id("t").hex()
    found = await store.get_trace_by_id(hex_id)
    assert found is not None
    assert (names(found), found.trace_id, found.execution_id, found.truncated) == (["a"], hex_id, None, False)
    assert names(await store.get_trace_by_id(hex_id.upper())) == ["a"]
    for other in ("", "x" * 32, hex_id[:-1], f"{hex_id}0", f" {hex_id[:-1]}", "0" * 32, hex_id[:-2] + "é9"):
        assert await store.get_trace_by_id(other) is None


async def test_an_executions_trace_has_the_spans_of_all_its_traces_in_order(store: Store) -> None:
    await store.write(
        batch(
            root("e", trace="t", start=1),
            span("second", trace="u", start=2, execution="e", node="n"),
            span("third", trace="t", start=3, parent="root of e"),
            span("foreign", trace="x", start=1),
        )
    )
    trace = await store.get_trace("e")
    assert trace is not None
    assert names(trace) == ["root of e", "second", "third"]
    assert (trace.execution_id, trace.trace_id) == ("e", None)
    assert trace.trace_ids == (trace_id("t").hex(), trace_id("u").hex())


async def test_an_execution_without_spans_has_an_empty_trace(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    assert await store.get_trace("e") == Trace(execution_id="e")


async def test_a_trace_of_one_execution_belongs_to_it_whole(store: Store) -> None:
    await store.write(batch(span("request"), root("e", trace="t", name="run", parent="request", start=1)))
    assert names(await store.get_trace("e")) == ["request", "run"]


async def test_of_a_shared_trace_each_execution_has_its_part_and_the_first_span_of_the_next(store: Store) -> None:
    await store.write(
        batch(
            span("request", start=0),
            root("outer", trace="t", name="outer", parent="request", start=1),
            span("step", parent="outer", start=2),
            root("inner", trace="t", name="inner", parent="step", start=3),
            span("inner step", parent="inner", start=4),
            span("after", parent="outer", start=5, execution="outer", node="n"),
            span("detached", start=6, execution="outer", node="n"),
        )
    )
    assert names(await store.get_trace("outer")) == ["outer", "step", "inner", "after", "detached"]
    assert names(await store.get_trace("inner")) == ["inner", "inner step"]
    assert len(names(await store.get_trace_by_id(trace_id("t").hex()))) == 7


async def test_children_are_included_when_asked_for(store: Store) -> None:
    """One child in the same trace, its child in another, and another's execution in none of them."""
    await store.write(
        batch(
            root("outer", trace="t", name="outer", start=1),
            root("inner", trace="t", name="inner", parent="outer", start=2, stamp=child_of("outer", 1)),
            span("inner step", trace="t", parent="inner", start=3),
            root("deep", trace="u", name="deep", start=4, stamp=child_of("inner", 2)),
            span("deep step", trace="u", parent="deep", start=5),
            root("other", trace="x", name="other", start=6),
        )
    )
    assert names(await store.get_trace("outer")) == ["outer", "inner"]
    trace = await store.get_trace("outer", include_children=True)
    assert trace is not None
    assert names(trace) == ["outer", "inner", "inner step", "deep", "deep step"]
    assert trace.execution_id == "outer"
    assert trace.trace_ids == (trace_id("t").hex(), trace_id("u").hex())


async def test_traces_of_children_come_by_generation_the_oldest_first_whatever_the_order_of_arrival(
    store: Store,
) -> None:
    rows = [
        root("outer", trace="t", start=1),
        root("late", trace="late", start=3, stamp=child_of("outer", 1)),
        root("early", trace="early", start=2, stamp=child_of("outer", 1)),
        root("deep", trace="deep", start=0, stamp=child_of("early", 2)),
    ]
    for each in rows:
        await store.write(batch(each))
    trace = await store.get_trace("outer", include_children=True)
    assert trace is not None
    assert trace.trace_ids == tuple(trace_id(name).hex() for name in ("t", "early", "late", "deep"))


async def test_parents_that_form_a_circle_end(store: Store) -> None:
    await store.write(
        batch(
            root("a", trace="t", name="a", parent="b", stamp=child_of("b", 1)),
            root("b", trace="t", name="b", parent="a", start=1, stamp=child_of("a", 1)),
        )
    )
    assert names(await store.get_trace("a", include_children=True)) == ["a", "b"]
    assert names(await store.get_trace("a")) == ["a", "b"]


async def test_a_trace_is_cut_after_10000_spans_and_says_so(store: Store) -> None:
    rows = [span(f"{number}", start=number / 1_000, end=30, parent="0") for number in range(1, TRACE_SPAN_LIMIT)]
    await store.write(batch(root("e", trace="t", name="0", end=30), *rows))
    full = await store.get_trace_by_id(trace_id("t").hex())
    assert full is not None
    assert (len(full.spans), full.truncated) == (TRACE_SPAN_LIMIT, False)
    assert (await store.count_telemetry(["e"]))["e"].truncated is False
    await store.write(batch(span("between", start=0.0005, parent="0", status=2)))
    cut = await store.get_trace_by_id(trace_id("t").hex())
    assert cut is not None
    assert (len(cut.spans), cut.truncated) == (TRACE_SPAN_LIMIT, True)
    assert names(cut)[:3] == ["0", "between", "1"]
    assert names(cut)[-1] == f"{TRACE_SPAN_LIMIT - 2}"
    execution = await store.get_trace("e")
    assert execution is not None
    assert (len(execution.spans), execution.truncated) == (TRACE_SPAN_LIMIT, True)
    counts = (await store.count_telemetry(["e"]))["e"]
    assert (counts.spans, counts.truncated) == (TRACE_SPAN_LIMIT, True)
    (summary,) = await store.list_traces()
    assert (summary.spans, summary.truncated) == (TRACE_SPAN_LIMIT, True)


async def test_a_trace_is_listed_by_its_root(store: Store) -> None:
    await store.write(
        batch(
            root("e", trace="t", start=1, end=4, name="run", kind=2, status=2, status_message="no"),
            span("child", start=2, parent="run", status=2),
            span("other", start=3, parent="run"),
        )
    )
    assert await store.list_traces() == [
        TraceSummary(
            trace_id=trace_id("t").hex(),
            root_span_id=f"{span_id('run') & (2**64 - 1):016x}",
            name="run",
            service="shop",
            kind="server",
            status="error",
            status_message="no",
            state="failed",
            start_ns=ns(1),
            end_ns=ns(4),
            execution_ids=("e",),
            spans=3,
            errors=2,
        )
    ]


async def test_the_root_is_the_earliest_parentless_span_else_the_earliest_entry_span(store: Store) -> None:
    await store.write(
        batch(
            span("entry before", trace="1", parent="x", flags=ENTRY, start=1),
            span("second without parent", trace="1", start=3),
            span("first without parent", trace="1", start=2),
            span("late entry", trace="2", parent="x", flags=ENTRY, start=3),
            span("early entry", trace="2", parent="x", flags=ENTRY | 1, start=2),
            span("inner", trace="2", parent="x", start=1),
            span("local parent", trace="3", parent="x", flags=0x100, start=1),
            span("remote bit alone", trace="4", parent="x", flags=0x200, start=1),
            span("tied, placed second", trace="5", start=1, seq=1, span_id=1),
            span("tied, placed first", trace="5", start=1, seq=0, span_id=2),
        )
    )
    assert sorted(await listed(store)) == ["early entry", "first without parent", "tied, placed first"]


async def test_a_trace_gets_another_root_when_a_better_one_comes(store: Store) -> None:
    await store.write(batch(span("entry", parent="x", flags=ENTRY, start=5)))
    assert await listed(store) == ["entry"]
    await store.write(batch(span("late", start=9)))
    assert await listed(store) == ["late"]
    await store.write(batch(span("early", start=1, end=None)))
    assert [(each.name, each.end_ns) for each in await store.list_traces()] == [("early", None)]
    await store.write(batch(span("early", start=1, end=7)))
    assert [(each.name, each.end_ns) for each in await store.list_traces()] == [("early", ns(7))]


async def test_traces_are_listed_newest_first_each_once_over_all_pages(store: Store) -> None:
    """Some have two roots, some start together: then the trace id decides."""
    rows = [span("root", trace=f"{number}", start=number // 3) for number in range(9)]
    rows += [span("second root", trace=f"{number}", start=number // 3 + 20) for number in range(0, 9, 2)]
    await store.write(batch(*rows))
    order = sorted(((number // 3, trace_id(f"{number}").hex()) for number in range(9)), reverse=True)
    expected = [hex_id for _, hex_id in order]
    for limit in (1, 2, 4, 9, 100):
        read = await read_pages(store.list_traces, limit)
        assert [each.trace_id for each in read] == expected


async def test_traces_are_filtered_by_what_their_root_is(store: Store) -> None:
    await store.write(
        batch(
            span("get", trace="1", start=1, service="shop"),
            span("get", trace="2", start=2, service="bank"),
            span("put", trace="3", start=3, service="shop"),
            span("get", trace="4", start=4, service="shop"),
            span("inner", trace="3", start=4, service="bank", parent="put"),
            span("get", trace="3", start=5, span_id=5, service="bank"),
        )
    )

    async def traces(**filters: Any) -> list[str]:
        known = {trace_id(each).hex(): each for each in "1234"}
        return [known[each.trace_id] for each in await store.list_traces(**filters)]

    assert await traces() == ["4", "3", "2", "1"]
    assert await traces(service="shop") == ["4", "3", "1"]
    assert await traces(service="bank") == ["2"]
    assert await traces(name="get") == ["4", "2", "1"]
    assert await traces(service="shop", name="get", since=ns(2)) == ["4"]
    assert await traces(since=ns(2), until=ns(4)) == ["3", "2"]
    assert await traces(since=ns(5)) == []
    assert await traces(name="none") == []
    first = await store.list_traces(service="shop", limit=2)
    assert await traces(service="shop", cursor=first.next) == ["1"]


async def test_a_listed_trace_names_all_its_executions(store: Store) -> None:
    await store.write(
        batch(
            root("b", trace="t", name="b", start=1),
            root("a", trace="t", name="a", parent="b", start=2),
            span("plain", trace="u"),
        )
    )
    listed_ids = {each.name: each.execution_ids for each in await store.list_traces()}
    assert listed_ids == {"b": ("b", "a"), "plain": ()}


async def test_logs_alone_make_no_trace(store: Store) -> None:
    await store.write(batch(log("a", trace="t"), log("b", execution="e")))
    assert await store.list_traces() == []
    assert await store.get_trace_by_id(trace_id("t").hex()) is None
    assert await store.list_executions() == []


async def test_names_and_services_may_be_any_text(store: Store) -> None:
    texts = ["GET /ü?q=😀", "it's", "a\nb", "%", ""]
    await store.write(batch(*(span(text, trace=text, name=text, service=text) for text in texts)))
    for text in texts:
        assert await listed(store, name=text, service=text) == [text]
        assert await listed(store, name=text) == await listed(store, service=text) == [text]
