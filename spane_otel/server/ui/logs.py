"""The Logs tab: records, span events among them, and the silences between."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from spane_otel.clock import SECOND
from spane_otel.records import Log
from spane_otel.server.ui.attributes import Attribute, read_items, show_attributes, show_values
from spane_otel.server.ui.reading import View
from spane_otel.traces.marks import mark_kind
from spane_otel.traces.services import service_name
from spane_otel.traces.tree import SpanKey

GAP_SECONDS: Final = 1
GAP_SHARE: Final = 5
"""A silence is shown where it is longer than a second and than a fifth of the whole."""

_LEVELS: Final = {"warn": "Warning", "unspecified": "Unspecified"}


class LogLine(Struct, frozen=True):
    """A record, or a span event, in the order of time."""

    key: str
    kind: str
    """error, warning, info, debug or event."""
    level: str
    time_ns: int
    at_ns: int
    """Since the beginning of the axis."""
    text: str
    source: str
    service: str
    service_index: int | None
    span_key: str | None
    attributes: list[Attribute]
    event_name: str = ""
    gap_ns: int | None = None
    """The silence before it, if it is worth a line."""


def make_lines(view: View, *, with_events: bool) -> list[LogLine]:
    """Return the lines; `with_events` where all records are at hand, since events have no pages of their own."""
    base_ns = int(view.timeline.base_ns)
    places = _places(view)
    lines = [_line(log, view, places, base_ns) for log in view.logs]
    if with_events:
        lines.extend(_event_lines(view, places, base_ns))
        lines.sort(key=lambda line: line.time_ns)
    return _mark_gaps(lines, view.timeline.length)


def count_kinds(lines: list[LogLine]) -> list[tuple[str, str, int]]:
    """Return kind, word and count of what there is, the gravest first."""
    words = (("error", "Error"), ("warning", "Warning"), ("info", "Info"), ("debug", "Debug"), ("event", "Span events"))
    counts = {kind: sum(line.kind == kind for line in lines) for kind, _ in words}
    return [(kind, word, counts[kind]) for kind, word in words if counts[kind]]


class _Place(Struct, frozen=True):
    source: str
    service: str
    service_index: int
    key: str


def _places(view: View) -> dict[SpanKey, _Place]:
    """Return where each span stands: its node and its own name."""
    places: dict[SpanKey, _Place] = {}
    for row, tree_row in zip(view.timeline.rows, view.tree.rows, strict=True):
        span = tree_row.span
        if span is None:
            continue
        source = row.name
        if row.kind == "span" and span.node_id:
            source = f"{span.node_id} › {row.name}"  # noqa: RUF001 - the sign that the design uses for a path
        elif any(tag.startswith("attempt") for tag in row.tags):
            source = f"{row.name}, {next(tag for tag in row.tags if tag.startswith('attempt'))}"
        service = service_name(view.trace.resources, span.resource)
        places.setdefault((span.trace_id, span.span_id), _Place(source, service, row.service % 8 + 1, row.key))
    return places


def _line(log: Log, view: View, places: dict[SpanKey, _Place], base_ns: int) -> LogLine:
    place = places.get((log.trace_id or "", log.span_id or ""))
    level = log.severity_text if log.level == "unspecified" else _LEVELS.get(log.level, log.level.capitalize())
    return LogLine(
        key=log.log_id,
        kind=mark_kind(log),
        level=level or "Unspecified",
        time_ns=log.time_ns,
        at_ns=log.time_ns - base_ns,
        text=log.message,
        source=place.source if place else log.node_id or "",
        service=place.service if place else service_name(view.logs.resources, log.resource),
        service_index=place.service_index if place else None,
        span_key=place.key if place else None,
        attributes=show_attributes(log.attributes),
        event_name=log.event_name,
    )


def _event_lines(view: View, places: dict[SpanKey, _Place], base_ns: int) -> list[LogLine]:
    lines: list[LogLine] = []
    for tree_row in view.tree.rows:
        span = tree_row.span
        if span is None or span.events.text == "[]":
            continue
        place = places[span.trace_id, span.span_id]
        for number, event in enumerate(read_items(span.events)):
            time_ns = int(event.get("time_ns") or 0) or span.start_ns
            lines.append(
                LogLine(
                    key=f"{place.key}-{number}",
                    kind="event",
                    level="Event",
                    time_ns=time_ns,
                    at_ns=time_ns - base_ns,
                    text=_event_text(event.get("name", ""), event.get("attributes", {})),
                    source=place.source,
                    service=place.service,
                    service_index=place.service_index,
                    span_key=place.key,
                    attributes=show_values(event.get("attributes", {})),
                )
            )
    return lines


def _event_text(name: str, attributes: dict[str, object]) -> str:
    if name != "exception":
        return name
    parts = [str(attributes.get(key) or "") for key in ("exception.type", "exception.message")]
    return f"exception: {': '.join(part for part in parts if part)}"


def _mark_gaps(lines: list[LogLine], length: int) -> list[LogLine]:
    least = max(GAP_SECONDS * SECOND, length // GAP_SHARE)
    marked: list[LogLine] = []
    for number, line in enumerate(lines):
        gap = line.time_ns - lines[number - 1].time_ns if number else 0
        marked.append(replace(line, gap_ns=gap) if gap > least else line)
    return marked
