"""Rows back onto the wire, as the official classes read them."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spane_otel.identity import resource_row, scope_row, uid_log_id
from spane_otel.otlp.decode import decode_logs, decode_traces
from spane_otel.otlp.encode import encode_logs, encode_traces
from spane_otel.records import Batch, LogRow, SpanRow
from tests.unit.otlp.requests import START_NS, TRACE_ID

RESOURCE = resource_row('{"service.name":"shop"}', service="shop")
SCOPE = scope_row("scope")
OTHER_SCOPE = scope_row("other")


def span_row(span_id: int, **fields: object) -> SpanRow:
    row = SpanRow(TRACE_ID, span_id, START_NS, None, "work", RESOURCE.resource_id, SCOPE.scope_id, "shop")
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def batch_of(*spans: SpanRow, heartbeats: tuple[str, ...] = ()) -> Batch:
    return Batch(
        spans=list(spans),
        resources={RESOURCE.resource_id: RESOURCE},
        scopes={row.scope_id: row for row in (SCOPE, OTHER_SCOPE)},
        heartbeats=list(heartbeats),
    )


def test_nothing_to_send_is_none() -> None:
    assert encode_traces(Batch()) is None
    assert encode_logs(Batch(heartbeats=["p"])) is None


def test_a_heartbeat_alone_is_an_empty_resource() -> None:
    raw = encode_traces(Batch(heartbeats=["p1", "p2", "p1"]))
    assert raw is not None
    decoded = decode_traces(raw, now_ns=1)
    assert decoded.batch == Batch(heartbeats=["p1", "p2"])


def test_columns_go_back_to_attributes() -> None:
    """The process id belongs to the resource, the revision to the span."""
    raw = encode_traces(batch_of(span_row(1, process_id="p1", revision=3, end_ns=None), heartbeats=("p1",)))
    assert raw is not None
    (resource,) = ExportTraceServiceRequest.FromString(raw).resource_spans
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {
        "service.name": "shop",
        "spane.process.id": "p1",
    }
    (span,) = resource.scope_spans[0].spans
    assert [(pair.key, pair.value.int_value) for pair in span.attributes] == [("spane.span.revision", 3)]
    assert span.end_time_unix_nano == 0


def test_spans_keep_their_order_across_scopes() -> None:
    """A span's place in the request is what orders equal starts."""
    rows = [span_row(1), span_row(2, scope_id=OTHER_SCOPE.scope_id), span_row(3)]
    raw = encode_traces(batch_of(*rows))
    assert raw is not None
    decoded = decode_traces(raw, now_ns=1)
    assert [(row.span_id, row.seq) for row in decoded.batch.spans] == [(1, 0), (2, 1), (3, 2)]


def test_counts_beyond_the_wire_are_the_most_it_carries() -> None:
    """What was dropped on the way adds up; a uint32 ends."""
    raw = encode_traces(batch_of(span_row(1, dropped_attributes_count=2**32 + 5)))
    assert raw is not None
    assert decode_traces(raw, now_ns=1).batch.spans[0].dropped_attributes_count == 2**32 - 1


def test_a_uid_always_travels() -> None:
    """Also where the row's attributes do not repeat it."""
    row = LogRow(uid_log_id("u"), TRACE_ID, START_NS, RESOURCE.resource_id, SCOPE.scope_id, "shop", uid="u", body='"b"')
    raw = encode_logs(Batch(logs=[row], resources={RESOURCE.resource_id: RESOURCE}, scopes={SCOPE.scope_id: SCOPE}))
    assert raw is not None
    (resource,) = ExportLogsServiceRequest.FromString(raw).resource_logs
    (pair,) = resource.scope_logs[0].log_records[0].attributes
    assert (pair.key, pair.value.string_value) == ("log.record.uid", "u")
    assert decode_logs(raw, now_ns=1).batch.logs[0].log_id == row.log_id
