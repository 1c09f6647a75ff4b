"""Executions from spans: a fold that any order and any repetition of deliveries leaves the same.

Every stamped span (one that carries `spane.execution.id` itself) links its trace to its execution. A *root* also
describes the execution. Both become rows keyed (execution_id, trace_id, root_span_id, root_start_ns); the link's row
has zeros for the root. `fold` turns all rows of one execution into the execution. The rules are architecture.md's,
*Executions*; both stores use this module and nothing else to make rows from spans.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from spane_otel.records import STATUS_ERROR, Batch, ExecutionStatus, Span, SpanRow, SpanState, Stamp

NO_ROOT: Final = 0


class ExecutionTraceRow(Struct):
    """A trace of an execution: the link (`root_span_id` and `root_start_ns` 0), or one root of it."""

    execution_id: str
    trace_id: bytes
    root_span_id: int
    root_start_ns: int
    start_ns: int
    """The link: the least start of the trace's stamped spans. A root: its start."""
    end_ns: int | None = None
    state: SpanState | None = None
    """What the root said of itself, else derived; None for a link."""
    revision: int = 0
    process_id: str | None = None
    error: str | None = None
    stamp: Stamp = Stamp()

    @property
    def is_link(self) -> bool:
        return self.root_span_id == NO_ROOT and self.root_start_ns == NO_ROOT

    @property
    def key(self) -> tuple[str, bytes, int, int]:
        return self.execution_id, self.trace_id, self.root_span_id, self.root_start_ns

    @property
    def version(self) -> tuple[bool, int, int]:
        return version_of(self.end_ns, self.revision)


class DerivedExecution(Struct, frozen=True):
    """What the rows of an execution say of it."""

    execution_id: str
    status: ExecutionStatus
    started_ns: int
    ended_ns: int | None
    process_id: str | None
    parent_execution_id: str | None
    root_execution_id: str | None
    depth: int
    error: str | None
    stamp: Stamp


def version_of(end_ns: int | None, revision: int) -> tuple[bool, int, int]:
    """Return what orders the versions of one identity: ended, then its end, then its revision; the greater wins."""
    return end_ns is not None, end_ns or 0, revision


def ended_state(given: SpanState | None, status: int, end_ns: int | None) -> SpanState | None:
    """Return a span's state as far as its own fields tell; None: it is open, and its process decides."""
    if given is not None:
        return given
    if status == STATUS_ERROR:
        return "failed"
    return "completed" if end_ns is not None else None


def span_state(
    given: SpanState | None, status: int, end_ns: int | None, process_id: str | None, *, stale: bool
) -> SpanState:
    """Return the state a reader shows; `stale`: the span's process has not been heard of for too long."""
    state = ended_state(given, status, end_ns)
    if state == "running" and process_id is None:
        return state
    if state in (None, "running"):
        if process_id is None:
            return "open"
        return "abandoned" if stale else "running"
    return state


def is_root(span: SpanRow) -> bool:
    """Whether a stamped span describes its execution.

    It does with a workflow and no node; with neither, only without a parent.
    """
    if span.stamp is None or span.node_id is not None:
        return False
    return span.stamp.workflow_id is not None or span.parent_id is None


def inherit(batch: Batch) -> None:
    """Give execution and node of the nearest stamped ancestor, within the batch, to spans and logs that have none."""
    spans = {(span.trace_id, span.span_id): span for span in batch.spans}
    settled: set[tuple[bytes, int]] = set()
    for span in batch.spans:
        if span.execution_id is None:
            _inherit_from_ancestors(span, spans, settled)
    for record in batch.logs:
        if record.execution_id is None and record.trace_id is not None and record.span_id is not None:
            owner = spans.get((record.trace_id, record.span_id))
            if owner is not None and owner.execution_id is not None:
                record.execution_id = owner.execution_id
                record.node_id = record.node_id or owner.node_id


def _inherit_from_ancestors(
    span: SpanRow, spans: dict[tuple[bytes, int], SpanRow], settled: set[tuple[bytes, int]]
) -> None:
    path = [span]
    on_path = {span.span_id}
    ancestor: SpanRow | None = None
    current = span
    while current.parent_id is not None and current.parent_id not in on_path:
        parent = spans.get((current.trace_id, current.parent_id))
        if parent is None or (parent.execution_id is None and (parent.trace_id, parent.span_id) in settled):
            break
        if parent.execution_id is not None:
            ancestor = parent
            break
        path.append(parent)
        on_path.add(parent.span_id)
        current = parent
    for each in path:
        settled.add((each.trace_id, each.span_id))
    if ancestor is None:
        return
    node_id = ancestor.node_id
    for each in reversed(path):
        each.execution_id = ancestor.execution_id
        node_id = each.node_id = each.node_id or node_id


def execution_trace_rows(spans: Iterable[SpanRow]) -> list[ExecutionTraceRow]:
    """Return the rows that stamped spans make, one per key, sorted by key."""
    rows: dict[tuple[str, bytes, int, int], ExecutionTraceRow] = {}
    for span in spans:
        if span.stamp is None or span.execution_id is None:
            continue
        _keep(rows, _link_row(span.execution_id, span))
        if is_root(span):
            _keep(rows, _root_row(span.execution_id, span))
    return [rows[key] for key in sorted(rows)]


def supersedes(new: ExecutionTraceRow, old: ExecutionTraceRow) -> bool:
    """Whether `new` replaces `old` under the same key: an earlier link, or a greater version of a root.

    Of links that start together the one of the lesser process id (none: the empty text) stays, so that the order of
    deliveries does not decide.
    """
    if new.is_link:
        return (new.start_ns, new.process_id or "") < (old.start_ns, old.process_id or "")
    return new.version > old.version


def fold(rows: Sequence[ExecutionTraceRow]) -> DerivedExecution:
    """Return the execution that its rows describe, the same for any order of `rows`.

    Raises:
        ValueError: there is no row.

    """
    links = [row for row in rows if row.is_link]
    roots = [row for row in rows if not row.is_link]
    if not rows:
        raise ValueError("an execution without a row")
    if not roots:
        earliest = min(links, key=lambda row: (row.start_ns, row.trace_id))
        return DerivedExecution(
            execution_id=earliest.execution_id,
            status="running",
            started_ns=earliest.start_ns,
            ended_ns=None,
            process_id=earliest.process_id,
            parent_execution_id=None,
            root_execution_id=earliest.execution_id,
            depth=0,
            error=None,
            stamp=Stamp(),
        )
    deciding = max(roots, key=lambda row: (row.root_start_ns, row.root_span_id, row.trace_id))
    parent, root, depth = _family(deciding)
    return DerivedExecution(
        execution_id=deciding.execution_id,
        status=_execution_status(deciding.state),
        started_ns=min(row.root_start_ns for row in roots),
        ended_ns=deciding.end_ns,
        process_id=deciding.process_id,
        parent_execution_id=parent,
        root_execution_id=root,
        depth=depth,
        error=deciding.error,
        stamp=deciding.stamp,
    )


def select_execution(spans: Sequence[Span], execution_id: str, shared_trace_ids: frozenset[str]) -> list[Span]:
    """Return the spans that belong to an execution, in the order given.

    Of a trace in `shared_trace_ids` (one that holds several executions): spans stamped with the execution and their
    descendants, down to and including, as a leaf, a span stamped with another. Of any other trace: all.
    """
    children: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        if span.trace_id in shared_trace_ids and span.parent_span_id is not None:
            children.setdefault((span.trace_id, span.parent_span_id), []).append(span)
    chosen = {id(span) for span in spans if span.trace_id not in shared_trace_ids or span.execution_id == execution_id}
    waiting = [span for span in spans if span.trace_id in shared_trace_ids and id(span) in chosen]
    while waiting:
        parent = waiting.pop()
        for child in children.get((parent.trace_id, parent.span_id), ()):
            if id(child) in chosen:
                continue
            chosen.add(id(child))
            if child.execution_id in (None, execution_id):
                waiting.append(child)
    return [span for span in spans if id(span) in chosen]


def _keep(rows: dict[tuple[str, bytes, int, int], ExecutionTraceRow], row: ExecutionTraceRow) -> None:
    held = rows.get(row.key)
    if held is None or supersedes(row, held):
        rows[row.key] = row


def _link_row(execution_id: str, span: SpanRow) -> ExecutionTraceRow:
    return ExecutionTraceRow(
        execution_id=execution_id,
        trace_id=span.trace_id,
        root_span_id=NO_ROOT,
        root_start_ns=NO_ROOT,
        start_ns=span.start_ns,
        process_id=span.process_id,
    )


def _root_row(execution_id: str, span: SpanRow) -> ExecutionTraceRow:
    return ExecutionTraceRow(
        execution_id=execution_id,
        trace_id=span.trace_id,
        root_span_id=span.span_id,
        root_start_ns=span.start_ns,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        state=ended_state(span.state, span.status, span.end_ns) or "open",
        revision=span.revision,
        process_id=span.process_id,
        error=span.status_message or None,
        stamp=span.stamp or Stamp(),
    )


def _execution_status(state: SpanState | None) -> ExecutionStatus:
    match state:
        case "failed" | "cancelled":
            return state
        case "completed" | "skipped":
            return "completed"
        case _:
            return "running"


def _family(row: ExecutionTraceRow) -> tuple[str | None, str | None, int]:
    """Return parent, root and depth: a top execution's root is itself, a child's at depth 1 its parent."""
    parent = row.stamp.parent_execution_id
    if parent is None:
        return None, row.stamp.root_execution_id or row.execution_id, row.stamp.depth or 0
    depth = row.stamp.depth or 1
    return parent, row.stamp.root_execution_id or (parent if depth == 1 else None), depth
