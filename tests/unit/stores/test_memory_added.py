"""What is added by hand waits in memory as it was given: nobody who looks can tell."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import asdict

from spane_otel.clock import ManualClock
from spane_otel.errors import SpaneError, SpanExistsError
from spane_otel.ids import added_span_id, execution_trace_id
from spane_otel.records import Change, Page, SpanRow
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.memory import added as added_module
from tests.rows import BASE_NS, batch, root, span_id

EXECUTIONS = ("e", "f", "derived")
FOREIGN = f"{span_id('root of derived') & (2**64 - 1):016x}"
TEXTS = ("s1", "s2", "s3", "ü", FOREIGN)

VALUES: list[Any] = [0, -1.5, True, None, "", "x", "ü\0", "x" * 70_000, 2**70, float("nan"), b"raw", [1, {"a": None}]]
KEYS = ("a", "b", "a\0", "a\ufffd", "ü", "spane.output", "k" * 600)
STATUSES: list[Any] = ["running", "completed", "failed", "skipped", "cancelled"]

Call = tuple[str, tuple[Any, ...], dict[str, Any]]

WRONG: dict[str, list[tuple[str, Any]]] = {
    "add_span": [
        *(("name", 5), ("id", ""), ("id", "a\0"), ("node_id", ""), ("start_ns", 1), ("start_ns", 1.5)),
        *(("status", "open"), ("status", 5), ("parent_id", ""), ("metadata", 5)),
    ],
    "update_span": [("end_ns", 2**63), ("end_ns", "now"), ("status", "open"), ("metadata", [])],
    "add_log": [("level", "loud"), ("id", ""), ("node_id", "x" * 300), ("time_ns", 1), ("metadata", "a")],
}


def make_store(clock: ManualClock, **limits: Any) -> InMemoryExecutionStore:
    return InMemoryExecutionStore(clock=clock, **limits)


async def open_executions(store: InMemoryExecutionStore) -> None:
    await store.create_execution("order", execution_id="e")
    await store.create_execution("order", execution_id="f")
    await store.write(batch(root("derived", end=None)))


def some_metadata(draw: random.Random) -> dict[str, Any] | None:
    if draw.random() < 0.1:
        return {f"key {number}": number for number in range(draw.choice((40, 200, 300)))}
    return draw.choice((None, {draw.choice(KEYS): draw.choice(VALUES) for _ in range(draw.randrange(4))}))


def some_call(draw: random.Random) -> Call:
    """Return a call that may be right or wrong, plain or not."""
    execution = draw.choice((*EXECUTIONS, *EXECUTIONS, "nobody"))
    text = draw.choice(TEXTS)
    given: dict[str, Any] = {"metadata": some_metadata(draw)}
    name = draw.choice(("add_span", "add_span", "update_span", "update_span", "add_log"))
    positional: tuple[Any, ...] = (execution,)
    if name == "add_span":
        given["name"] = draw.choice(("step", "näme", "x" * 2_000))
        given["id"] = text
        given["parent_id"] = draw.choice((None, draw.choice(TEXTS)))
        given["node_id"] = draw.choice((None, "n", "ü"))
        given["start_ns"] = draw.choice((None, BASE_NS + draw.randrange(10**9)))
        given["status"] = draw.choice(STATUSES)
        given["error"] = draw.choice((None, "no", "\0"))
    elif name == "update_span":
        positional = (execution, text)
        given["end_ns"] = draw.choice((None, None, BASE_NS + draw.randrange(10**10)))
        given["status"] = draw.choice((None, *STATUSES))
        given["error"] = draw.choice((None, None, "no", "\ud800"))
    else:
        positional = (execution, draw.choice(("hello", "ü\0", "x" * 5_000)))
        given["id"] = draw.choice(("l1", "l2", "l3", "l4", "ü"))
        given["level"] = draw.choice(("info", "warn"))
        given["span_id"] = draw.choice((None, draw.choice(TEXTS)))
        given["time_ns"] = draw.choice((None, BASE_NS + draw.randrange(10**9)))
    if draw.random() < 0.2:
        given.update([draw.choice(WRONG[name])])
    return name, positional, given


async def outcome_of(store: InMemoryExecutionStore, call: Call) -> Any:
    name, positional, keywords = call
    try:
        return await getattr(store, name)(*positional, **keywords)
    except SpaneError as error:
        return type(error), str(error)


async def look(store: InMemoryExecutionStore) -> dict[str, Any]:
    """Return all that a reader can see, as text where a NaN may be among it."""
    _, changes = await store.poll_changes((await make_store(ManualClock()).poll_changes())[0])
    seen: dict[str, Any] = {
        "changes": set(changes),
        "stats": await store.stats(),
        "counts": await store.count_telemetry(EXECUTIONS),
        "listed": [asdict(each) for each in await store.list_traces()],
    }
    for execution_id in EXECUTIONS:
        telemetry = (await store.read_telemetry(execution_id)).batch
        trace = await store.get_trace(execution_id)
        seen[execution_id] = (
            await store.get_execution(execution_id),
            [asdict(each) for each in (*telemetry.spans, *telemetry.logs)],
            trace is not None and ([(each.id, each.state) for each in trace.spans], trace.truncated),
            [each.id for each in await store.get_logs(execution_id)],
            repr(await store.get_node_results(execution_id)),
            repr(await store.read_execution(execution_id)),
        )
    return seen


@pytest.mark.parametrize("limits", [{}, {"max_spans_per_execution": 3, "max_logs_per_execution": 2}])
@pytest.mark.parametrize("seed", range(25))
async def test_rows_made_late_are_those_that_would_have_been_made_at_once(
    seed: int, limits: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls at once, with a reader after each, and all checked the long way: one result."""
    draw = random.Random(seed)
    clock = ManualClock(BASE_NS + 10**9)
    late, looked_at, long_way = (make_store(clock, **limits) for _ in range(3))
    for store in (late, looked_at, long_way):
        await open_executions(store)
    for _ in range(60):
        call = some_call(draw)
        expected = await outcome_of(late, call)
        assert await outcome_of(looked_at, call) == expected, call
        await looked_at.get_trace("e")
        with monkeypatch.context() as patch:
            for check in ("is_plain_span", "is_plain_log", "is_plain_change"):
                patch.setattr(added_module, check, lambda *_: False)
            assert await outcome_of(long_way, call) == expected, call
        clock.advance(draw.choice((0, 0, 0.5)))
    assert await look(late) == await look(long_way)
    assert await look(looked_at) == await look(long_way)


@pytest.mark.parametrize(
    "calls",
    [
        [
            ("add_span", ("e",), {"name": "step", "id": "s1"}),
            ("update_span", ("e", "s1"), {"metadata": {"spane.output": "x" * 70_000}}),
            ("update_span", ("e", "s1"), {"metadata": {"spane.output": "short"}}),
        ],
        [
            ("add_span", ("derived",), {"name": "step", "id": "s1", "parent_id": FOREIGN}),
            ("add_span", ("derived",), {"name": "step", "id": "s2", "parent_id": "s1"}),
            ("add_log", ("derived", "hello"), {"id": "l1", "span_id": "s2"}),
            ("update_span", ("derived", "s2"), {"status": "completed"}),
        ],
        [
            ("add_span", ("e",), {"name": "step", "id": "s2", "parent_id": "s1"}),
            ("add_span", ("e",), {"name": "step", "id": "s1"}),
            ("add_span", ("e",), {"name": "step", "id": "s1", "start_ns": BASE_NS}),
            ("add_span", ("e",), {"name": "step", "id": "s3", "parent_id": "s1", "start_ns": BASE_NS}),
        ],
    ],
    ids=["an output that was cut", "below a span of another trace", "below a span that comes later"],
)
async def test_a_wait_changes_nothing(calls: list[Call], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(BASE_NS + 10**9)
    late, long_way = make_store(clock), make_store(clock)
    await open_executions(late)
    await open_executions(long_way)
    expected = [await outcome_of(late, call) for call in calls]
    for check in ("is_plain_span", "is_plain_log", "is_plain_change"):
        monkeypatch.setattr(added_module, check, lambda *_: False)
    assert [await outcome_of(long_way, call) for call in calls] == expected
    assert await look(late) == await look(long_way)


async def test_plain_calls_wait_and_a_reader_meets_none() -> None:
    store = make_store(ManualClock(BASE_NS))
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="step", id="s", metadata={"a": 1})
    await store.update_span("e", "s", status="completed", metadata={"b": 2.5})
    await store.update_span("e", "s", error="late", metadata={"a": "again"})
    await store.add_log("e", "hello", id="l", span_id="s")
    additions = store._state.additions
    assert (additions.new_spans, additions.new_logs, store._state.telemetry.span_count) == (1, 1, 0)
    trace = await store.get_trace("e")
    assert trace is not None
    (span,) = trace.spans
    assert dict(span.attributes) == {"a": "again", "b": 2.5}
    assert (span.state, span.status_message, span.end_ns) == ("completed", "late", BASE_NS)
    (log,) = await store.get_logs("e")
    assert (log.span_id, log.trace_id) == (span.span_id, span.trace_id)
    assert (additions.new_spans, additions.new_logs, store._state.telemetry.span_count) == (0, 0, 1)
    await store.update_span("e", "s", status="failed")
    assert additions.unsettled
    assert (await store.stats()).spans == 1
    assert not additions.unsettled


async def first_row(store: InMemoryExecutionStore) -> SpanRow:
    return (await store.read_telemetry("e")).batch.spans[0]


async def below(store: InMemoryExecutionStore) -> Any:
    parent = f"{added_span_id('e', 's') & (2**64 - 1):016x}"
    await store.add_span("e", name="below", id="ü", parent_id=parent, start_ns=BASE_NS + 2)
    return (await store.read_telemetry("e")).batch.spans


async def again(store: InMemoryExecutionStore) -> Any:
    await store.add_span("e", name="step", id="s", node_id="n", metadata={"a": 1}, start_ns=BASE_NS)
    with pytest.raises(SpanExistsError):
        await store.add_span("e", name="another", id="s")
    return (await store.stats()).spans


READERS: dict[str, Callable[[InMemoryExecutionStore], Awaitable[Any]]] = {
    "trace": lambda store: store.get_trace("e"),
    "trace of parent": lambda store: store.get_trace("parent", include_children=True),
    "trace by id": lambda store: store.get_trace_by_id(execution_trace_id("e").hex()),
    "traces": lambda store: store.list_traces(),
    "logs": lambda store: store.get_logs("e"),
    "all logs": lambda store: store.list_logs(),
    "logs of trace": lambda store: store.list_logs(trace_id=execution_trace_id("e").hex()),
    "counts": lambda store: store.count_telemetry(["derived", "e"]),
    "execution": lambda store: store.get_execution("e"),
    "executions": lambda store: store.list_executions(),
    "children": lambda store: store.get_child_executions("parent"),
    "family": lambda store: store.get_execution_family("e"),
    "results": lambda store: store.get_node_results("derived"),
    "attempts": lambda store: store.list_node_attempts("derived", "n"),
    "pending nodes": lambda store: store.get_pending_node_count("derived", 5),
    "telemetry": lambda store: store.read_telemetry(),
    "telemetry of one": lambda store: store.read_telemetry("e"),
    "archive": lambda store: store.read_execution("e"),
    "statistics": lambda store: store.stats(),
    "changes": lambda store: store.poll_changes(),
    "adding below": below,
    "adding again": again,
}
"""What looks at the store; the last two by the long way of adding."""


@pytest.mark.parametrize("reader", READERS)
async def test_every_reader_sees_what_waits(reader: str) -> None:
    """Each alone, on a store at which nobody has looked, sees what it sees on one at which somebody has."""
    seen = []
    for is_looked_at in (False, True):
        store = make_store(ManualClock(BASE_NS))
        await store.create_execution("order", execution_id="parent")
        await store.create_execution("order", "parent", execution_id="e")
        await store.write(batch(root("derived", start=-5, end=None)))
        for execution_id in ("derived", "e"):
            await store.add_span(execution_id, name="step", id="s", node_id="n", metadata={"a": 1}, start_ns=BASE_NS)
            await store.add_span(execution_id, name="inner", id="i", parent_id="s", start_ns=BASE_NS + 1)
            await store.update_span(execution_id, "s", status="completed")
            await store.add_log(execution_id, "hello", id="l", span_id="s")
            await store.add_log(execution_id, "world", id="w", level="warn")
        if is_looked_at:
            await store.list_traces()
        else:
            assert store._state.additions.new_spans == 4
        if reader == "changes":
            cursor, _ = await make_store(ManualClock()).poll_changes()
            seen.append(repr(sorted((await store.poll_changes(cursor))[1], key=repr)))
        else:
            answer = await READERS[reader](store)
            seen.append(repr(answer.items if isinstance(answer, Page) else answer))
    assert seen[0] == seen[1]


async def test_changes_are_announced_as_often_as_they_happen() -> None:
    store = make_store(ManualClock(BASE_NS))
    await store.create_execution("order", execution_id="e")
    cursor, _ = await store.poll_changes()
    own = execution_trace_id("e").hex()
    spans, logs = Change("spans", "e", own), Change("logs", "e", None)
    for call, expected in (
        (store.add_span("e", name="step", id="s"), {Change("execution", "e"), spans}),
        (store.add_span("e", name="step", id="t"), {spans}),
        (store.update_span("e", "s", status="completed"), {spans}),
        (store.add_log("e", "hello"), {logs}),
        (store.add_log("e", "hello", span_id="s"), {Change("logs", "e", own)}),
        (store.update_span("e", "s", metadata={"a": [1]}), {spans}),
        (store.add_log("e", "ü", id="ü"), {logs}),
        (store.ping(), set()),
    ):
        await call
        cursor, changes = await store.poll_changes(cursor)
        assert set(changes) == expected


async def test_an_execution_that_goes_takes_what_waits_with_it() -> None:
    store = make_store(ManualClock(BASE_NS), max_executions=1)
    for execution_id in ("a", "b", "c"):
        await store.create_execution("order", execution_id=execution_id)
        await store.add_span(execution_id, name="step")
        await store.add_log(execution_id, "hello")
        await store.set_execution_status(execution_id, "completed")
    assert (store._state.additions.new_spans, store._state.additions.new_logs) == (1, 1)
    await store.delete_execution("c")
    assert (store._state.additions.new_spans, store._state.additions.new_logs) == (0, 0)
    stats = await store.stats()
    assert (stats.spans, stats.logs, stats.trimmed) == (0, 0, 6)
    assert (await store.list_logs()).items == []


async def test_a_caller_who_changes_what_was_handed_over_changes_nothing_that_is_held() -> None:
    store = make_store(ManualClock(BASE_NS))
    metadata: dict[str, Any] = {"a": 1}
    nested: dict[str, Any] = {"deep": {"a": [1]}}
    await store.create_execution("order", execution_id="e", metadata=nested, initial_data=nested)
    await store.add_span("e", name="step", id="nested", metadata=nested)
    await store.add_span("e", name="step", id="s", metadata=metadata)
    await store.add_log("e", "hello", id="l", metadata=metadata)
    change: dict[str, Any] = {"b": 1}
    await store.update_span("e", "s", metadata=change)
    result = {"success": True, "data": nested}
    await store.complete_node("e", "n", result)
    metadata["a"] = change["b"] = "changed"
    nested["deep"]["a"].append(2)
    trace = await store.get_trace("e")
    assert trace is not None
    assert {each.id: dict(each.attributes) for each in trace.spans} == {
        "s": {"a": 1, "b": 1},
        "nested": {"deep": {"a": [1]}},
    }
    assert dict((await store.get_logs("e"))[0].attributes) == {"a": 1}
    assert (await store.get_node_results("e"))["n"].data == {"deep": {"a": [1]}}
    execution = await store.get_execution("e")
    assert execution is not None
    assert execution.metadata == execution.initial_data == {"deep": {"a": [1]}}


async def test_what_readers_return_is_theirs() -> None:
    store = make_store(ManualClock(BASE_NS))
    await store.save_workflow({"id": "order", "nodes": [{"id": "n", "type": "t", "config": {"a": [1]}}]})
    await store.create_execution("order", execution_id="e", metadata={"a": [1]}, initial_data=[1])
    await store.update_node_result("e", "n", {"success": True, "data": [1]}, input=[1])
    await store.add_span("e", name="step", id="s")
    for _ in range(2):
        execution = await store.get_execution("e")
        result = (await store.get_node_results("e"))["n"]
        workflow = await store.get_workflow("order")
        archive = await store.read_execution("e")
        assert execution is not None
        assert workflow is not None
        assert archive is not None
        row = await first_row(store)
        assert (execution.metadata, execution.initial_data) == ({"a": [1]}, [1])
        assert (result.data, result.input, workflow.nodes[0].config) == ([1], [1], {"a": [1]})
        assert (row.name, archive.traces[0].start_ns, len(archive.audit)) == ("step", BASE_NS, 2)
        execution.metadata["a"].append(2)
        execution.initial_data.append(2)
        result.data.append(2)
        result.input.append(2)
        workflow.nodes[0].config["a"].append(2)
        archive.traces[0].start_ns = 0
        archive.audit.clear()
        row.name = "changed"


async def test_a_batch_of_its_caller_can_change_afterwards() -> None:
    store = make_store(ManualClock(BASE_NS))
    made = batch(root("e"))
    await store.write(made)
    made.spans[0].name = "changed"
    assert (await first_row(store)).name == "root of e"


async def test_many_changes_of_one_span_are_folded_without_loss() -> None:
    store = make_store(ManualClock(BASE_NS))
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="step", id="s")
    for number in range(600):
        await store.update_span("e", "s", metadata={f"key {number % 400}": number})
    row = await first_row(store)
    assert row.revision == 600
    trace = await store.get_trace("e")
    assert trace is not None
    expected = {f"key {number % 400}": number for number in range(600)}
    assert dict(trace.spans[0].attributes) == expected
