"""Rows → OTLP requests in protobuf: the inverse of decode.py, for the sink that is another collector.

What the wire carries as an attribute and a row as a column goes back where it came from: the process id to the
resource, the revision to the span. Rows keep their order, since a span's place in the request is its `seq`.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from json import loads
from typing import Any, TypeVar

from spane_otel import mapping
from spane_otel.ids import span_id_to_bytes
from spane_otel.jsontext import untag
from spane_otel.otlp import wire
from spane_otel.otlp.anyvalue import write_attribute, write_value
from spane_otel.records import Batch, LogRow, ResourceRow, ScopeRow, SpanRow

Row = TypeVar("Row", SpanRow, LogRow)


def encode_traces(batch: Batch) -> bytes | None:
    """Return the spans of `batch` as an ExportTraceServiceRequest, None if there is nothing to send.

    A heartbeat whose process no span names becomes a resource without spans.
    """
    items = _resource_items(batch, batch.spans, _encode_span)
    told = {span.process_id for span in batch.spans}
    silent = [process_id for process_id in dict.fromkeys(batch.heartbeats) if process_id not in told]
    items += [_serialize(wire.ResourceItems(resource=_resource(None, process_id))) for process_id in silent]
    return _serialize(wire.Request(resource_items=items)) if items else None


def encode_logs(batch: Batch) -> bytes | None:
    """Return the log records of `batch` as an ExportLogsServiceRequest, None if there is nothing to send."""
    items = _resource_items(batch, batch.logs, _encode_log)
    return _serialize(wire.Request(resource_items=items)) if items else None


def _resource_items(batch: Batch, rows: Sequence[Row], encode: Callable[[Row], bytes]) -> list[bytes]:
    items: list[bytes] = []
    for (resource_id, process_id), group in groupby(rows, lambda row: (row.resource_id, row.process_id)):
        resource = batch.resources.get(resource_id)
        scope_items = _scope_items(batch, group, encode)
        message = wire.ResourceItems(
            resource=_resource(resource, process_id),
            scope_items=scope_items,
            schema_url=resource.schema_url.encode() if resource is not None else b"",
        )
        items.append(_serialize(message))
    return items


def _scope_items(batch: Batch, rows: Iterable[Row], encode: Callable[[Row], bytes]) -> list[bytes]:
    items: list[bytes] = []
    for scope_id, group in groupby(rows, lambda row: row.scope_id):
        scope = batch.scopes.get(scope_id)
        message = wire.ScopeItems(
            scope=_scope(scope) if scope is not None else None,
            items=[encode(row) for row in group],
            schema_url=scope.schema_url.encode() if scope is not None else b"",
        )
        items.append(_serialize(message))
    return items


def _resource(row: ResourceRow | None, process_id: str | None) -> Any:
    attributes = _attributes(row.attributes) if row is not None else []
    if process_id is not None:
        attributes.append(write_attribute(mapping.PROCESS_ID, process_id))
    return wire.Resource(
        attributes=attributes, dropped_attributes_count=_uint32(row.dropped_attributes_count) if row is not None else 0
    )


def _scope(row: ScopeRow) -> Any:
    return wire.Scope(
        name=row.name.encode(),
        version=row.version.encode(),
        attributes=_attributes(row.attributes),
        dropped_attributes_count=_uint32(row.dropped_attributes_count),
    )


def _encode_span(row: SpanRow) -> bytes:
    attributes = _attributes(row.attributes)
    if row.revision:
        attributes.append(write_attribute(mapping.SPAN_REVISION, row.revision))
    status = wire.SpanStatus(message=row.status_message.encode(), code=row.status)
    message = wire.Span(
        trace_id=row.trace_id,
        span_id=span_id_to_bytes(row.span_id),
        trace_state=row.trace_state.encode(),
        parent_span_id=b"" if row.parent_id is None else span_id_to_bytes(row.parent_id),
        name=row.name.encode(),
        kind=row.kind,
        start_time_unix_nano=row.start_ns,
        end_time_unix_nano=row.end_ns or 0,
        attributes=attributes,
        dropped_attributes_count=_uint32(row.dropped_attributes_count),
        events=[] if row.events is None else [_event(event) for event in loads(row.events)],
        dropped_events_count=_uint32(row.dropped_events_count),
        links=[] if row.links is None else [_link(link) for link in loads(row.links)],
        dropped_links_count=_uint32(row.dropped_links_count),
        status=_serialize(status),
        flags=row.flags,
    )
    return _serialize(message)


def _event(event: dict[str, Any]) -> bytes:
    message = wire.Event(
        time_unix_nano=int(event["time_ns"]),
        name=event["name"].encode(),
        attributes=_written(event["attributes"]),
        dropped_attributes_count=_uint32(event["dropped_attributes_count"]),
    )
    return _serialize(message)


def _link(link: dict[str, Any]) -> bytes:
    message = wire.Link(
        trace_id=bytes.fromhex(link["trace_id"]),
        span_id=bytes.fromhex(link["span_id"]),
        trace_state=link["trace_state"].encode(),
        attributes=_written(link["attributes"]),
        dropped_attributes_count=_uint32(link["dropped_attributes_count"]),
        flags=link["flags"],
    )
    return _serialize(message)


def _encode_log(row: LogRow) -> bytes:
    values = loads(row.attributes)
    if row.uid is not None:
        values.setdefault(mapping.LOG_RECORD_UID, row.uid)
    message = wire.LogRecord(
        time_unix_nano=row.time_ns if row.time_source == 0 else 0,
        observed_time_unix_nano=row.observed_ns,
        severity_number=row.severity,
        severity_text=row.severity_text.encode(),
        body=write_value(untag(loads(row.body))),
        attributes=_written(values),
        dropped_attributes_count=_uint32(row.dropped_attributes_count),
        flags=row.flags,
        trace_id=row.trace_id or b"",
        span_id=b"" if row.span_id is None else span_id_to_bytes(row.span_id),
        event_name=row.event_name.encode(),
    )
    return _serialize(message)


def _attributes(text: str) -> list[bytes]:
    return _written(loads(text))


def _written(values: dict[str, Any]) -> list[bytes]:
    return [write_attribute(key, untag(value)) for key, value in values.items()]


def _uint32(count: int) -> int:
    """Return a count as the wire can carry it: what was dropped here comes on top of what was dropped before."""
    return min(count, 0xFFFF_FFFF)


def _serialize(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw
