"""The detail panel: everything that is known of one span."""

from typing import Any, Final

from msgspec import Struct

from spane_otel.records import Log, Resource, Scope, Span
from spane_otel.server.ui.attributes import Attribute, read_items, show_attributes, show_values
from spane_otel.server.ui.reading import View
from spane_otel.traces.origin import Failure, Frame, is_failed, own_frame, read_failure, read_stack
from spane_otel.traces.rows import Row
from spane_otel.traces.services import service_name
from spane_otel.traces.tree import SpanKey

LOGS_SHOWN: Final = 50


class Event(Struct, frozen=True):
    """A span event."""

    name: str
    time_ns: int
    attributes: list[Attribute]
    dropped_attributes_count: int


class Link(Struct, frozen=True):
    """A link to another span."""

    trace_id: str
    span_id: str
    here: str | None
    """The key of its row, if it is on this page."""
    name: str
    attributes: list[Attribute]
    trace_state: str
    dropped_attributes_count: int


class FrameGroup(Struct, frozen=True):
    """Frames of a stack that follow each other and are all the user's, or all a library's."""

    is_library: bool
    frames: list[Frame]


class Panel(Struct, frozen=True):
    """What the panel shows."""

    row: Row
    span: Span
    tag: str
    service: str
    service_index: int
    self_ns: int | None
    """Its duration without that of its children, where none of them overlap its own work."""
    failure: Failure | None
    stack: list[FrameGroup]
    own: Frame | None
    attributes: list[Attribute]
    events: list[Event]
    logs: list[Log]
    more_logs: int
    links_out: list[Link]
    links_in: list[Link]
    resource: Resource | None
    resource_attributes: list[Attribute]
    scope: Scope | None
    scope_attributes: list[Attribute]


def make_panel(view: View, index: int) -> Panel | None:
    """Return the panel of a row; None for a placeholder."""
    span = view.tree.rows[index].span
    if span is None:
        return None
    row = view.timeline.rows[index]
    failure = read_failure(span) if is_failed(span) or '"exception' in span.events.text else None
    if failure is not None and not (failure.type or failure.message or failure.stack):
        failure = None
    frames = read_stack(failure.stack) if failure else []
    own = own_frame(frames)
    logs = _logs_of(view, index)
    resources, scopes = view.trace.resources, view.trace.scopes
    resource = resources[span.resource] if span.resource < len(resources) else None
    rows = _rows_by_id(view) if span.links.text != "[]" else {}
    scope = scopes[span.scope] if span.scope < len(scopes) else None
    return Panel(
        row=row,
        span=span,
        tag=_tag(row, span),
        service=service_name(resources, span.resource),
        service_index=row.service % 8 + 1,
        self_ns=_self_time(view, index),
        failure=failure,
        stack=_group_frames(frames, own),
        own=own,
        attributes=show_attributes(span.attributes),
        events=[_event(each) for each in read_items(span.events)],
        logs=logs[:LOGS_SHOWN],
        more_logs=max(len(logs) - LOGS_SHOWN, 0),
        links_out=[_link(rows, each) for each in read_items(span.links)],
        links_in=_incoming(view, span),
        resource=resource,
        resource_attributes=show_attributes(resource.attributes) if resource else [],
        scope=scope,
        scope_attributes=show_attributes(scope.attributes) if scope else [],
    )


def _tag(row: Row, span: Span) -> str:
    attempts = [tag for tag in row.tags if tag.startswith(("attempt", "iteration"))]
    if attempts:
        return attempts[-1]
    if row.kind == "span":
        return span.kind
    return "sub-execution" if row.sub else row.kind


def _self_time(view: View, index: int) -> int | None:
    """Return the time in which no child ran; None while the span is open."""
    span = view.tree.rows[index].span
    if span is None or span.end_ns is None:
        return None
    covered, reached = 0, span.start_ns
    for below in range(index + 1, index + 1 + view.tree.rows[index].descendants):
        if view.tree.rows[below].parent != index:
            continue
        child = view.tree.rows[below].span
        if child is None:
            continue
        start = max(child.start_ns, reached)
        end = min(child.end_ns if child.end_ns is not None else span.end_ns, span.end_ns)
        if end > start:
            covered += end - start
            reached = end
    return max(span.end_ns - span.start_ns - covered, 0)


def _group_frames(frames: list[Frame], own: Frame | None) -> list[FrameGroup]:
    groups: list[FrameGroup] = []
    for frame in frames:
        is_library = frame.is_library and own is not None  # with no frame of the user's, none is folded away
        if groups and groups[-1].is_library == is_library:
            groups[-1].frames.append(frame)
        else:
            groups.append(FrameGroup(is_library, [frame]))
    return groups


def _event(event: dict[str, Any]) -> Event:
    return Event(
        name=event.get("name", ""),
        time_ns=int(event.get("time_ns") or 0),
        attributes=show_values(event.get("attributes", {})),
        dropped_attributes_count=event.get("dropped_attributes_count", 0),
    )


def _link(rows: dict[SpanKey, Row], link: dict[str, Any]) -> Link:
    trace_id, span_id = link.get("trace_id", ""), link.get("span_id", "")
    row = rows.get((trace_id, span_id))
    return Link(
        trace_id=trace_id,
        span_id=span_id,
        here=row.key if row else None,
        name=row.name if row else "",
        attributes=show_values(link.get("attributes", {})),
        trace_state=link.get("trace_state", ""),
        dropped_attributes_count=link.get("dropped_attributes_count", 0),
    )


def _rows_by_id(view: View) -> dict[SpanKey, Row]:
    """Return the row of each span; of several with one id, the first."""
    found: dict[SpanKey, Row] = {}
    for row, tree_row in zip(view.timeline.rows, view.tree.rows, strict=True):
        if tree_row.span is not None:
            found.setdefault((tree_row.span.trace_id, tree_row.span.span_id), row)
    return found


def _incoming(view: View, target: Span) -> list[Link]:
    """Return the links of other spans on this page that point to `target`."""
    found: list[Link] = []
    for row, tree_row in zip(view.timeline.rows, view.tree.rows, strict=True):
        span = tree_row.span
        if span is None or target.span_id not in span.links.text:
            continue
        for link in span.links:
            if link.get("span_id") == target.span_id and link.get("trace_id") == target.trace_id:
                found.append(Link(span.trace_id, span.span_id, row.key, row.name, [], "", 0))
                break
    return found


def _logs_of(view: View, index: int) -> list[Log]:
    """Return the logs of a span and of all below it, as far as they were read."""
    ids = set()
    for below in range(index, index + 1 + view.tree.rows[index].descendants):
        span = view.tree.rows[below].span
        if span is not None:
            ids.add((span.trace_id, span.span_id))
    return [log for log in view.logs if (log.trace_id, log.span_id) in ids]
