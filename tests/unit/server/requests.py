"""OTLP requests for tests, made with OpenTelemetry's own messages."""

from typing import Final

from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it ships no types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from spane_otel.ids import span_id_to_bytes
from tests.rows import ns, span_id, trace_id

PROTOBUF: Final = {"content-type": "application/x-protobuf"}


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def span_message(name: str, *, trace: str = "t", raw_trace_id: bytes | None = None) -> Span:
    return Span(
        trace_id=trace_id(trace) if raw_trace_id is None else raw_trace_id,
        span_id=span_id_to_bytes(span_id(name)),
        name=name,
        start_time_unix_nano=ns(0),
        end_time_unix_nano=ns(1),
    )


def traces_request(*spans: Span) -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(text("service.name", "shop"))
    resource_spans.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def logs_request(*messages: str) -> bytes:
    request = ExportLogsServiceRequest()
    scope_logs = request.resource_logs.add().scope_logs.add()
    for message in messages:
        scope_logs.log_records.append(LogRecord(time_unix_nano=ns(0), body=AnyValue(string_value=message)))
    return request.SerializeToString()


def status_of(body: bytes) -> Status:
    return Status.FromString(body)
