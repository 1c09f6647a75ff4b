"""The rows of a timeline."""

from typing import Any

import pytest

from spane_otel.jsontext import JsonMap
from spane_otel.records import Log, Resource, Span, Trace
from spane_otel.traces.origin import find_origin
from spane_otel.traces.rows import Row, Rows, build_rows
from spane_otel.traces.tree import build_tree
from tests.unit.traces.spans import exception, failed, span

SECOND = 1_000_000_000


def timeline(*spans: Span, now: int = 0, logs: tuple[Log, ...] = (), **values: Any) -> Rows:
    trace = Trace(spans=list(spans), resources=values.pop("resources", []))
    tree = build_tree(trace.spans)
    return build_rows(trace, tree, now_ns=now, origin=find_origin(tree), logs=logs, **values)


def row_of(span_: Span, **values: Any) -> Row:
    return timeline(span_, **values).rows[0]


def execution(name: str = "root", parent: str | None = None, execution_id: str = "e", **values: Any) -> Span:
    attributes = {"spane.workflow.id": "order", "spane.workflow.version_label": "v7", **values.pop("attributes", {})}
    return span(name, parent, execution_id=execution_id, attributes=attributes, **values)


def node(name: str, parent: str, node_id: str, execution_id: str = "e", attempt: int = 1, **values: Any) -> Span:
    attributes = {"spane.execution.id": execution_id, "spane.node.id": node_id, "spane.node.attempt": attempt}
    make = failed if values.pop("failing", False) else span
    return make(name, parent, execution_id=execution_id, node_id=node_id, attributes=attributes, **values)


def test_an_executions_spans_are_told_apart() -> None:
    """Inner spans are stamped with their node too; only the first of a node's spans is the node."""
    inner = span("inner", "n", 2, execution_id="e", node_id="pay", attributes={"spane.node.id": "pay"})
    rows = timeline(
        execution(),
        node("n", "root", "pay", start=1),
        inner,
        execution("sub", "n", "e2", start=3),
        span("foreign", "root", 4),
        execution_id="e",
    ).rows
    assert [(row.name, row.kind, row.sub) for row in rows] == [
        ("root", "execution", False),
        ("n", "node", False),
        ("inner", "span", False),
        ("sub", "execution", True),
        ("foreign", "span", False),
    ]
    assert rows[0].detail == "v7"
    assert rows[3].execution_id == "e2"


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        ('{"package": "email", "n": 3}', '"email"'),
        ('{"options": {}, "ok": true, "n": 3}', "3"),
        ('["email"]', '"email"'),
        ('"email"', '"email"'),
        ("{}", "v7"),
        ("no json", "v7"),
        (7, "v7"),
    ],
)
def test_an_inner_execution_is_told_from_its_siblings_by_its_input(payload: Any, detail: str) -> None:
    inner = execution("sub", "root", "e2", start=1, attributes={"spane.input": payload})
    assert [row.detail for row in timeline(execution(), inner).rows] == ["v7", detail]


def test_the_same_node_run_side_by_side_was_tried_once_each_time() -> None:
    rows = timeline(execution(), *(node(f"f{n}", "root", "fetch", attempt=1, start=1) for n in range(3))).rows
    assert [row.tags for row in rows] == [[], [], [], []]


def test_attempts_are_tagged_where_there_are_several() -> None:
    rows = timeline(
        execution(),
        node("once", "root", "a", start=1, failing=True),
        node("w1", "root", "write", attempt=1, start=2, failing=True),
        node("w2", "root", "write", attempt=2, start=3),
    ).rows
    assert [row.tags for row in rows] == [[], [], ["attempt 1"], ["attempt 2"]]


@pytest.mark.parametrize(
    ("values", "duration", "label"),
    [
        pytest.param(span("a", end=1_500_000_000), "1.50 s", "", id="completed"),
        pytest.param(span("a", end=None, state="running"), "", "", id="running: the page counts"),
        pytest.param(span("a", end=None, state="open"), "?", "no end reported", id="open"),
        pytest.param(span("a", end=None, state="abandoned", last_seen_ns=3 * SECOND), "≥ 3.00 s", "", id="abandoned"),
        pytest.param(span("a", end=0, state="skipped"), "\N{EN DASH}", "skipped", id="skipped"),
        pytest.param(
            span("a", state="skipped", status_message="parse failed"),
            "\N{EN DASH}",
            "skipped: parse failed",
            id="skipped for a reason",
        ),
        pytest.param(
            span("a", end=5_000, state="cancelled", events=[exception(1, "CancelledError", "")]),
            "5.0 µs",
            "cancelled: CancelledError",
            id="cancelled",
        ),
        pytest.param(
            failed("a", events=[exception(1, "sqlite3.OperationalError", "locked")]),
            "100 ns",
            "OperationalError",
            id="failed",
        ),
        pytest.param(failed("a", status_message="said so"), "100 ns", "said so", id="failed with a message alone"),
    ],
)
def test_what_stands_beside_a_row(values: Span, duration: str, label: str) -> None:
    row = row_of(values)
    assert (row.duration, row.label) == (duration, label)


def test_only_where_it_broke_is_an_origin() -> None:
    rows = timeline(failed("root"), failed("a", "root", 1), failed("b", "a", 2), span("ok", "root", 3)).rows
    assert [(row.origin, row.inherited, row.failures) for row in rows] == [
        (False, True, 1),
        (False, True, 1),
        (True, False, 0),
        (False, False, 0),
    ]


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        pytest.param([span("a", "a")], ["its own ancestor"], id="cycle"),
        pytest.param([span("a"), span("a", start=1)], ["duplicate id"], id="duplicate"),
        pytest.param([span("a", start=50, end=20)], ["ends before it starts"], id="negative duration"),
    ],
)
def test_repairs_are_said(values: list[Span], tags: list[str]) -> None:
    assert timeline(*values).rows[0].tags == tags


def test_a_span_that_ends_before_it_starts_took_nothing() -> None:
    assert row_of(span("a", start=50, end=20)).duration == "0 s"


def test_every_row_has_a_key_of_its_own() -> None:
    keys = [row.key for row in timeline(span("a"), span("a", start=1), span("b", "gone"), span("c", "c")).rows]
    assert len(set(keys)) == len(keys) == 5


def test_a_missing_parent_is_a_row() -> None:
    row = timeline(span("a", "00f067aa0ba902b7", start=7)).rows[0]
    assert (row.kind, row.name, row.detail) == ("missing", "parent not received", "00f067aa0ba902b7")
    assert row.sentence == "parent not received, 1 span below it"


def test_services_are_numbered_in_the_order_of_their_first_use() -> None:
    resources = [
        Resource(JsonMap(text)) for text in ('{"service.name":"b"}', '{"service.name":"a"}', '{"service.name":7}')
    ]
    rows = timeline(
        span("1", start=0, resource=1),
        span("2", start=1, resource=0),
        span("3", start=2, resource=2),
        resources=resources,
    )
    assert rows.services == ["a", "b", "unknown_service"]
    assert [row.service for row in rows.rows] == [0, 1, 2]


def test_marks_are_the_spans_logs_and_events() -> None:
    logs = (
        Log(log_id="1", time_ns=30, level="error", trace_id="t", span_id="a"),
        Log(log_id="2", time_ns=10, level="debug", trace_id="t", span_id="a"),
        Log(log_id="3", time_ns=10, level="warn", trace_id="t", span_id="elsewhere"),
    )
    event = {"name": "half way", "time_ns": "20", "attributes": {}}
    assert row_of(span("a", events=[event]), logs=logs).marks == [(10, "debug"), (20, "event"), (30, "error")]


def test_a_failed_bar_tells_its_exception_without_a_mark() -> None:
    assert row_of(failed("a", events=[exception(1, "ValueError", "no")])).marks == []


def test_the_axis_ends_at_the_last_thing_known() -> None:
    assert timeline(span("a", start=10, end=60), span("b", "a", 20, 90), now=500).length == 80


def test_the_axis_of_what_runs_ends_now() -> None:
    rows = timeline(span("a", start=10, end=None, state="running"), now=510)
    assert (rows.length, rows.live, rows.now) == (500, True, 500)


def test_hours_of_silence_leave_room_for_what_happened() -> None:
    silent = span("a", end=None, state="abandoned", last_seen_ns=10 * SECOND)
    rows = timeline(silent, now=7200 * SECOND)
    assert rows.length == 15 * SECOND
    assert not rows.live


def test_a_long_tree_starts_with_its_quiet_branches_closed() -> None:
    """What failed, runs or is lost is never hidden."""
    spans = [failed("root")]
    for branch in range(12):
        spans.append(failed(f"b{branch}", "root", branch) if branch == 3 else span(f"b{branch}", "root", branch))
        spans += [span(f"b{branch}.{leaf}", f"b{branch}", 20 + leaf) for leaf in range(7)]
    spans.append(failed("deep", "b3.1", 40))
    rows = timeline(*spans).rows
    closed = {row.name for row in rows if row.closed}
    assert closed == {f"b{branch}" for branch in range(12) if branch != 3}


def test_a_rows_name_is_a_sentence() -> None:
    rows = timeline(
        failed("root", end=20 * SECOND, execution_id="e", attributes={"spane.workflow.id": "order"}),
        node("pay", "root", "pay", start=SECOND, end=3 * SECOND, failing=True),
        span("stray", "gone", 2 * SECOND, None, state="open"),
    ).rows
    assert [row.sentence for row in rows] == [
        "root, execution, failed inside, 20.00 s from 0.000 s, 1 failure inside",
        "pay, node, failed, 2.00 s from 1.000 s",
        "parent not received, 1 span below it",
        "stray, span, no end reported",
    ]


def test_a_name_is_shown_on_one_line_without_tricks() -> None:
    row = row_of(span("x\n\x1b[31mred\u202egnp.exe"))
    assert row.name == "x\\n\\x1b[31mred\\u202egnp.exe"
