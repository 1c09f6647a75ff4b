"""Requests for tests, built with the official classes and as plain as can be."""

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

TRACE_ID = bytes(range(16))
SPAN_ID = b"\x80\0\0\0\0\0\0\1"
START_NS = 1_760_000_000_000_000_000


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def number(key: str, value: int) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(int_value=value))


def span(**fields: Any) -> Span:
    defaults: dict[str, Any] = {
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "name": "work",
        "start_time_unix_nano": START_NS,
        "end_time_unix_nano": START_NS + 5,
    }
    return Span(**(defaults | fields))


def traces(*spans: Span, resource: list[KeyValue] | None = None) -> bytes:
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(resource=Resource(attributes=resource or []), scope_spans=[ScopeSpans(spans=spans)])
        ]
    ).SerializeToString()


def logs(*records: LogRecord, resource: list[KeyValue] | None = None) -> bytes:
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(resource=Resource(attributes=resource or []), scope_logs=[ScopeLogs(log_records=records)])
        ]
    ).SerializeToString()


def delimited(tag: int, raw: bytes) -> bytes:
    """Return a length-delimited field by hand, for what the official classes refuse to build."""
    size = len(raw)
    length = bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((tag,)) + bytes(length) + raw


def raw_traces(*spans: bytes) -> bytes:
    """Return a request around spans that are bytes already."""
    return delimited(0x0A, delimited(0x12, b"".join(delimited(0x12, each) for each in spans)))
