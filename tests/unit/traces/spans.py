"""Spans for these tests: short to write, in one trace."""

import json
from typing import Any

from spane_otel.jsontext import JsonList, JsonMap
from spane_otel.records import Span
from spane_otel.traces.tree import Tree


def span(name: str, parent: str | None = None, start: int = 0, end: int | None = 100, **columns: Any) -> Span:
    """Return the span `name`: its id is its name, its attributes and events may be given as plain values."""
    attributes = JsonMap(json.dumps(columns.pop("attributes", {})))
    events = JsonList(json.dumps(columns.pop("events", [])))
    values: dict[str, Any] = {"trace_id": "t", "span_id": name, "name": name, **columns}
    return Span(parent_span_id=parent, start_ns=start, end_ns=end, attributes=attributes, events=events, **values)


def failed(name: str, parent: str | None = None, start: int = 0, end: int | None = 100, **columns: Any) -> Span:
    """Return a span that failed."""
    return span(name, parent, start, end, status="error", state="failed", **columns)


def exception(at: int, kind: str, message: str, stack: str = "") -> dict[str, Any]:
    """Return an exception event."""
    details = {"exception.type": kind, "exception.message": message, "exception.stacktrace": stack}
    return {"name": "exception", "time_ns": str(at), "attributes": details}


def drawn(tree: Tree) -> list[str]:
    """Return the tree as lines, indented by depth: `?` a placeholder, `!` a broken cycle, `=` a duplicate id."""
    lines = []
    for row in tree.rows:
        name = row.span.name if row.span else f"?{row.missing_id[1] if row.missing_id else ''}"
        lines.append("  " * row.depth + name + ("!" if row.cycle else "") + ("=" if row.duplicate_id else ""))
    return lines
