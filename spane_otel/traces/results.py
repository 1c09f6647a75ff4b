"""Node results of executions that spans made: read from the spans of their nodes (names.md, *Span attributes*)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from spane_otel.mapping import INPUT, NODE_ATTEMPT, NODE_ID, NODE_ITERATION, OUTPUT
from spane_otel.records import Span
from spane_otel.state import NodeResult, NodeState

_ENDED: Final[dict[str, NodeState]] = {
    "completed": "completed",
    "failed": "failed",
    "skipped": "skipped",
    "cancelled": "cancelled",
}
_REMOTE_KNOWN: Final = 256
"""OTLP's SpanFlags: whether the parent is remote is known."""
_REMOTE: Final = 512
"""OTLP's SpanFlags: it is."""


class _Turn(Struct):
    """The last try of a node."""

    iteration: int
    attempt: int
    failed: bool


def node_results_of(spans: Sequence[Span], execution_id: str | None = None) -> list[NodeResult]:
    """Return what the nodes came to, one result for each try that ended, sorted by (node_id, iteration, attempt).

    `spans` are an execution's as a trace has them: in their order, with their ancestors among them. With
    `execution_id` the spans of others are left out, and those that name none count as its own; without, each counts
    for the execution that it names.

    A node's own span says its attempt, or is the topmost of the spans that carry the node. Where attempt and iteration
    are not said they are counted as in a traced process: after a failure another attempt, after a success another
    iteration. Of two that claim the same try the later holds. A success or a skip is final, a failure is not.
    """
    found: dict[tuple[str, str, int, int], NodeResult] = {}
    turns: dict[tuple[str, str], _Turn] = {}
    for span, owner in _node_spans(spans, execution_id):
        node_id = span.node_id or ""
        turn = _turn_of(span, turns.get((owner, node_id)))
        turns[owner, node_id] = turn
        state = _ENDED.get(span.state)
        if state is not None:
            found[owner, node_id, turn.iteration, turn.attempt] = _result(span, owner, turn, state)
    return sorted(found.values(), key=lambda each: (each.node_id, each.iteration, each.attempt))


def _node_spans(spans: Sequence[Span], execution_id: str | None) -> Iterator[tuple[Span, str]]:
    """Yield the nodes' own spans, each with the execution whose it is."""
    by_id = {(span.trace_id, span.span_id): span for span in spans}
    for span in spans:
        owner = span.execution_id or execution_id
        if span.node_id is None or owner is None or execution_id not in (None, owner):
            continue
        if _says(span, NODE_ATTEMPT) or _is_topmost(span, by_id):
            yield span, owner


def _is_topmost(span: Span, by_id: dict[tuple[str, str], Span]) -> bool:
    """Whether a span that carries a node is the node, and not something inside it."""
    if span.parent_span_id is None:
        return True
    parent = by_id.get((span.trace_id, span.parent_span_id))
    if parent is not None:
        return (parent.execution_id, parent.node_id) != (span.execution_id, span.node_id)
    if span.id is None and not _says(span, NODE_ID):
        return False  # it may have its node from an ancestor
    # A parent in the same process is still to come, and may be the node; a remote one may never come.
    return span.flags & (_REMOTE_KNOWN | _REMOTE) != _REMOTE_KNOWN


def _turn_of(span: Span, last: _Turn | None) -> _Turn:
    """Return which try a span is, given the one before it of the same node."""
    attempt = _count(span, NODE_ATTEMPT, 1)
    iteration = _count(span, NODE_ITERATION, 0)
    failed = span.state not in ("completed", "skipped")
    if last is None:
        return _Turn(iteration or 0, attempt or 1, failed)
    if iteration is None:
        goes_on = last.failed if attempt is None else attempt > 1
        iteration = last.iteration if goes_on else last.iteration + 1
    if attempt is None:
        attempt = last.attempt + 1 if last.failed and iteration == last.iteration else 1
    return _Turn(iteration, attempt, failed)


def _result(span: Span, owner: str, turn: _Turn, state: NodeState) -> NodeResult:
    has_data, data = _payload(span, OUTPUT)
    has_input, given = _payload(span, INPUT)
    return NodeResult(
        execution_id=owner,
        node_id=span.node_id or "",
        iteration=turn.iteration,
        attempt=turn.attempt,
        success=state in ("completed", "skipped"),
        data=data,
        has_data=has_data,
        error=span.status_message or None,
        skipped=state == "skipped",
        state=state,
        is_final=state in ("completed", "skipped"),
        started_ns=span.start_ns,
        ended_ns=span.end_ns,
        input=given,
        has_input=has_input,
    )


def _payload(span: Span, key: str) -> tuple[bool, Any]:
    """Return whether there is a value, and the value: JSON text parsed, other text as the string that it is."""
    if not _says(span, key):
        return False, None
    value = span.attributes[key]
    if not isinstance(value, str):
        return True, value
    try:
        return True, json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return True, value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # json would take NaN and Infinity, which are words elsewhere


def _says(span: Span, key: str) -> bool:
    return f'"{key}"' in span.attributes.text and key in span.attributes


def _count(span: Span, key: str, least: int) -> int | None:
    value = span.attributes[key] if _says(span, key) else None
    return value if type(value) is int and least <= value < 2**31 else None
