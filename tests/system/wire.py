"""What the HTTP API must show for an OTLP request: an independent reading by OpenTelemetry's own classes."""

import base64
import math
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")
LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


def value_of(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "double_value" if not math.isfinite(value.double_value):
            return {"doubleValue": str(value.double_value).replace("inf", "Infinity").replace("nan", "NaN")}
        case "bytes_value":
            return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
        case "array_value":
            return [value_of(item) for item in value.array_value.values]
        case "kvlist_value":
            return attributes_of(value.kvlist_value.values)
        case kind:
            return getattr(value, kind)


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in pairs}


def resource_of(resource: Resource, schema_url: str) -> dict[str, Any]:
    return {
        "attributes": attributes_of(resource.attributes),
        "schema_url": schema_url,
        "dropped_attributes_count": resource.dropped_attributes_count,
    }


def scope_of(scope: InstrumentationScope, schema_url: str) -> dict[str, Any]:
    return {
        "name": scope.name,
        "version": scope.version,
        "attributes": attributes_of(scope.attributes),
        "schema_url": schema_url,
        "dropped_attributes_count": scope.dropped_attributes_count,
    }


def span_of(span: Span) -> dict[str, Any]:
    status = STATUSES[span.status.code]
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "id": None,
        "parent_span_id": span.parent_span_id.hex() or None,
        "name": span.name,
        "kind": KINDS[span.kind],
        "start_ns": str(span.start_time_unix_nano),
        "end_ns": str(span.end_time_unix_nano) if span.end_time_unix_nano else None,
        "status": status,
        "status_message": span.status.message,
        "state": "failed" if status == "error" else "completed" if span.end_time_unix_nano else "open",
        "trace_state": span.trace_state,
        "flags": span.flags,
        "attributes": attributes_of(span.attributes),
        "dropped_attributes_count": span.dropped_attributes_count,
        "events": [
            {
                "name": event.name,
                "time_ns": str(event.time_unix_nano),
                "attributes": attributes_of(event.attributes),
                "dropped_attributes_count": event.dropped_attributes_count,
            }
            for event in span.events
        ],
        "dropped_events_count": span.dropped_events_count,
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "trace_state": link.trace_state,
                "flags": link.flags,
                "attributes": attributes_of(link.attributes),
                "dropped_attributes_count": link.dropped_attributes_count,
            }
            for link in span.links
        ],
        "dropped_links_count": span.dropped_links_count,
        "execution_id": None,
        "node_id": None,
    }


def log_of(record: LogRecord) -> dict[str, Any]:
    severity = int(record.severity_number)
    return {
        "time_ns": str(record.time_unix_nano or record.observed_time_unix_nano),
        "observed_ns": str(record.observed_time_unix_nano),
        "severity": severity,
        "severity_text": record.severity_text,
        "level": LEVELS[(severity - 1) // 4] if severity else "unspecified",
        "body": value_of(record.body),
        "attributes": attributes_of(record.attributes),
        "event_name": record.event_name,
        "trace_id": record.trace_id.hex() or None,
        "span_id": record.span_id.hex() or None,
        "flags": record.flags,
        "dropped_attributes_count": record.dropped_attributes_count,
        "execution_id": None,
        "node_id": None,
    }


def spans_of(bodies: Iterable[bytes]) -> dict[str, dict[str, Any]]:
    """Return every span by its id, with its resource and scope in place of indexes."""
    found = {}
    for body in bodies:
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = resource_of(resource_spans.resource, resource_spans.schema_url)
            for scope_spans in resource_spans.scope_spans:
                scope = scope_of(scope_spans.scope, scope_spans.schema_url)
                for span in scope_spans.spans:
                    found[span.span_id.hex()] = {**span_of(span), "resource": resource, "scope": scope}
    return found


def logs_of(bodies: Iterable[bytes]) -> list[dict[str, Any]]:
    """Return every log record, in the order of their time, with its resource and scope in place of indexes."""
    found = []
    for body in bodies:
        for resource_logs in ExportLogsServiceRequest.FromString(body).resource_logs:
            resource = resource_of(resource_logs.resource, resource_logs.schema_url)
            for scope_logs in resource_logs.scope_logs:
                scope = scope_of(scope_logs.scope, scope_logs.schema_url)
                found += [{**log_of(record), "resource": resource, "scope": scope} for record in scope_logs.log_records]
    return sorted(found, key=lambda record: int(record["time_ns"]))
