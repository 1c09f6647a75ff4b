"""Executions that spans make: any order, any repetition, roots and links, and callers who take them over."""

from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from spane_otel.errors import ExecutionExistsError
from spane_otel.records import Execution, SpanRow, Stamp
from spane_otel.stores.protocols import Store
from tests.conformance.subjects import Subject
from tests.rows import batch, ns, root, span, trace_id


async def load(store: Store, execution_id: str) -> Execution:
    execution = await store.get_execution(execution_id)
    assert execution is not None
    return execution


async def test_a_root_span_says_what_its_execution_is(store: Store) -> None:
    stamp = Stamp(
        workflow_id="order",
        workflow_version=3,
        version_label="2024.1",
        parent_execution_id="parent",
        root_execution_id="top",
        depth=2,
        external_id="42",
        input='{"items":[1,"2"]}',
        output='{"total":9007199254740993}',
    )
    await store.write(batch(root("e", start=1, end=4, stamp=stamp, process_id="p", status_message="done")))
    assert await load(store, "e") == Execution(
        execution_id="e",
        workflow_id="order",
        workflow_version=3,
        version_label="2024.1",
        external_id="42",
        origin="spans",
        status="completed",
        started_ns=ns(1),
        ended_ns=ns(4),
        parent_execution_id="parent",
        root_execution_id="top",
        depth=2,
        initial_data={"items": [1, "2"]},
        result={"total": 2**53 + 1},
        error="done",
        metadata={},
        trace_ids=(trace_id("e").hex(),),
        abandoned_since_ns=None,
    )


async def test_the_roots_state_is_the_executions_status(store: Store) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"end": None}, "running"),
        ({"end": None, "process_id": "p"}, "running"),
        ({"end": None, "status": 2}, "failed"),
        ({}, "completed"),
        ({"status": 1}, "completed"),
        ({"status": 2}, "failed"),
        ({"state": "failed"}, "failed"),
        ({"state": "cancelled"}, "cancelled"),
        ({"state": "skipped"}, "completed"),
        ({"state": "completed", "status": 2}, "completed"),
    ]
    await store.write(batch(*(root(f"e{number}", **columns) for number, (columns, _) in enumerate(cases))))
    for number, (columns, status) in enumerate(cases):
        assert (await load(store, f"e{number}")).status == status, columns


async def test_a_roots_parent_root_and_depth_place_its_execution(store: Store) -> None:
    cases = [
        (Stamp(workflow_id="w"), (None, "e0", 0)),
        (Stamp(workflow_id="w", parent_execution_id="p"), ("p", "p", 1)),
        (Stamp(workflow_id="w", parent_execution_id="p", depth=1), ("p", "p", 1)),
        (Stamp(workflow_id="w", parent_execution_id="p", depth=3), ("p", None, 3)),
        (Stamp(workflow_id="w", parent_execution_id="p", root_execution_id="r", depth=3), ("p", "r", 3)),
        (Stamp(workflow_id="w", root_execution_id="r"), (None, "r", 0)),
    ]
    await store.write(batch(*(root(f"e{number}", stamp=stamp) for number, (stamp, _) in enumerate(cases))))
    for number, (stamp, family) in enumerate(cases):
        execution = await load(store, f"e{number}")
        assert (execution.parent_execution_id, execution.root_execution_id, execution.depth) == family, stamp


async def test_any_order_and_any_repetition_of_deliveries_make_the_same_execution(store: Store) -> None:
    """An announcement, its end, an inner span of an earlier trace, a second run that failed: in all 24 orders."""

    def deliveries(execution: str) -> list[SpanRow]:
        first, second = f"first of {execution}", f"second of {execution}"
        return [
            root(execution, name=first, trace=first, start=2, end=None, process_id="p", revision=1),
            root(execution, name=first, trace=first, start=2, end=5, process_id="p", stamp=Stamp("w", output="1")),
            span(f"inner {execution}", trace=f"early {execution}", start=0, execution=execution, node="n"),
            root(execution, name=second, trace=second, start=7, end=9, status=2, status_message="no", process_id="q"),
        ]

    seen = []
    for number, order in enumerate(permutations(range(4))):
        execution = f"e{number:02}"
        rows = deliveries(execution)
        for place in order:
            await store.write(batch(rows[place]))
            await store.write(batch(rows[place], rows[order[0]]))
        read = await load(store, execution)
        expected_traces = [trace_id(f"{each} {execution}").hex() for each in ("early",)] + [
            trace_id(f"{each} of {execution}").hex() for each in ("first", "second")
        ]
        assert list(read.trace_ids) == expected_traces
        seen.append(replace(read, execution_id="", root_execution_id="", trace_ids=()))
    assert seen[0].status == "failed"
    assert (seen[0].started_ns, seen[0].ended_ns, seen[0].error) == (ns(2), ns(9), "no")
    assert all(each == seen[0] for each in seen)


async def test_an_inner_span_makes_a_running_execution_until_its_root_comes(store: Store) -> None:
    await store.write(batch(span("b", execution="e", node="n", start=3), span("a", execution="e", node="n", start=2)))
    waiting = await load(store, "e")
    assert (waiting.status, waiting.workflow_id, waiting.started_ns) == ("running", None, ns(2))
    assert (waiting.root_execution_id, waiting.depth, waiting.origin) == ("e", 0, "spans")
    await store.write(batch(root("e", trace="t", start=2.5)))
    known = await load(store, "e")
    assert (known.status, known.workflow_id, known.started_ns) == ("completed", "order", ns(2.5))


async def test_only_a_span_with_a_workflow_or_without_a_parent_is_a_root(store: Store) -> None:
    bare = Stamp()
    await store.write(
        batch(
            span("a", trace="1", execution="no parent", stamp=bare),
            span("b", trace="2", execution="with parent", stamp=bare, parent="x"),
            span("c", trace="3", execution="node and workflow", workflow="w", node="n"),
            span("d", trace="4", execution="child with workflow", workflow="w", parent="x"),
        )
    )
    read = {each: await load(store, each) for each in ("no parent", "with parent", "node and workflow")}
    assert [(each.status, each.workflow_id) for each in read.values()] == [
        ("completed", None),
        ("running", None),
        ("running", None),
    ]
    child = await load(store, "child with workflow")
    assert (child.status, child.workflow_id) == ("completed", "w")


async def test_an_unstamped_or_inheriting_span_makes_no_execution(store: Store) -> None:
    await store.write(batch(span("a"), span("b", execution_id="e")))
    assert await store.list_executions() == []


async def test_of_several_roots_the_last_decides_and_the_first_starts(store: Store) -> None:
    """Equal starts: the greater span id, signed, decides; hex would say the other one."""
    await store.write(
        batch(
            root("e", name="x", start=1, end=9, workflow="w1", span_id=7),
            root("e", name="y", start=5, end=6, workflow="w2", span_id=2, status=2, status_message="lost"),
            root("e", name="z", start=5, end=8, workflow="w3", span_id=-2),
        )
    )
    execution = await load(store, "e")
    assert (execution.workflow_id, execution.status, execution.error) == ("w2", "failed", "lost")
    assert (execution.started_ns, execution.ended_ns) == (ns(1), ns(6))


async def test_a_late_open_version_of_a_root_reopens_nothing(store: Store) -> None:
    await store.write(batch(root("e", end=4)))
    ended = await load(store, "e")
    await store.write(batch(root("e", end=None, revision=9, stamp=Stamp("other"))))
    assert await load(store, "e") == ended


async def test_of_two_ends_the_later_and_of_two_announcements_the_greater_revision_holds(store: Store) -> None:
    await store.write(batch(root("a", end=None, revision=2, stamp=Stamp("second"))))
    await store.write(batch(root("a", end=None, revision=1, stamp=Stamp("first"))))
    assert (await load(store, "a")).workflow_id == "second"
    await store.write(batch(root("b", end=4, stamp=Stamp("later"))))
    await store.write(batch(root("b", end=3, revision=7, stamp=Stamp("sooner"))))
    assert ((await load(store, "b")).workflow_id, (await load(store, "b")).ended_ns) == ("later", ns(4))


async def test_an_execution_lists_its_traces_oldest_first(store: Store) -> None:
    await store.write(batch(root("e", trace="middle", start=2)))
    await store.write(batch(span("late", trace="last", execution="e", node="n", start=3)))
    await store.write(batch(span("early", trace="first", execution="e", node="n", start=1)))
    assert (await load(store, "e")).trace_ids == tuple(trace_id(each).hex() for each in ("first", "middle", "last"))
    await store.write(batch(span("earlier", trace="last", execution="e", node="n", start=0)))
    assert (await load(store, "e")).trace_ids == tuple(trace_id(each).hex() for each in ("last", "first", "middle"))


async def test_of_links_that_start_together_the_order_does_not_decide(subject: Subject) -> None:
    """Two processes start a span of one trace at the same nanosecond, and no root has come."""
    for order in (("gone", "here"), ("here", "gone")):
        for process in order:
            inner = span(process, trace=f"{order}", execution=f"{order}", node="n", process_id=process)
            await subject.store.write(batch(inner, heartbeats=["gone", "here"]))
    await subject.age("gone", 60)
    executions = await subject.store.list_executions()
    assert [each.abandoned_since_ns is None for each in executions] == [False, False]


async def test_creating_takes_over_what_spans_made(store: Store) -> None:
    stamp = Stamp("spans", workflow_version=3, version_label="v3", external_id="42", input="1", output="2")
    await store.write(batch(root("e", start=1, end=2, status=2, status_message="no", stamp=stamp, process_id="p")))
    await store.create_execution("order", "parent", 1, {"a": 1}, execution_id="e", metadata={"k": "v"})
    taken = await load(store, "e")
    assert taken == Execution(
        execution_id="e",
        workflow_id="order",
        workflow_version=3,
        version_label="v3",
        external_id="42",
        origin="api",
        status="running",
        started_ns=ns(1),
        parent_execution_id="parent",
        root_execution_id="parent",
        depth=1,
        initial_data={"a": 1},
        metadata={"k": "v"},
        trace_ids=(trace_id("e").hex(),),
    )
    await store.create_execution("order", "parent", 1, {"a": 1}, execution_id="e", metadata={"k": "v"})
    assert await load(store, "e") == taken
    with pytest.raises(ExecutionExistsError):
        await store.create_execution("other", execution_id="e")


async def test_spans_only_link_traces_to_what_a_caller_made(store: Store) -> None:
    await store.create_execution("order", execution_id="e", initial_data=[1])
    before = await load(store, "e")
    await store.write(batch(root("e", start=1, end=2, status=2, status_message="no", stamp=Stamp("w", input="2"))))
    await store.write(batch(span("inner", trace="other", execution="e", node="n", start=3)))
    assert await load(store, "e") == replace(before, trace_ids=(trace_id("e").hex(), trace_id("other").hex()))


async def test_a_status_that_a_caller_set_holds_against_redelivered_spans(store: Store) -> None:
    await store.write(batch(root("e", end=None)))
    await store.set_execution_status("e", "cancelled", error="by hand")
    cancelled = await load(store, "e")
    assert (cancelled.status, cancelled.error, cancelled.origin) == ("cancelled", "by hand", "api")
    await store.write(batch(root("e", end=None), root("e", end=3)))
    assert await load(store, "e") == cancelled


async def test_what_lost_within_a_batch_links_as_it_would_in_a_batch_of_its_own(store: Store) -> None:
    """One identity, two stamps: how deliveries are cut into batches decides nothing."""
    opened = span("s", trace="together", end=None, execution="first", workflow="order")
    ended = span("s", trace="together", execution="second", workflow="order")
    await store.write(batch(opened, ended))
    await store.write(batch(span("s", trace="apart", end=None, execution="third", workflow="order")))
    await store.write(batch(span("s", trace="apart", execution="fourth", workflow="order")))
    statuses = {each.execution_id: each.status for each in await store.list_executions()}
    assert statuses == {"first": "running", "second": "completed", "third": "running", "fourth": "completed"}
