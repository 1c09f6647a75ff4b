"""The fold: any order, any repetition and any division into batches make the same execution."""

from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spane_otel.derivation import (
    DerivedExecution,
    ExecutionTraceRow,
    execution_trace_rows,
    fold,
    inherit,
    is_root,
    select_execution,
    span_state,
    supersedes,
    version_of,
)
from spane_otel.records import Batch, Span, SpanRow, SpanState, Stamp
from tests.rows import batch, log, ns, root, span, trace_id

Rows = dict[tuple[str, bytes, int, int], ExecutionTraceRow]


def take(kept: Rows, spans: list[SpanRow]) -> None:
    """Take one batch as a store does."""
    for row in execution_trace_rows(spans):
        held = kept.get(row.key)
        if held is None or supersedes(row, held):
            kept[row.key] = row


def fold_batches(batches: list[list[SpanRow]]) -> tuple[DerivedExecution, Rows]:
    kept: Rows = {}
    for each in batches:
        take(kept, each)
    return fold(list(kept.values())), kept


@st.composite
def deliveries(draw: st.DrawFn) -> list[SpanRow]:
    """Return versions of spans of one execution; a version's content follows from its identity and version."""
    rows = []
    for _ in range(draw(st.integers(1, 8))):
        identity = draw(st.integers(-2, 2))
        start = draw(st.integers(0, 2))
        end = draw(st.none() | st.integers(0, 3))
        revision = draw(st.integers(0, 2))
        kind = draw(st.sampled_from(["root", "inner"]))
        content = f"{kind} {identity} {start} {end} {revision}"
        rows.append(
            span(
                content,
                span_id=identity * 2 + (kind == "root") or 9,
                trace=draw(st.sampled_from(["t", "u"])),
                start=start,
                end=end,
                revision=revision,
                execution="e",
                node=None if kind == "root" else "n",
                stamp=Stamp(workflow_id=content if kind == "root" else None, output=None if end is None else "1"),
                status_message=content,
                process_id=f"p{identity}",
                status=2 if end == 3 else 0,
            )
        )
    return rows


@given(deliveries(), st.data())
def test_any_order_repetition_and_division_make_the_same_execution(rows: list[SpanRow], data: st.DataObject) -> None:
    expected = fold_batches([rows])
    order = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=4))))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(order)), max_size=4)) | {0, len(order)})
    batches = [order[first:last] for first, last in pairwise(cuts)]
    assert fold_batches(batches) == expected


@given(deliveries(), st.data())
def test_the_fold_does_not_see_the_order_of_its_rows(rows: list[SpanRow], data: st.DataObject) -> None:
    kept = fold_batches([rows])[1]
    assert fold(data.draw(st.permutations(list(kept.values())))) == fold(list(kept.values()))


@given(deliveries())
def test_the_parts_of_a_derived_execution_agree(rows: list[SpanRow]) -> None:
    derived, kept = fold_batches([rows])
    roots = [row for row in kept.values() if not row.is_link]
    links = [row for row in kept.values() if row.is_link]
    assert {row.trace_id for row in links} == {row.trace_id for row in rows}
    assert derived.started_ns == min(row.start_ns for row in (roots or links))
    if not roots:
        assert (derived.status, derived.ended_ns, derived.stamp) == ("running", None, Stamp())
    else:
        last = max((row.root_start_ns, row.root_span_id) for row in roots)
        candidates = [row for row in roots if (row.root_start_ns, row.root_span_id) == last]
        assert derived.stamp in [row.stamp for row in candidates]
        assert (derived.status == "running") == (derived.ended_ns is None)


def test_a_fold_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="without a row"):
        fold([])


@pytest.mark.parametrize(
    ("greater", "lesser"),
    [((5, 0), (None, 9)), ((5, 0), (4, 9)), ((5, 2), (5, 1)), ((None, 2), (None, 1)), ((0, 0), (None, 5))],
)
def test_ended_then_its_end_then_the_revision_orders_versions(
    greater: tuple[int | None, int], lesser: tuple[int | None, int]
) -> None:
    assert version_of(*greater) > version_of(*lesser)
    assert version_of(*greater) == version_of(*greater)


@pytest.mark.parametrize(
    ("given_state", "status", "end_ns", "process_id", "stale", "expected"),
    [
        (None, 0, 1, None, False, "completed"),
        (None, 1, 1, "p", True, "completed"),
        (None, 2, 1, None, False, "failed"),
        (None, 2, None, "p", True, "failed"),
        ("cancelled", 2, 1, None, False, "cancelled"),
        ("skipped", 0, 1, None, False, "skipped"),
        (None, 0, None, None, False, "open"),
        (None, 0, None, None, True, "open"),
        (None, 0, None, "p", False, "running"),
        (None, 0, None, "p", True, "abandoned"),
        ("running", 0, None, None, False, "running"),
        ("running", 0, None, None, True, "running"),
        ("running", 0, None, "p", True, "abandoned"),
    ],
)
def test_a_spans_state(
    given_state: SpanState | None, status: int, end_ns: int | None, process_id: str | None, stale: bool, expected: str
) -> None:
    assert span_state(given_state, status, end_ns, process_id, stale=stale) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (span("a"), False),
        (span("a", execution_id="e"), False),
        (span("a", execution="e"), True),
        (span("a", execution="e", parent="x"), False),
        (span("a", execution="e", parent="x", workflow="w"), True),
        (span("a", execution="e", workflow="w", node="n"), False),
        (span("a", execution="e", node="n"), False),
    ],
)
def test_which_spans_are_roots(row: SpanRow, expected: bool) -> None:
    assert is_root(row) is expected


def test_only_stamped_spans_make_rows() -> None:
    assert execution_trace_rows([span("a"), span("b", execution_id="inherited")]) == []
    rows = execution_trace_rows([root("e", trace="t", start=2), span("n", execution="e", node="n", start=1)])
    assert [(row.is_link, row.start_ns) for row in rows if row.is_link] == [(True, ns(1))]
    assert [row.start_ns for row in rows if not row.is_link] == [ns(2)]


# --- inherit ---


def inherited(*rows: Any) -> dict[str, tuple[str | None, str | None]]:
    """Return execution and node of every span by its name after inheriting."""
    made = batch(*rows)
    inherit(made)
    return {each.name: (each.execution_id, each.node_id) for each in made.spans}


def test_spans_inherit_from_their_nearest_stamped_ancestor_in_any_order() -> None:
    def rows() -> list[SpanRow]:
        return [
            span("outside"),
            root("e", trace="t", name="run", parent="outside"),
            span("in the run", parent="run"),
            span("node", parent="in the run", execution="e", node="n"),
            span("in the node", parent="node"),
            span("deeper", parent="in the node"),
        ]

    expected = {
        "outside": (None, None),
        "run": ("e", None),
        "in the run": ("e", None),
        "node": ("e", "n"),
        "in the node": ("e", "n"),
        "deeper": ("e", "n"),
    }
    for order in permutations(range(6)):
        made = rows()
        assert inherited(*(made[place] for place in order)) == expected


def test_nothing_is_inherited_from_another_trace_or_from_outside_the_batch() -> None:
    assert inherited(root("e", trace="u", name="run"), span("a", parent="run"), span("b", parent="gone")) == {
        "run": ("e", None),
        "a": (None, None),
        "b": (None, None),
    }


def test_parents_that_form_a_circle_inherit_nothing() -> None:
    circle = [span("a", parent="b"), span("b", parent="a"), span("c", parent="a"), span("s", parent="s")]
    assert inherited(*circle) == dict.fromkeys("abcs", (None, None))


def test_a_chain_of_any_length_inherits_in_linear_time() -> None:
    chain = [span(f"{number}", parent=f"{number - 1}") for number in range(20_000, 0, -1)]
    made = batch(*chain, root("e", trace="t", name="0"))
    inherit(made)
    assert {each.execution_id for each in made.spans} == {"e"}
    unowned = batch(*[span(f"{number}", parent=f"{number - 1}") for number in range(1, 20_000)])
    inherit(unowned)
    assert {each.execution_id for each in unowned.spans} == {None}


def test_logs_inherit_from_their_span() -> None:
    made = batch(
        root("e", trace="t", name="run"),
        span("node", parent="run", execution="e", node="n"),
        log("at the node", trace="t", at_span="node"),
        log("at the node, with its own node", trace="t", at_span="node", node_id="m"),
        log("of another execution", trace="t", at_span="node", execution="f"),
        log("at no span", trace="t"),
        log("of another trace", trace="u", at_span="node"),
    )
    inherit(made)
    assert [(each.execution_id, each.node_id) for each in made.logs] == [
        ("e", "n"),
        ("e", "m"),
        ("f", None),
        (None, None),
        (None, None),
    ]


def test_what_was_inherited_links_no_trace() -> None:
    made = batch(root("e", trace="t", name="run"), span("a", parent="run"))
    inherit(made)
    assert [each.stamp is None for each in made.spans] == [False, True]


# --- select_execution ---


def read(name: str, parent: str | None = None, execution: str | None = None, trace: str = "t") -> Span:
    return Span(trace_id=trace, span_id=name, parent_span_id=parent, execution_id=execution)


TREE = [
    read("request"),
    read("outer", "request", "o"),
    read("step", "outer"),
    read("inner", "step", "i"),
    read("inner step", "inner"),
    read("back in outer", "inner step", "o"),
    read("under back", "back in outer"),
    read("elsewhere", "request", "x"),
    read("other trace", trace="u"),
]


@pytest.mark.parametrize(
    ("execution_id", "shared", "expected"),
    [
        ("o", {"t"}, ["outer", "step", "inner", "back in outer", "under back", "other trace"]),
        ("i", {"t"}, ["inner", "inner step", "back in outer", "other trace"]),
        ("x", {"t"}, ["elsewhere", "other trace"]),
        ("none", {"t"}, ["other trace"]),
        ("o", set(), [each.span_id for each in TREE]),
        ("o", {"t", "u"}, ["outer", "step", "inner", "back in outer", "under back"]),
    ],
)
def test_which_spans_belong_to_an_execution(execution_id: str, shared: set[str], expected: list[str]) -> None:
    for order in (TREE, TREE[::-1]):
        chosen = select_execution(order, execution_id, frozenset(shared))
        assert sorted(each.span_id for each in chosen) == sorted(expected)
        assert chosen == [each for each in order if each in chosen]


def test_a_circle_of_parents_ends() -> None:
    circle = [read("a", "b", "e"), read("b", "a"), read("s", "s", "e")]
    assert select_execution(circle, "e", frozenset({"t"})) == circle


def test_one_span_id_in_two_traces_does_not_mix_them() -> None:
    spans = [read("a", None, "e"), read("b", "a", trace="u"), read("a", None, "f", trace="u")]
    assert [each.trace_id for each in select_execution(spans, "e", frozenset({"t", "u"}))] == ["t"]


def test_an_empty_batch_inherits_nothing() -> None:
    made = Batch()
    inherit(made)
    assert made == Batch()
    assert trace_id("t") != trace_id("u")
