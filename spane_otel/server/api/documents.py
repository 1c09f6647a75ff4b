"""The JSON shapes of the API (names.md, *HTTP API*), made from records.

Times are decimal strings, because numbers beyond 2^53 are lost on most readers. Attributes, events, links and bodies
are the JSON text that the store keeps: it passes through unparsed, so integers stay exact and reading stays cheap.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from starlette.responses import Response

from spane_otel.records import Counts, Execution, Log, LogPage, Page, Resource, Scope, Span, Trace, TraceSummary

_ENCODER = msgspec.json.Encoder()


class ExecutionItem(Struct):
    """An execution in a list."""

    execution_id: str
    workflow_id: str | None
    workflow_version: int | None
    version_label: str | None
    external_id: str | None
    origin: str
    status: str
    started_ns: str
    ended_ns: str | None
    parent_execution_id: str | None
    root_execution_id: str | None
    depth: int
    error: str | None
    trace_ids: tuple[str, ...]
    abandoned_since_ns: str | None
    timeout_ns: str | None
    """When it is failed if it still runs, or is paused, then."""
    counts: Counts


class ExecutionDocument(ExecutionItem):
    """An execution on its own: its payloads too."""

    initial_data: Raw
    result: Raw
    metadata: Raw


class ResourceDocument(Struct):
    """What emitted spans or logs."""

    attributes: Raw
    schema_url: str
    dropped_attributes_count: int


class ScopeDocument(Struct):
    """The instrumentation that emitted spans or logs."""

    name: str
    version: str
    attributes: Raw
    schema_url: str
    dropped_attributes_count: int


class SpanDocument(Struct):
    """A span; `resource` and `scope` are positions in the lists beside it."""

    trace_id: str
    span_id: str
    id: str | None
    parent_span_id: str | None
    name: str
    kind: str
    start_ns: str
    end_ns: str | None
    status: str
    status_message: str
    state: str
    trace_state: str
    flags: int
    attributes: Raw
    dropped_attributes_count: int
    events: Raw
    dropped_events_count: int
    links: Raw
    dropped_links_count: int
    resource: int
    scope: int
    execution_id: str | None
    node_id: str | None
    last_seen_ns: str | None


class LogDocument(Struct):
    """A log record; `resource` and `scope` are positions in the lists beside it."""

    log_id: str
    id: str | None
    time_ns: str
    observed_ns: str
    time_source: str
    severity: int
    severity_text: str
    level: str
    body: Raw
    attributes: Raw
    event_name: str
    trace_id: str | None
    span_id: str | None
    flags: int
    dropped_attributes_count: int
    execution_id: str | None
    node_id: str | None
    resource: int
    scope: int


class TraceItemCounts(Struct):
    """A trace's numbers; `truncated`: it has more spans than are counted."""

    spans: int
    errors: int
    truncated: bool


class TraceItem(Struct):
    """A trace in a list, described by its root."""

    trace_id: str
    root_span_id: str
    name: str
    service: str
    kind: str
    status: str
    status_message: str
    state: str
    start_ns: str
    end_ns: str | None
    execution_ids: tuple[str, ...]
    counts: TraceItemCounts


def json_response(document: Any) -> Response:
    return Response(_ENCODER.encode(document), media_type="application/json")


def execution_page(page: Page[Execution], counts: Mapping[str, Counts]) -> dict[str, Any]:
    items = [ExecutionItem(**_execution_fields(each, counts.get(each.execution_id, Counts()))) for each in page]
    return {"items": items, "next": page.next}


def execution_document(execution: Execution, counts: Counts) -> ExecutionDocument:
    return ExecutionDocument(
        **_execution_fields(execution, counts),
        initial_data=payload(execution.initial_data),
        result=payload(execution.result),
        metadata=payload(execution.metadata),
    )


def trace_document(trace: Trace) -> dict[str, Any]:
    """Return a trace: of one trace id, or of an execution and its trace ids."""
    if trace.execution_id is None:
        head: dict[str, Any] = {"trace_id": trace.trace_id}
    else:
        head = {"execution_id": trace.execution_id, "trace_ids": trace.trace_ids}
    return {
        **head,
        "spans": [_span(span) for span in trace.spans],
        "resources": _resources(trace.resources),
        "scopes": _scopes(trace.scopes),
        "truncated": trace.truncated,
    }


def trace_page(page: Page[TraceSummary]) -> dict[str, Any]:
    return {"items": [_trace_item(each) for each in page], "next": page.next}


def log_page(page: LogPage) -> dict[str, Any]:
    return {
        "items": [_log(log) for log in page],
        "resources": _resources(page.resources),
        "scopes": _scopes(page.scopes),
        "next": page.next,
    }


def payload(value: Any) -> Raw:
    """Return the JSON of a payload: integers of any size exact, and what JSON can't say tagged as in attributes."""
    try:
        return Raw(json.dumps(value, separators=(",", ":"), allow_nan=False))
    except ValueError:
        return Raw(json.dumps(_tag_doubles(value), separators=(",", ":")))


def _tag_doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tag_doubles(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tag_doubles(item) for item in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return {"doubleValue": "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"}  # noqa: PLR0124 - NaN
    return value


def _execution_fields(each: Execution, counts: Counts) -> dict[str, Any]:
    return {
        "execution_id": each.execution_id,
        "workflow_id": each.workflow_id,
        "workflow_version": each.workflow_version,
        "version_label": each.version_label,
        "external_id": each.external_id,
        "origin": each.origin,
        "status": each.status,
        "started_ns": str(each.started_ns),
        "ended_ns": _time(each.ended_ns),
        "parent_execution_id": each.parent_execution_id,
        "root_execution_id": each.root_execution_id,
        "depth": each.depth,
        "error": each.error,
        "trace_ids": each.trace_ids,
        "abandoned_since_ns": _time(each.abandoned_since_ns),
        "timeout_ns": _time(each.timeout_ns),
        "counts": counts,
    }


def _time(time_ns: int | None) -> str | None:
    return None if time_ns is None else str(time_ns)


def _resources(resources: Sequence[Resource]) -> list[ResourceDocument]:
    return [
        ResourceDocument(Raw(each.attributes.text), each.schema_url, each.dropped_attributes_count)
        for each in resources
    ]


def _scopes(scopes: Sequence[Scope]) -> list[ScopeDocument]:
    return [
        ScopeDocument(
            each.name, each.version, Raw(each.attributes.text), each.schema_url, each.dropped_attributes_count
        )
        for each in scopes
    ]


def _span(span: Span) -> SpanDocument:
    return SpanDocument(
        span.trace_id,
        span.span_id,
        span.id,
        span.parent_span_id,
        span.name,
        span.kind,
        str(span.start_ns),
        _time(span.end_ns),
        span.status,
        span.status_message,
        span.state,
        span.trace_state,
        span.flags,
        Raw(span.attributes.text),
        span.dropped_attributes_count,
        Raw(span.events.text),
        span.dropped_events_count,
        Raw(span.links.text),
        span.dropped_links_count,
        span.resource,
        span.scope,
        span.execution_id,
        span.node_id,
        _time(span.last_seen_ns),
    )


def _log(log: Log) -> LogDocument:
    return LogDocument(
        log.log_id,
        log.id,
        str(log.time_ns),
        str(log.observed_ns),
        log.time_source,
        log.severity,
        log.severity_text,
        log.level,
        Raw(log.body_text),
        Raw(log.attributes.text),
        log.event_name,
        log.trace_id,
        log.span_id,
        log.flags,
        log.dropped_attributes_count,
        log.execution_id,
        log.node_id,
        log.resource,
        log.scope,
    )


def _trace_item(each: TraceSummary) -> TraceItem:
    return TraceItem(
        each.trace_id,
        each.root_span_id,
        each.name,
        each.service,
        each.kind,
        each.status,
        each.status_message,
        each.state,
        str(each.start_ns),
        _time(each.end_ns),
        each.execution_ids,
        TraceItemCounts(each.spans, each.errors, each.truncated),
    )
