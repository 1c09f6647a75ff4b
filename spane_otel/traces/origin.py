"""What went wrong in a trace: where the failure began, not the parents that only inherited it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from spane_otel.mapping import NODE_ATTEMPT, NODE_ITERATION
from spane_otel.records import Span
from spane_otel.traces.tree import NO_PARENT, Tree, TreeRow

NodeTurn = tuple[int, str | None, str, Any]
"""Parent row, execution, node and iteration: what the attempts of one turn of a node have in common."""

_FRAME: Final = re.compile(r'^ {2}File "(?P<file>.*)", line (?P<line>\d+)(?:, in (?P<function>.*))?$')
_LIBRARY: Final = re.compile(
    r"(?:^|[\\/])(?:site-packages|dist-packages)[\\/]"
    r"|[\\/]lib(?:64)?[\\/]python\d[\d.]*[\\/]"
    r"|(?:^|[\\/])spane_otel[\\/](?!demo[\\/])"
    r"|^<"
)
"""Paths of installed packages, of the standard library, of ourselves, and of code without a file."""
_MESSAGE_LINE: Final = re.compile(r"^(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning|Group))(?:: |$)")


class Failure(Struct, frozen=True):
    """An exception, as a span tells it."""

    type: str
    """Empty where the span does not say."""
    message: str
    stack: str = ""
    time_ns: int | None = None
    """When the exception event was recorded."""


class Frame(Struct, frozen=True):
    """A frame of a Python stack."""

    file: str
    line: int
    function: str
    code: str
    is_library: bool


class Origin(Struct, frozen=True):
    """Where a failure began."""

    row: int
    """Index of the span's row in the tree."""
    path: tuple[int, ...]
    """Rows from the root to the span, both included."""
    failure: Failure
    time_ns: int
    """When it broke: the exception's time, else the span's end, else its start."""
    failures: int
    """How many spans of the trace failed without a failed child."""
    frame: Frame | None
    """The deepest frame of the user's own code."""


def is_failed(span: Span) -> bool:
    """Whether a span failed: its state says so, or its status where the state was given otherwise."""
    return span.state == "failed" or (span.status == "error" and span.state != "cancelled")


def failed_leaves(tree: Tree) -> list[int]:
    """Return the rows of failed spans that have no failed child, in the order of the tree."""
    has_failed_child: set[int] = set()
    failed: list[int] = []
    for index, row in enumerate(tree.rows):
        if row.span is not None and is_failed(row.span):
            failed.append(index)
            has_failed_child.add(row.parent)
    return [index for index in failed if index not in has_failed_child]


def find_origin(tree: Tree) -> Origin | None:
    """Return where it went wrong: the earliest failed span without a failed child; None if no span failed.

    *Earliest* is when it broke. What a later attempt of its node made good counts only if nothing else failed.
    """
    leaves = failed_leaves(tree)
    recovered = _recovered(tree)
    lasting = [index for index in leaves if index not in recovered]
    index = min(lasting or leaves, key=lambda each: (_broke_at(tree, each), each), default=None)
    span = tree.rows[index].span if index is not None else None
    if index is None or span is None:
        return None
    failure = read_failure(span)
    return Origin(
        row=index,
        path=(*reversed(list(tree.ancestors(index))), index),
        failure=failure,
        time_ns=_broke_at(tree, index),
        failures=len(leaves),
        frame=own_frame(read_stack(failure.stack)),
    )


def read_turn(row: TreeRow) -> tuple[NodeTurn, int] | None:
    """Return which turn of which node a span is, and its attempt; None for what is not a node's own span."""
    span = row.span
    if span is None or span.node_id is None or f'"{NODE_ATTEMPT}"' not in span.attributes.text:
        return None
    attempt = span.attributes.get(NODE_ATTEMPT)
    if not isinstance(attempt, int):
        return None
    return (row.parent, span.execution_id, span.node_id, span.attributes.get(NODE_ITERATION)), attempt


def _recovered(tree: Tree) -> set[int]:
    """Return the rows of attempts after which a later attempt of the same node completed, and all inside them."""
    completed: dict[NodeTurn, int] = {}
    failed: dict[int, tuple[NodeTurn, int]] = {}
    for index, row in enumerate(tree.rows):
        turn = read_turn(row)
        if turn is None or row.span is None:
            continue
        if row.span.state == "completed":
            completed[turn[0]] = max(turn[1], completed.get(turn[0], 0))
        elif is_failed(row.span):
            failed[index] = turn
    recovered: set[int] = set()
    for index, row in enumerate(tree.rows):
        turn = failed.get(index)
        if row.parent in recovered or (turn is not None and completed.get(turn[0], 0) > turn[1]):
            recovered.add(index)
    return recovered


def _broke_at(tree: Tree, index: int) -> int:
    span = tree.rows[index].span
    if span is None:
        return tree.rows[index].start_ns
    event_ns = read_failure(span).time_ns
    return event_ns or span.end_ns or span.start_ns


def read_failure(span: Span) -> Failure:
    """Return the exception of a span: its last `exception` event (a semantic convention), else its status message."""
    if '"exception' in span.events.text:
        for event in reversed(span.events):
            if event.get("name") == "exception":
                return _read_exception(event, span)
    match = _MESSAGE_LINE.match(span.status_message)
    if match:
        return Failure(type=match["type"], message=span.status_message[match.end() :])
    return Failure(type="", message=span.status_message)


def _read_exception(event: Mapping[str, Any], span: Span) -> Failure:
    attributes = event["attributes"]
    time_ns = event.get("time_ns")
    return Failure(
        type=_text(attributes.get("exception.type")).removeprefix("builtins."),
        message=_text(attributes.get("exception.message")) or span.status_message,
        stack=_text(attributes.get("exception.stacktrace")),
        time_ns=int(time_ns) if time_ns else None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def read_stack(stack: str) -> list[Frame]:
    """Return the frames of a Python traceback's last exception, outermost first; empty for any other text."""
    lines = stack.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last):")]
    frames: list[Frame] = []
    for number in range(starts[-1] if starts else 0, len(lines)):
        match = _FRAME.match(lines[number])
        if match is None:
            continue
        following = lines[number + 1] if number + 1 < len(lines) else ""
        frames.append(
            Frame(
                file=match["file"],
                line=int(match["line"]),
                function=match["function"] or "",
                code=following.strip() if following.startswith("    ") else "",
                is_library=_LIBRARY.search(match["file"]) is not None,
            )
        )
    return frames


def own_frame(frames: Sequence[Frame]) -> Frame | None:
    """Return the deepest frame of the user's own code, None if all are a library's."""
    return next((frame for frame in reversed(frames) if not frame.is_library), None)


def first_root(tree: Tree) -> int | None:
    """Return the row that stands for the whole trace: its first root with a span."""
    return next((i for i, row in enumerate(tree.rows) if row.parent == NO_PARENT and row.span is not None), None)
