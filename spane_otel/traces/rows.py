"""The rows of a timeline: what a page draws, worked out once, for the template and for the module that draws."""

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct, field

from spane_otel.clock import SECOND
from spane_otel.mapping import INPUT, NODE_ATTEMPT, NODE_ITERATION, WORKFLOW_ID, WORKFLOW_VERSION_LABEL
from spane_otel.records import Log, Span, SpanState, Trace
from spane_otel.traces.marks import Mark, log_marks, span_marks
from spane_otel.traces.origin import NodeTurn, Origin, failed_leaves, is_failed, read_failure, read_turn
from spane_otel.traces.services import Services
from spane_otel.traces.tree import NO_PARENT, Tree, TreeRow
from spane_otel.traces.visible import visible_line
from spane_otel.traces.wording import count, counted, duration, offset

RowKind = Literal["execution", "node", "span", "missing"]

EN_DASH: Final = "\N{EN DASH}"
"""A duration that does not exist."""
UNFOLDED_ROWS: Final = 60
"""Up to this many rows a tree is shown open; beyond, quiet branches start closed."""
SHORT_INPUT: Final = 4_096
"""A longer input is not searched for what tells an inner execution from its siblings."""
QUIET_BRANCH: Final = 6
"""A closed branch hides at least this many rows."""

KEY_ATTRIBUTES: Final = (
    "url.full",
    "http.url",
    "url.path",
    "http.target",
    "http.route",
    "db.collection.name",
    "db.namespace",
    "db.name",
    "db.system.name",
    "db.system",
    "messaging.destination.name",
    "rpc.method",
    "file.path",
    "server.address",
    "net.peer.name",
)
"""OpenTelemetry attributes that say which one a span is, the most telling first."""


class Row(Struct, omit_defaults=True):
    """A row of the timeline. Times are nanoseconds since `Rows.base_ns`; text is ready to be shown."""

    key: str
    """Names the row in a page and in its address; unique within the trace."""
    name: str
    kind: RowKind
    state: str
    start: int
    depth: int = 0
    end: int | None = None
    """None: no end is known."""
    seen: int | None = None
    """For an abandoned span: the last heartbeat of its process."""
    parent: int = NO_PARENT
    guides: int = 0
    last: bool = True
    children: int = 0
    below: int = 0
    """How many rows hang below it, at any depth."""
    closed: bool = False
    """Whether its branch starts closed."""
    detail: str = ""
    """The grey text after the name."""
    tags: list[str] = field(default_factory=list)
    service: int = 0
    """Index into `Rows.services`."""
    duration: str = ""
    """Empty while it is running: the page counts."""
    origin: bool = False
    """A failure began here."""
    inherited: bool = False
    """It failed because something inside did."""
    failures: int = 0
    """How many failures began inside."""
    label: str = ""
    """The text beside the bar."""
    marks: list[Mark] = field(default_factory=list)
    sub: bool = False
    """An execution inside another one."""
    execution_id: str | None = None
    """For an execution's row."""
    sentence: str = ""
    """The row in words, for a screen reader."""


class Rows(Struct):
    """A timeline."""

    base_ns: str
    """Where the axis begins, in nanoseconds since 1970, as decimal text."""
    length: int
    """From there to the last thing known, in nanoseconds."""
    now: int
    """The present on the axis, when this was made."""
    live: bool
    """Whether anything is still running."""
    services: list[str]
    rows: list[Row]
    broke: int | None = None
    """When the first failure happened, on the axis."""
    origin: str | None = None
    """The key of the row where it began."""


def build_rows(
    trace: Trace,
    tree: Tree,
    *,
    now_ns: int,
    origin: Origin | None = None,
    logs: Sequence[Log] = (),
    execution_id: str | None = None,
) -> Rows:
    """Return the timeline of `trace`; `execution_id` is the execution whose page it is, if it is one's."""
    base_ns = min((row.start_ns for row in tree.rows), default=now_ns)
    states = {row.span.state for row in tree.rows if row.span is not None}
    end_ns = _end_of_axis(tree, base_ns, now_ns, states)
    leaves = set(failed_leaves(tree))
    inside = _failures_inside(tree, leaves)
    services = Services(trace.resources)
    marks = log_marks(logs, base_ns)
    retried = retried_rows(tree)
    rows: list[Row] = []
    for index, tree_row in enumerate(tree.rows):
        if tree_row.span is None:
            row = _placeholder(tree_row, base_ns)
        else:
            row = _row(tree, index, base_ns, execution_id, retried=index in retried)
        if tree_row.span is not None:
            row.service = services.index(tree_row.span)
            row.marks = span_marks(tree_row.span, base_ns, marks)
            row.origin = index in leaves
            row.inherited = is_failed(tree_row.span) and not row.origin
            row.label = _label(row, tree_row.span)
        row.failures = inside[index]
        row.sentence = _sentence(row, end_ns - base_ns)
        rows.append(row)
    _close_quiet_branches(rows)
    return Rows(
        base_ns=str(base_ns),
        length=max(end_ns - base_ns, 1),
        now=now_ns - base_ns,
        live="running" in states,
        services=services.names,
        rows=rows,
        broke=origin.time_ns - base_ns if origin else None,
        origin=rows[origin.row].key if origin else None,
    )


def _end_of_axis(tree: Tree, base_ns: int, now_ns: int, states: set[SpanState]) -> int:
    """Return where the axis ends: at the last thing known, at the present while something runs.

    After the last heartbeat of an abandoned trace half of what was seen is added at most, or hours of silence would
    leave no room for what happened.
    """
    latest = max((_latest(row) for row in tree.rows), default=now_ns)
    if "running" in states:
        return max(latest, now_ns)
    if "abandoned" in states:
        return max(latest, min(now_ns, latest + max((latest - base_ns) // 2, SECOND)))
    return latest


def row_key(span: Span, *, duplicate: bool) -> str:
    """Return what names a span in a page: its ids, and its start where the ids alone are not one span's."""
    return f"{span.trace_id}-{span.span_id}-{span.start_ns}" if duplicate else f"{span.trace_id}-{span.span_id}"


def _latest(row: TreeRow) -> int:
    span = row.span
    if span is None:
        return row.start_ns
    return max(span.start_ns, span.end_ns or 0, span.last_seen_ns or 0)


def _placeholder(row: TreeRow, base_ns: int) -> Row:
    trace_id, span_id = row.missing_id or ("", "")
    return Row(
        key=f"{trace_id}-{span_id}-missing",
        name="parent not received",
        kind="missing",
        state="open",
        start=row.start_ns - base_ns,
        depth=row.depth,
        parent=row.parent,
        guides=row.guides,
        last=row.is_last,
        children=row.children,
        below=row.descendants,
        detail=span_id,
    )


def _row(tree: Tree, index: int, base_ns: int, execution_id: str | None, *, retried: bool) -> Row:
    tree_row = tree.rows[index]
    span = tree_row.span
    if span is None:
        raise ValueError("a placeholder has no span")
    parent = tree.rows[tree_row.parent].span if tree_row.parent != NO_PARENT else None
    kind = _kind(span, parent)
    row = Row(
        key=row_key(span, duplicate=tree_row.duplicate_id),
        name=visible_line(span.name) or "(no name)",
        kind=kind,
        state=span.state,
        start=span.start_ns - base_ns,
        depth=tree_row.depth,
        end=None if span.end_ns is None else span.end_ns - base_ns,
        seen=None if span.last_seen_ns is None else span.last_seen_ns - base_ns,
        parent=tree_row.parent,
        guides=tree_row.guides,
        last=tree_row.is_last,
        children=tree_row.children,
        below=tree_row.descendants,
        detail=visible_line(_detail(span, kind, inner=tree_row.depth > 0), 120),
        tags=_tags(tree_row, span, kind, retried=retried),
        duration=_duration(span),
    )
    if kind == "execution":
        row.execution_id = span.execution_id
        row.sub = span.execution_id != execution_id if execution_id is not None else tree_row.depth > 0
    return row


def _kind(span: Span, parent: Span | None) -> RowKind:
    """Return what a span is. Inner spans are stamped with their node too: the first of a node's spans is the node."""
    text = span.attributes.text
    if span.execution_id is None:
        return "span"
    if span.node_id is None:
        return "execution" if f'"{WORKFLOW_ID}"' in text else "span"
    if parent is None or (parent.execution_id, parent.node_id) != (span.execution_id, span.node_id):
        return "node" if '"spane.' in text else "span"
    attempt = _turn(span)
    return "node" if attempt is not None and attempt != _turn(parent) else "span"


def _turn(span: Span) -> tuple[Any, Any] | None:
    """Return iteration and attempt of a span that says them."""
    if f'"{NODE_ATTEMPT}"' not in span.attributes.text:
        return None
    return span.attributes.get(NODE_ITERATION), span.attributes.get(NODE_ATTEMPT)


def retried_rows(tree: Tree) -> set[int]:
    """Return the rows of nodes that were tried again: the same node run side by side was not."""
    attempts: dict[NodeTurn, list[tuple[int, int]]] = {}
    for index, row in enumerate(tree.rows):
        if (found := read_turn(row)) is not None:
            turn, attempt = found
            attempts.setdefault(turn, []).append((index, attempt))
    return {index for tries in attempts.values() if any(attempt > 1 for _, attempt in tries) for index, _ in tries}


def _detail(span: Span, kind: RowKind, *, inner: bool) -> str:
    text = span.attributes.text
    if kind == "execution":
        if inner and f'"{INPUT}"' in text and (told := _telling_input(span.attributes.get(INPUT))):
            return told
        label = span.attributes.get(WORKFLOW_VERSION_LABEL) if f'"{WORKFLOW_VERSION_LABEL}"' in text else None
        return label if isinstance(label, str) else ""
    for key in KEY_ATTRIBUTES:
        if f'"{key}"' in text:
            value = span.attributes.get(key)
            if isinstance(value, str) and value:
                return value.rsplit("/", 1)[-1] if key == "file.path" else value
    return ""


def _telling_input(payload: Any) -> str:
    """Return the first plain value of an execution's input: which package, which order."""
    if not isinstance(payload, str) or len(payload) > SHORT_INPUT:
        return ""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    plain = next((each for each in values if isinstance(each, str | int) and not isinstance(each, bool)), None)
    return "" if plain is None else json.dumps(plain, ensure_ascii=False)


def _tags(row: TreeRow, span: Span, kind: RowKind, *, retried: bool) -> list[str]:
    tags = []
    if kind == "node" and (turn := _turn(span)) is not None:
        iteration, attempt = turn
        if isinstance(iteration, int) and iteration > 0:
            tags.append(f"iteration {iteration}")
        if isinstance(attempt, int) and (attempt > 1 or retried):
            tags.append(f"attempt {attempt}")
    if row.duplicate_id:
        tags.append("duplicate id")
    if row.cycle:
        tags.append("its own ancestor")
    if span.end_ns is not None and span.end_ns < span.start_ns:
        tags.append("ends before it starts")
    return tags


def _duration(span: Span) -> str:
    if span.state == "skipped":
        return EN_DASH
    if span.end_ns is not None:
        return duration(span.end_ns - span.start_ns)
    if span.state == "abandoned" and span.last_seen_ns is not None:
        return f"≥ {duration(span.last_seen_ns - span.start_ns)}"
    return "" if span.state == "running" else "?"


def _label(row: Row, span: Span) -> str:
    if row.origin:
        failure = read_failure(span)
        return visible_line(failure.type.rpartition(".")[2] or failure.message, 60)
    if span.state in ("cancelled", "skipped"):
        failure = read_failure(span)
        reason = failure.message or failure.type
        return visible_line(f"{span.state}: {reason}" if reason else span.state, 80)
    if span.end_ns is None and span.state == "open":
        return "no end reported"
    return ""


def _failures_inside(tree: Tree, leaves: set[int]) -> list[int]:
    inside = [0] * len(tree.rows)
    for index in range(len(tree.rows) - 1, -1, -1):
        parent = tree.rows[index].parent
        if parent != NO_PARENT:
            inside[parent] += inside[index] + (index in leaves)
    return inside


def _close_quiet_branches(rows: list[Row]) -> None:
    """Let branches in which nothing is unusual start closed, where the tree is too long to be seen at once."""
    if len(rows) <= UNFOLDED_ROWS:
        return
    loud = [False] * len(rows)
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        notable = row.origin or row.inherited or row.state in ("running", "abandoned") or row.kind == "missing"
        loud[index] = loud[index] or notable
        if loud[index] and row.parent != NO_PARENT:
            loud[row.parent] = True
    for index, row in enumerate(rows):
        row.closed = row.depth > 0 and row.below >= QUIET_BRANCH and not loud[index]


_STATE_WORDS: Final = {"open": "no end reported"}


def _sentence(row: Row, total: int) -> str:
    if row.kind == "missing":
        return f"parent not received, {counted(row.children, 'span')} below it"
    state = "failed inside" if row.inherited else _STATE_WORDS.get(row.state, row.state)
    parts = [row.name, "sub-execution" if row.sub else row.kind, *row.tags, state]
    if row.duration not in ("", "?", EN_DASH):
        parts.append(f"{row.duration.replace('≥', 'at least')} from {offset(row.start, total).removeprefix('+')}")
    if row.label and row.label not in parts:
        parts.append(row.label)
    if row.failures:
        parts.append(f"{counted(row.failures, 'failure')} inside")
    if row.marks:
        parts.append(f"{count(len(row.marks))} marks" if len(row.marks) > 1 else "1 mark")
    return ", ".join(parts)
