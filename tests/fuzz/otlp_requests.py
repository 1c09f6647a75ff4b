"""Strategies for OTLP requests: valid ones, built with the official classes, and nearly valid ones."""

from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

UINT32 = st.integers(0, 2**32 - 1) | st.just(0)
COUNTS = st.integers(0, 2**31) | st.just(0)
TIMES = st.integers(1, 2**63 - 1) | st.integers(1_700_000_000_000_000_000, 1_900_000_000_000_000_000)
TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
KEYS = TEXT | st.sampled_from(
    [
        *("spane.execution.id", "spane.workflow.id", "spane.node.id", "spane.state", "spane.input", "spane.output"),
        *("spane.span.revision", "spane.process.id", "service.name", "log.record.uid", "__proto__", "a.b", "a"),
        *("bytesValue", "doubleValue", "kvlistValue"),
    ]
)
TRACE_IDS = st.binary(min_size=16, max_size=16).filter(any) | st.just(b"\1" * 16)
SPAN_IDS = st.binary(min_size=8, max_size=8).filter(any) | st.sampled_from([b"\0" * 7 + b"\1", b"\xff" * 8])

SCALARS: st.SearchStrategy[AnyValue] = st.one_of(
    st.builds(AnyValue),
    st.builds(AnyValue, string_value=TEXT),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=8)),
)


def _containers(values: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    pairs = st.lists(st.builds(KeyValue, key=KEYS, value=values), max_size=3)
    return st.builds(AnyValue, array_value=st.builds(ArrayValue, values=st.lists(values, max_size=3))) | st.builds(
        AnyValue, kvlist_value=st.builds(KeyValueList, values=pairs)
    )


VALUES: st.SearchStrategy[AnyValue] = st.recursive(SCALARS, _containers, max_leaves=6)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=KEYS, value=VALUES), max_size=5)
RESOURCES = st.builds(Resource, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS)
SCOPES = st.builds(
    InstrumentationScope, name=TEXT, version=TEXT, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS
)
EVENTS = st.builds(
    Span.Event,
    time_unix_nano=st.integers(0, 2**64 - 1),
    name=TEXT,
    attributes=ATTRIBUTES,
    dropped_attributes_count=COUNTS,
)
LINKS = st.builds(
    Span.Link,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    trace_state=TEXT,
    attributes=ATTRIBUTES,
    dropped_attributes_count=COUNTS,
    flags=UINT32,
)
SPANS = st.builds(
    Span,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    trace_state=TEXT,
    parent_span_id=SPAN_IDS | st.just(b""),
    flags=UINT32,
    name=TEXT,
    kind=st.integers(0, 5),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES | st.just(0),
    attributes=ATTRIBUTES,
    dropped_attributes_count=COUNTS,
    events=st.lists(EVENTS, max_size=2),
    dropped_events_count=COUNTS,
    links=st.lists(LINKS, max_size=2),
    dropped_links_count=COUNTS,
    status=st.builds(Status, message=TEXT, code=st.integers(0, 2)),
)
LOG_RECORDS = st.builds(
    LogRecord,
    time_unix_nano=TIMES | st.just(0),
    observed_time_unix_nano=TIMES | st.just(0),
    severity_number=st.integers(0, 24),
    severity_text=TEXT,
    body=VALUES,
    attributes=ATTRIBUTES,
    dropped_attributes_count=COUNTS,
    flags=UINT32,
    trace_id=TRACE_IDS | st.just(b""),
    span_id=SPAN_IDS | st.just(b""),
    event_name=TEXT,
)
TRACE_REQUESTS = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=RESOURCES,
            scope_spans=st.lists(
                st.builds(ScopeSpans, scope=SCOPES, spans=st.lists(SPANS, max_size=3), schema_url=TEXT), max_size=2
            ),
            schema_url=TEXT,
        ),
        max_size=3,
    ),
)
LOG_REQUESTS = st.builds(
    ExportLogsServiceRequest,
    resource_logs=st.lists(
        st.builds(
            ResourceLogs,
            resource=RESOURCES,
            scope_logs=st.lists(
                st.builds(ScopeLogs, scope=SCOPES, log_records=st.lists(LOG_RECORDS, max_size=3), schema_url=TEXT),
                max_size=2,
            ),
            schema_url=TEXT,
        ),
        max_size=3,
    ),
)


@st.composite
def any_otlp(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a request of either signal: valid, damaged, or cut off."""
    request: Any = draw(TRACE_REQUESTS | LOG_REQUESTS)
    raw = bytearray(request.SerializeToString())
    for _ in range(draw(st.integers(0, 4))):
        if not raw:
            break
        position = draw(st.integers(0, len(raw) - 1))
        damage = draw(st.sampled_from(["byte", "bytes", "cut", "insert", "nul", "invalid UTF-8"]))
        if damage == "byte":
            raw[position] = draw(st.integers(0, 255))
        elif damage == "bytes":
            piece = draw(st.binary(max_size=8))
            raw[position : position + len(piece)] = piece
        elif damage == "insert":
            raw[position:position] = draw(st.binary(max_size=8))
        elif damage == "cut":
            del raw[position:]
        else:
            raw[position] = 0 if damage == "nul" else 0xFF
    return bytes(raw)
