"""The tree of a trace, whatever arrived."""

import time
from collections.abc import Callable

import pytest

from spane_otel.records import Span
from spane_otel.traces.tree import GUIDE_LEVELS, build_tree, missing_parents
from tests.unit.traces.spans import drawn, span


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([span("a"), span("b", "a", 1), span("c", "b", 2)], ["a", "  b", "    c"], id="a chain"),
        pytest.param([span("c", "b", 2), span("b", "a", 1), span("a")], ["a", "  b", "    c"], id="any order"),
        pytest.param(
            [span("a"), span("late", "a", 9), span("early", "a", 1)],
            ["a", "  early", "  late"],
            id="siblings by their start",
        ),
        pytest.param(
            [span("a"), span("x", "a", 1), span("b", "a", 1), span("m", "a", 1)],
            ["a", "  x", "  b", "  m"],
            id="equal starts in the order of arrival",
        ),
        pytest.param([span("a", start=5), span("b", start=1)], ["b", "a"], id="two roots"),
        pytest.param([span("a", "gone")], ["?gone", "  a"], id="a parent that did not arrive"),
        pytest.param(
            [span("a", "gone", 3), span("b", "gone", 1)], ["?gone", "  b", "  a"], id="its children share a placeholder"
        ),
        pytest.param(
            [span("r", start=2), span("a", "gone", 1)],
            ["?gone", "  a", "r"],
            id="a placeholder stands where its first child started",
        ),
        pytest.param(
            [span("a"), span("b", "a", trace_id="u")], ["a", "?a", "  b"], id="a parent in another trace is not one"
        ),
        pytest.param([span("a", "a")], ["a!"], id="its own parent"),
        pytest.param(
            [span("b", "c", 2), span("c", "a", 3), span("a", "b", 1)],
            ["a!", "  c", "    b"],
            id="a cycle is broken at its earliest span",
        ),
        pytest.param(
            [span("a", "b", 1), span("b", "a", 2), span("leaf", "b", 0)],
            ["a!", "  b", "    leaf"],
            id="what hangs on a cycle stays on it",
        ),
        pytest.param(
            [span("a"), span("x", "a", 1), span("x", "a", 5), span("child", "x", 6)],
            ["a", "  x=", "  x=", "    child"],
            id="a shared id: the child belongs to the last that started before it",
        ),
        pytest.param(
            [span("call", None, 1), span("call", "call", 2)],
            ["call=", "  call="],
            id="client and server share an id",
        ),
        pytest.param(
            [span("x", "x", 3), span("x", "x", 1)], ["x!=", "  x="], id="shared ids that are their own parents"
        ),
        pytest.param([span("a", start=1), span("a", start=2)], ["a=", "a="], id="a duplicate is kept"),
    ],
)
def test_the_tree_of_what_arrived(spans: list[Span], expected: list[str]) -> None:
    assert drawn(build_tree(spans)) == expected


def test_no_span_is_lost_or_shown_twice() -> None:
    spans = [
        span("a", "c", 1),
        span("b", "a", 2),
        span("c", "b", 3),
        span("d", "gone"),
        span("d", "gone", 4),
        span("e"),
    ]
    shown = [row.span for row in build_tree(spans).rows if row.span is not None]
    assert sorted(map(id, shown)) == sorted(map(id, spans))


def test_a_parent_known_to_exist_elsewhere_needs_no_placeholder() -> None:
    spans = [span("a", "outside")]
    assert missing_parents(spans) == {("t", "outside")}
    assert drawn(build_tree(spans, outside=frozenset({("t", "outside")}))) == ["a"]


def test_counts_and_ancestors() -> None:
    tree = build_tree([span("a"), span("b", "a", 1), span("c", "b", 2), span("d", "a", 3)])
    assert [(row.children, row.descendants, row.is_last) for row in tree.rows] == [
        (2, 3, True),
        (1, 1, False),
        (0, 0, True),
        (0, 0, True),
    ]
    assert list(tree.ancestors(2)) == [1, 0]


def test_guides_say_which_lines_pass_a_row() -> None:
    """Beside `c` runs the line of its parent's level, because `d` follows there; beside `e` none."""
    tree = build_tree([span("a"), span("b", "a", 1), span("c", "b", 2), span("d", "a", 3), span("e", "d", 4)])
    assert [row.guides for row in tree.rows] == [0, 0, 1, 0, 0]


def test_guides_are_bounded() -> None:
    chain = [span("0")]
    for depth in range(1, 60):
        chain += [span(str(depth), str(depth - 1), depth), span(f"{depth}'", str(depth - 1), 1000)]
    assert max(row.guides for row in build_tree(chain).rows) < 1 << GUIDE_LEVELS


@pytest.mark.parametrize(
    ("shape", "count"), [("deep", 100_000), ("wide", 100_000), ("cycle", 20_000), ("orphans", 20_000)]
)
def test_many_spans_take_seconds_and_no_recursion(shape: str, count: int) -> None:
    parents: dict[str, Callable[[int], str | None]] = {
        "deep": lambda number: str(number - 1) if number else None,
        "wide": lambda number: "0" if number else None,
        "cycle": lambda number: str((number + 1) % count),
        "orphans": lambda number: f"gone {number}",
    }
    spans = [span(str(number), parents[shape](number), number) for number in range(count)]
    begin = time.process_time()
    tree = build_tree(spans)
    assert time.process_time() - begin < 10
    assert sum(row.span is not None for row in tree.rows) == count
