"""*What went wrong* and *Abandoned*: the boxes that a page shows before any click."""

import re
from typing import Final

from msgspec import Struct

from spane_otel.records import Log, Span
from spane_otel.server.ui.reading import View
from spane_otel.traces.origin import Frame, failed_leaves
from spane_otel.traces.rows import Row
from spane_otel.traces.services import service_name
from spane_otel.traces.wording import counted, offset

_TYPED: Final = re.compile(r"(?P<type>[A-Za-z_][\w.]{0,120}(?:Error|Exception|Exit|Interrupt|Warning|Group))(?:: |$)")


class ErrorText(Struct, frozen=True):
    """An error's type, empty if its text does not begin with one, and its message."""

    type: str
    message: str


class Wrong(Struct, frozen=True):
    """What went wrong."""

    error: ErrorText
    place: str = ""
    """Which of how many errors, and when."""
    path: tuple[Row, ...] = ()
    frame: Frame | None = None
    key: str | None = None
    """The row of the span."""
    has_stack: bool = False


class Abandoned(Struct, frozen=True):
    """A part whose process is gone."""

    row: Row
    span: Span
    service: str
    process: str
    """What the resource says of the process: `pid 4127 on atlas`, or nothing."""
    others: int
    last_log: Log | None


def split_error(text: str | None) -> ErrorText | None:
    """Return the parts of `SyntaxError: invalid syntax`; None for no error."""
    if not text:
        return None
    match = _TYPED.match(text)
    if match is None:
        return ErrorText("", text)
    return ErrorText(match["type"], text[match.end() :])


def find_wrong(view: View) -> Wrong | None:
    """Return what went wrong; None where nothing did, or all of it was recovered.

    An execution that did not fail has nothing to explain, nor has a trace of executions whose roots did not; a trace
    that no execution owns has if any span failed.
    """
    execution = view.execution
    if execution is not None and execution.status != "failed":
        return None
    if execution is None and _is_owned_and_well(view):
        return None
    origin = view.origin
    if origin is None:
        error = split_error(execution.error) if execution is not None else None
        return Wrong(error or ErrorText("", "The execution says only that it failed.")) if execution else None
    span = view.tree.rows[origin.row].span
    failure = origin.failure
    error = ErrorText(failure.type, failure.message)
    if not failure.type and not failure.message:
        error = ErrorText("", f"{span.name if span else 'A span'} failed without a message.")
    rows = view.timeline.rows
    path = origin.path[1:] if len(origin.path) > 1 else origin.path
    when = offset(origin.time_ns - int(view.timeline.base_ns), view.timeline.length)
    nth = f"first of {counted(origin.failures, 'failure')} · " if origin.failures > 1 else ""
    return Wrong(
        error=error,
        place=f"{nth}{when}",
        path=tuple(rows[index] for index in path),
        frame=origin.frame,
        key=rows[origin.row].key,
        has_stack=bool(failure.stack),
    )


def _is_owned_and_well(view: View) -> bool:
    """Whether executions own this trace and nothing failed at its top: what failed inside was recovered."""
    spans = [row.span for row in view.tree.rows if row.span is not None]
    tops = [row.span for row in view.tree.rows if row.span is not None and row.depth == 0]
    return any(span.execution_id for span in spans) and all(span.state != "failed" for span in tops)


def find_abandoned(view: View) -> Abandoned | None:
    """Return the innermost abandoned part that was heard of last; None if nothing is abandoned."""
    found = [
        (row.span.last_seen_ns or 0, row.depth, index)
        for index, row in enumerate(view.tree.rows)
        if row.span is not None and row.span.state == "abandoned"
    ]
    if not found:
        return None
    _, _, index = max(found)
    span = view.tree.rows[index].span
    if span is None:
        return None
    inside = {(span.trace_id, span.span_id)}
    logs = [log for log in view.logs if (log.trace_id, log.span_id) in inside]
    return Abandoned(
        row=view.timeline.rows[index],
        span=span,
        service=service_name(view.trace.resources, span.resource),
        process=_describe_process(view, span),
        others=len(found) - 1,
        last_log=logs[-1] if logs else None,
    )


def _describe_process(view: View, span: Span) -> str:
    if span.resource >= len(view.trace.resources):
        return ""
    attributes = view.trace.resources[span.resource].attributes
    pid, host = attributes.get("process.pid"), attributes.get("host.name")
    parts = [f"pid {pid}" if isinstance(pid, int) else "", f"on {host}" if isinstance(host, str) else ""]
    return " ".join(part for part in parts if part)


def explain_missing_result(view: View) -> str:
    """Return why an execution has no result."""
    execution = view.execution
    if execution is not None and execution.abandoned_since_ns is not None:
        return "No result: its process is silent."
    if execution is None or execution.status in ("running", "paused"):
        return "None yet: the execution is running."
    match execution.status:
        case "failed":
            return "No result: the execution failed first."
        case "cancelled":
            return "No result: the execution was cancelled first."
        case _:
            return "None recorded."


def failed_keys(view: View) -> list[str]:
    """Return the rows in which a failure began, in the order of the tree."""
    return [view.timeline.rows[index].key for index in failed_leaves(view.tree)]


def measure(view: View) -> dict[str, int | bool | None]:
    """Return when it started and how long it took: None while it runs, a lower bound where its process is gone."""
    execution = view.execution
    if execution is None:
        started_ns = int(view.timeline.base_ns)
        return {
            "started_ns": started_ns,
            "duration_ns": None if view.timeline.live else view.timeline.length,
            "at_least": False,
        }
    end_ns = execution.ended_ns if execution.ended_ns is not None else execution.abandoned_since_ns
    return {
        "started_ns": execution.started_ns,
        "duration_ns": None if end_ns is None else max(end_ns - execution.started_ns, 0),
        "at_least": execution.ended_ns is None,
    }
