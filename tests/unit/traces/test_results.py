"""What the spans of nodes say of their results."""

import json
from typing import Any

from spane_otel.records import Span
from spane_otel.traces.results import node_results_of
from tests.unit.traces.spans import failed, span


def node(name: str, node_id: str, parent: str | None = "root", *, as_failed: bool = False, **columns: Any) -> Span:
    """Return the own span of a node of the execution `e`."""
    attributes = {"spane.execution.id": "e", "spane.node.id": node_id, **columns.pop("attributes", {})}
    values = {"execution_id": "e", "node_id": node_id, "attributes": attributes, **columns}
    return (failed if as_failed else span)(name, parent, **values)


def tries(spans: list[Span], execution_id: str | None = "e") -> list[tuple[str, int, int, str]]:
    results = node_results_of(spans, execution_id)
    return [(each.node_id, each.iteration, each.attempt, each.state) for each in results]


def attempt(number: int, iteration: int = 0) -> dict[str, Any]:
    return {"spane.node.attempt": number, "spane.node.iteration": iteration}


def test_each_try_is_a_result_in_the_order_of_node_iteration_and_attempt() -> None:
    spans = [
        span("root", execution_id="e"),
        node("3", "b", start=3, attributes=attempt(1, 1)),
        node("2", "b", start=2, attributes=attempt(2)),
        node("1", "b", start=1, as_failed=True, status_message="boom", attributes=attempt(1)),
        node("4", "a", start=4, state="skipped", attributes=attempt(1)),
        node("5", "c", start=5, state="cancelled", attributes=attempt(1)),
    ]
    assert tries(spans) == [
        ("a", 0, 1, "skipped"),
        ("b", 0, 1, "failed"),
        ("b", 0, 2, "completed"),
        ("b", 1, 1, "completed"),
        ("c", 0, 1, "cancelled"),
    ]
    skipped, first, second, _, cancelled = node_results_of(spans)
    assert (skipped.skipped, skipped.success, skipped.is_final) == (True, True, True)
    assert (first.error, first.success, first.is_final) == ("boom", False, False)
    assert (first.started_ns, first.ended_ns) == (1, 100)
    assert (second.error, second.success, second.is_final) == (None, True, True)
    assert (cancelled.success, cancelled.is_final, cancelled.skipped) == (False, False, False)


def test_input_and_output_are_what_was_recorded_and_absent_where_nothing_was() -> None:
    for text, value in (
        ("0", 0),
        ("false", False),
        ('""', ""),
        ("[]", []),
        ("null", None),
        ('{"a":1.0}', {"a": 1.0}),
        ("plain words", "plain words"),
        ("NaN", "NaN"),
    ):
        (result,) = node_results_of([node("1", "a", attributes={"spane.input": text, "spane.output": text})])
        assert (result.has_data, result.has_input) == (True, True)
        assert json.dumps([result.data, result.input]) == json.dumps([value, value])
    (foreign,) = node_results_of([node("1", "a", attributes={"spane.output": {"n": 1}})])
    assert foreign.data == {"n": 1}
    (without,) = node_results_of([node("1", "a")])
    assert (without.has_data, without.has_input, without.data, without.input) == (False, False, None, None)


def test_what_has_not_ended_has_no_result_yet() -> None:
    spans = [node("1", "a", end=None, state=state) for state in ("running", "open", "abandoned")]
    assert node_results_of(spans) == []


def test_what_runs_inside_a_node_is_not_the_node() -> None:
    inner = {"spane.execution.id": "e", "spane.node.id": "a"}
    spans = [
        span("root", execution_id="e"),
        node("1", "a", attributes={**attempt(1), "spane.output": "1"}),
        span("2", "1", execution_id="e", node_id="a", attributes=inner),
        span("3", "2", execution_id="e", node_id="a"),
    ]
    assert tries(spans) == [("a", 0, 1, "completed")]
    assert tries([spans[0], *spans[2:]]) == [("a", 0, 1, "completed")]  # its parent is elsewhere: the topmost is it
    inherited = span("1", "root", execution_id="e", node_id="a")
    assert tries([spans[0], inherited, *spans[2:]]) == [("a", 0, 1, "completed")]
    local = span("2", "1", execution_id="e", node_id="a", attributes=inner, flags=0x101)
    assert tries([spans[0], local, spans[3]]) == []  # its parent is of the same process, and still to come
    assert tries([spans[3]]) == []


def test_a_node_that_calls_itself_by_another_is_two_tries() -> None:
    spans = [
        span("root", execution_id="e"),
        node("1", "a", start=1),
        node("2", "b", "1", start=2),
        node("3", "a", "2", start=3),
    ]
    assert tries(spans) == [("a", 0, 1, "completed"), ("a", 1, 1, "completed"), ("b", 0, 1, "completed")]


def test_tries_that_say_nothing_are_counted_as_in_a_traced_process() -> None:
    spans = [
        node("1", "a", start=1, as_failed=True),
        node("2", "a", start=2),
        node("3", "a", start=3),
        node("4", "a", start=4, end=None, state="running"),
        node("5", "b", start=5, attributes={"spane.node.iteration": 4}),
        node("6", "b", start=6, attributes={"spane.node.iteration": 4}),
        node("7", "c", start=7, attributes={"spane.node.attempt": "two"}),
    ]
    assert tries(spans) == [
        ("a", 0, 1, "failed"),
        ("a", 0, 2, "completed"),
        ("a", 1, 1, "completed"),
        ("b", 4, 1, "completed"),
        ("c", 0, 1, "completed"),
    ]
    same = node_results_of(
        [node("5", "b", start=5, attributes=attempt(1)), node("6", "b", start=6, attributes=attempt(1))]
    )
    assert [each.started_ns for each in same] == [6]


def test_a_span_that_was_added_by_hand_with_a_node_is_that_node() -> None:
    added = [
        span("1", execution_id="e", node_id="a", id="first", state="failed", status="error", status_message="no"),
        span("2", "1", execution_id="e", node_id="a", id="inside"),
    ]
    (result,) = node_results_of(added)
    assert (result.node_id, result.state, result.error) == ("a", "failed", "no")


def test_spans_of_other_executions_are_left_out_and_unstamped_ones_belong() -> None:
    spans = [
        node("1", "a"),
        node("2", "a", execution_id="other"),
        node("3", "b", execution_id=None),
    ]
    assert [(each.execution_id, each.node_id) for each in node_results_of(spans, "e")] == [("e", "a"), ("e", "b")]
    assert [(each.execution_id, each.node_id) for each in node_results_of(spans)] == [("e", "a"), ("other", "a")]
