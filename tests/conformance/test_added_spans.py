"""Spans added by hand: spans like any other, under any text as their id."""

import asyncio
from typing import Any

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidValueError, SpanExistsError, UnknownExecutionError, UnknownSpanError
from spane_otel.ids import execution_trace_id
from spane_otel.stores.protocols import AddedStatus, Store
from tests.conformance.loading import load_execution, load_spans
from tests.conformance.subjects import Subject
from tests.rows import batch, ns, root, span_id, trace_id

DAY = 86_400 * SECOND


async def test_a_span_comes_back_as_it_was_added(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    start_ns = subject.now_ns() - 5 * SECOND
    answer = await store.add_span(
        *("e",),
        name="fetch ü",
        id="span 1 ü",
        node_id="n",
        start_ns=start_ns,
        metadata={"url": "https://shop.example", "n": 1, "f": 1.5, "list": [1, "a"], "map": {"a": None}},
    )
    assert answer == "span 1 ü"
    (added,) = (await load_spans(store, "e")).values()
    assert (added.id, added.name, added.node_id, added.execution_id) == ("span 1 ü", "fetch ü", "n", "e")
    assert (added.start_ns, added.end_ns, added.state, added.status) == (start_ns, None, "running", "unset")
    assert dict(added.attributes) == {
        "url": "https://shop.example",
        "n": 1,
        "f": 1.5,
        "list": [1, "a"],
        "map": {"a": None},
    }
    assert added.trace_id == execution_trace_id("e").hex()
    assert added.parent_span_id is None
    assert len(added.span_id) == 16
    trace = await store.get_trace_by_id(added.trace_id)
    assert trace is not None
    assert trace.spans == [added]
    assert trace.resources[0].attributes["service.name"] == "spane"
    assert (await load_execution(store, "e")).trace_ids == (added.trace_id,)


async def test_without_an_id_each_is_another_and_without_a_start_it_starts_now(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    before_ns = subject.now_ns()
    ids = [await store.add_span("e", name="same") for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(len(each) == 36 and each[14] == "7" for each in ids)
    spans = await load_spans(store, "e")
    assert set(spans) == set(ids)
    for each in spans.values():
        assert before_ns - SECOND <= each.start_ns <= subject.now_ns() + SECOND


async def test_a_status_becomes_the_state_and_a_final_one_ends_at_once(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    expected = {
        "running": ("running", "unset", False),
        "completed": ("completed", "ok", True),
        "failed": ("failed", "error", True),
        "skipped": ("skipped", "ok", True),
        "cancelled": ("cancelled", "unset", True),
    }
    for status in expected:
        await store.add_span("e", name="n", id=f"added {status}", status=status)  # type: ignore[arg-type]  # a status
        await store.add_span("e", name="n", id=f"updated {status}")
        await store.update_span("e", f"updated {status}", status=status)  # type: ignore[arg-type]  # a status
    for text, each in (await load_spans(store, "e")).items():
        assert (each.state, each.status, each.end_ns is not None) == expected[text.split()[1]], text
        assert each.end_ns is None or each.end_ns >= each.start_ns


async def test_an_error_is_the_statuss_message(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="n", id="a", status="failed", error="no stock \0")
    await store.add_span("e", name="n", id="b")
    await store.update_span("e", "b", status="failed", error="no stock \ud800")
    messages = {text: each.status_message for text, each in (await load_spans(store, "e")).items()}
    assert messages == {"a": "no stock \ufffd", "b": "no stock \ufffd"}


async def test_any_text_is_an_id_and_ids_of_executions_do_not_meet(store: Store) -> None:
    texts = ["1", "01", "a/b", " ", "ü €😀", "x" * 5_000, "0123456789abcdef", "A", "a"]
    for execution_id in ("e", "f"):
        await store.create_execution("order", execution_id=execution_id)
        for text in texts:
            assert await store.add_span(execution_id, name=f"{execution_id} {text[:20]}", id=text) == text
    for execution_id in ("e", "f"):
        spans = await load_spans(store, execution_id)
        assert {text: each.name for text, each in spans.items()} == {
            text: f"{execution_id} {text[:20]}" for text in texts
        }
        assert len({each.span_id for each in spans.values()}) == len(texts)


async def test_adding_the_same_again_is_a_no_op_whatever_was_updated_since(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    given: dict[str, Any] = {"name": "n", "node_id": "a", "metadata": {"k": 1}}
    await store.add_span("e", id="s", **given)
    await store.update_span("e", "s", status="completed", metadata={"k": 2})
    held = await load_spans(store, "e")
    await subject.wait(0.002)
    assert await store.add_span("e", id="s", **given) == "s"
    assert await load_spans(store, "e") == held


async def test_adding_other_content_under_an_id_that_is_there_is_refused(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    given: dict[str, Any] = {"name": "n", "node_id": "a", "start_ns": ns(5), "metadata": {"k": 1}}
    await store.add_span("e", id="s", **given)
    held = await load_spans(store, "e")
    others: list[dict[str, Any]] = [
        {"name": "m"},
        {"node_id": None},
        {"parent_id": "p"},
        {"start_ns": ns(6)},
        {"status": "completed"},
        {"error": "e"},
        {"metadata": {"k": "1"}},
        {"metadata": None},
    ]
    for other in others:
        with pytest.raises(SpanExistsError) as refused:
            await store.add_span("e", id="s", **{**given, **other})
        assert (refused.value.execution_id, refused.value.span_id) == ("e", "s")
        assert await load_spans(store, "e") == held, other
    assert await store.add_span("e", id="s", **given) == "s"


async def test_many_who_add_the_same_at_once_add_one(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(*(store.add_span("e", name="n", id="s") for _ in range(8)))
    assert set(await load_spans(store, "e")) == {"s"}


async def test_of_many_who_add_something_else_under_one_id_at_once_one_does(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    outcomes = await asyncio.gather(
        *(store.add_span("e", name=f"n{number}", id="s") for number in range(8)), return_exceptions=True
    )
    (kept,) = (await load_spans(store, "e")).values()
    for number, outcome in enumerate(outcomes):
        assert outcome == "s" if f"n{number}" == kept.name else isinstance(outcome, SpanExistsError)


async def test_a_span_below_an_added_one_is_in_its_trace(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="outer", id="outer")
    await store.add_span("e", name="inner", id="inner", parent_id="outer")
    await store.add_span("e", name="innermost", id="innermost", parent_id="inner")
    spans = await load_spans(store, "e")
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert spans["innermost"].parent_span_id == spans["inner"].span_id
    assert len({each.trace_id for each in spans.values()}) == 1


async def test_a_span_below_one_of_opentelemetrys_is_in_its_trace(store: Store) -> None:
    await store.write(batch(root("e", trace="t", end=None)))
    parent = f"{span_id('root of e') & (2**64 - 1):016x}"
    await store.add_span("e", name="added", id="added", parent_id=parent)
    added = (await load_spans(store, "e"))["added"]
    assert (added.trace_id, added.parent_span_id) == (trace_id("t").hex(), parent)
    assert (await load_execution(store, "e")).trace_ids == (trace_id("t").hex(),)


async def test_a_parent_that_is_not_there_leaves_the_span_in_the_executions_own_trace(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.create_execution("order", execution_id="f")
    await store.add_span("f", name="anothers", id="anothers")
    for parent in ("nobody", "0123456789abcdef", "anothers"):
        await store.add_span("e", name="n", id=f"below {parent}", parent_id=parent)
    spans = await load_spans(store, "e")
    assert len(spans) == 3
    assert {each.trace_id for each in spans.values()} == {execution_trace_id("e").hex()}


async def test_an_update_changes_only_what_is_given(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="n", id="s", node_id="a", start_ns=ns(5), metadata={"keep": 1, "k": {"x": 1}})
    first = (await load_spans(store, "e"))["s"]
    await store.update_span("e", "s")
    assert (await load_spans(store, "e"))["s"] == first, "nothing given is a no-op"
    await store.update_span("e", "s", metadata={"k": {"y": 2}, "new": None})
    second = (await load_spans(store, "e"))["s"]
    assert dict(second.attributes) == {"keep": 1, "k": {"y": 2}, "new": None}
    assert (second.state, second.end_ns, second.name, second.node_id) == ("running", None, "n", "a")
    await store.update_span("e", "s", end_ns=ns(9))
    third = (await load_spans(store, "e"))["s"]
    assert (third.end_ns, third.state) == (ns(9), "running")
    await store.update_span("e", "s", status="completed")
    fourth = (await load_spans(store, "e"))["s"]
    assert (fourth.end_ns, fourth.state, fourth.status) == (ns(9), "completed", "ok"), "it has ended already"
    await store.update_span("e", "s", error="but")
    assert (await load_spans(store, "e"))["s"].status_message == "but"
    await store.update_span("e", "s", end_ns=ns(7))
    last = (await load_spans(store, "e"))["s"]
    assert (last.end_ns, last.start_ns, last.state) == (ns(7), ns(5), "completed")


async def test_a_final_status_ends_a_span_at_the_stores_present(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    before_ns = subject.now_ns()
    await store.add_span("e", name="n", id="s")
    await store.update_span("e", "s", status="failed", error="no")
    ended_ns = (await load_spans(store, "e"))["s"].end_ns
    assert ended_ns is not None
    assert before_ns - SECOND <= ended_ns <= subject.now_ns() + SECOND


async def test_a_final_status_with_an_end_ends_then(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="n", id="s", start_ns=ns(1))
    await store.update_span("e", "s", status="completed", end_ns=ns(2))
    assert (await load_spans(store, "e"))["s"].end_ns == ns(2)


async def test_many_updates_at_once_lose_nothing(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="n", id="s")
    await asyncio.gather(
        *(store.update_span("e", "s", metadata={f"k{number}": number}) for number in range(12)),
        store.update_span("e", "s", status="completed"),
    )
    held = (await load_spans(store, "e"))["s"]
    assert dict(held.attributes) == {f"k{number}": number for number in range(12)}
    assert held.state == "completed"


async def test_what_is_not_there_can_not_be_updated(store: Store) -> None:
    await store.write(batch(root("spans", trace="t")))
    await store.create_execution("order", execution_id="e")
    await store.create_execution("order", execution_id="f")
    await store.add_span("f", name="n", id="s")
    foreign = f"{span_id('root of spans') & (2**64 - 1):016x}"
    changes: list[dict[str, Any]] = [{}, {"status": "completed"}]
    for change in changes:
        for unknown in ("nobody", "", "a\0b", "\ud800"):
            with pytest.raises(UnknownExecutionError):
                await store.update_span(unknown, "s", **change)
        for execution_id, text in (("e", "s"), ("e", "nothing"), ("spans", foreign), ("e", "\0"), ("e", "")):
            with pytest.raises(UnknownSpanError):
                await store.update_span(execution_id, text, **change)


async def test_what_makes_no_sense_is_refused_and_adds_nothing(subject: Subject) -> None:
    store = subject.store
    await store.create_execution("order", execution_id="e")
    wrong: list[dict[str, Any]] = [
        *({"id": bad} for bad in ("", "a\0", "\ud800", 5)),
        *({"node_id": bad} for bad in ("", "x" * 257, "a\0")),
        *({"parent_id": bad} for bad in ("", "a\0", 5)),
        *({"status": bad} for bad in ("done", "", "abandoned", None)),
        *({"start_ns": bad} for bad in (0, subject.now_ns() - 400 * DAY, subject.now_ns() + 3 * DAY, 2**63)),
        *({"name": bad} for bad in (None, 5)),
        *({"metadata": bad} for bad in ([1], "text", 5)),
    ]
    for arguments in wrong:
        with pytest.raises(InvalidValueError):
            await store.add_span("e", **{"name": "n", **arguments})
    await store.add_span("e", name="n", id="s")
    held = await load_spans(store, "e")
    for arguments in ({"status": "done"}, {"end_ns": 2**63}, {"end_ns": "5"}, {"metadata": [1]}):
        with pytest.raises(InvalidValueError):
            await store.update_span("e", "s", **arguments)
    assert await load_spans(store, "e") == held


async def test_an_unknown_execution_gets_no_span(store: Store) -> None:
    with pytest.raises(UnknownExecutionError):
        await store.add_span("nobody", name="n")
    assert (await store.stats()).spans == 0


async def test_an_execution_made_from_spans_takes_spans_and_stays_what_they_say(store: Store) -> None:
    await store.write(batch(root("e", trace="t", start=1, end=2)))
    held = await load_execution(store, "e")
    await store.add_span("e", name="late", id="late", start_ns=ns(5))
    now = await load_execution(store, "e")
    assert (now.status, now.origin, now.started_ns, now.ended_ns) == ("completed", "spans", held.started_ns, ns(2))
    assert set(await load_spans(store, "e")) == {"root of e", "late"}
    assert set(now.trace_ids) == {trace_id("t").hex(), execution_trace_id("e").hex()}


async def test_spans_are_ordered_by_start_then_as_they_were_added(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    texts = [f"s{number}" for number in range(12)]
    for text in texts:
        await store.add_span("e", name=text, id=text, start_ns=ns(5))
    await store.add_span("e", name="first", id="first", start_ns=ns(4))
    trace = await store.get_trace("e")
    assert trace is not None
    assert [each.id for each in trace.spans] == ["first", *texts]


async def test_spans_of_children_are_read_with_them(store: Store) -> None:
    await store.create_execution("order", execution_id="top")
    await store.create_execution("pay", "top", execution_id="child")
    await store.add_span("top", name="outer", id="outer")
    await store.add_span("child", name="inner", id="inner")
    trace = await store.get_trace("top")
    assert trace is not None
    assert [each.id for each in trace.spans] == ["outer"]
    with_children = await store.get_trace("top", include_children=True)
    assert with_children is not None
    assert {each.id for each in with_children.spans} == {"outer", "inner"}


async def test_added_spans_count_and_show_in_the_change_feed(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    cursor, _ = await store.poll_changes()
    await store.add_span("e", name="n", id="s", node_id="a", status="failed")
    cursor, changes = await store.poll_changes(cursor)
    assert ("spans", "e") in {(each.kind, each.execution_id) for each in changes}
    await store.update_span("e", "s", metadata={"a": 1})
    _, changes = await store.poll_changes(cursor)
    assert ("spans", "e") in {(each.kind, each.execution_id) for each in changes}
    counts = (await store.count_telemetry(["e"]))["e"]
    assert (counts.spans, counts.errors, counts.nodes_done) == (1, 1, 1)


async def test_any_status_may_follow_any_other(store: Store) -> None:
    """A span is what somebody says of it; a node that is retried under one span runs again."""
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="n", id="s")
    statuses: tuple[AddedStatus, ...] = ("completed", "running", "failed", "cancelled", "skipped", "completed")
    for status in statuses:
        await store.update_span("e", "s", status=status)
        assert (await load_spans(store, "e"))["s"].state == status
