"""Rows for tests: short to write, complete, and within every store's window of accepted times.

    batch(span("a"), span("b", parent="a", execution="e-1"), log("hello", execution="e-1"))

Names stand for ids: `span("a")` is always the same span of the same trace.
"""

import json
import time
from collections.abc import Iterable
from typing import Any, Final

from spane_otel.clock import SECOND
from spane_otel.derivation import inherit
from spane_otel.identity import content_log_id, log_trace_key, resource_row, scope_row, uid_log_id
from spane_otel.ids import hash16, span_id_from_bytes
from spane_otel.records import Batch, LogRow, SpanRow, Stamp

BASE_NS: Final = (time.time_ns() // SECOND - 3_600) * SECOND
"""An hour ago, a whole second: most rows start a little after it."""

RESOURCE: Final = resource_row('{"service.name":"shop"}', service="shop")
SCOPE: Final = scope_row("tests", "1.0")


def ns(seconds: float) -> int:
    """Return the time `seconds` after BASE_NS."""
    return BASE_NS + round(seconds * SECOND)


def trace_id(name: str) -> bytes:
    return hash16(b"trace", name.encode())


def span_id(name: str) -> int:
    return span_id_from_bytes(hash16(b"span", name.encode())[:8])


def span(
    name: str,
    /,
    *,
    trace: str = "t",
    parent: str | None = None,
    start: float = 0,
    end: float | None = 1,
    execution: str | None = None,
    workflow: str | None = None,
    node: str | None = None,
    **columns: Any,
) -> SpanRow:
    """Return the span `name` of the trace `trace`; times in seconds after BASE_NS, `end=None`: still open.

    `columns` are any of SpanRow's, `name` too. With `execution` it is stamped with it; with `workflow` too (or
    `stamp=Stamp(...)`) it says what its execution is.
    """
    stamp = columns.pop("stamp", None)
    if execution is not None and stamp is None:
        stamp = Stamp(workflow_id=workflow)
    values: dict[str, Any] = {
        "trace_id": trace_id(trace),
        "span_id": span_id(name),
        "start_ns": ns(start),
        "end_ns": None if end is None else ns(end),
        "name": name,
        "resource_id": RESOURCE.resource_id,
        "scope_id": SCOPE.scope_id,
        "service": RESOURCE.service,
        "parent_id": None if parent is None else span_id(parent),
        "execution_id": execution,
        "node_id": node,
        "stamp": stamp,
    }
    return SpanRow(**{**values, **columns})


def root(execution: str, *, workflow: str = "order", name: str | None = None, **values: Any) -> SpanRow:
    """Return an execution's root span, in a trace named like the execution if none is given."""
    values.setdefault("trace", execution)
    return span(name or f"root of {execution}", execution=execution, workflow=workflow, **values)


def log(
    message: Any,
    *,
    trace: str | None = None,
    at_span: str | None = None,
    at: float = 0,
    execution: str | None = None,
    uid: str | None = None,
    ordinal: int = 0,
    **columns: Any,
) -> LogRow:
    """Return a log record with `message` as its body, `at` seconds after BASE_NS."""
    values: dict[str, Any] = {
        "log_id": b"",
        "trace_key": b"",
        "time_ns": ns(at),
        "resource_id": RESOURCE.resource_id,
        "scope_id": SCOPE.scope_id,
        "service": RESOURCE.service,
        "observed_ns": ns(at),
        "severity": 9,
        "severity_text": "INFO",
        "body": json.dumps(message),
        "trace_id": None if trace is None else trace_id(trace),
        "span_id": None if at_span is None else span_id(at_span),
        "execution_id": execution,
        "uid": uid,
    }
    row = LogRow(**{**values, **columns})
    row.log_id = content_log_id(row, ordinal) if uid is None else uid_log_id(uid)
    row.trace_key = log_trace_key(row.trace_id, row.execution_id, row.log_id)
    return row


def batch(*rows: SpanRow | LogRow, heartbeats: Iterable[str] = (), inherited: bool = False) -> Batch:
    """Return a batch of `rows` with the resource and scope of this module; `inherited`: as a decoder would make it."""
    made = Batch(
        spans=[row for row in rows if isinstance(row, SpanRow)],
        logs=[row for row in rows if isinstance(row, LogRow)],
        resources={RESOURCE.resource_id: RESOURCE},
        scopes={SCOPE.scope_id: SCOPE},
        heartbeats=list(heartbeats),
    )
    if inherited:
        inherit(made)
    return made
