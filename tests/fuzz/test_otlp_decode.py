"""Whatever arrives, decoding answers with rows that can be stored, or refuses; and loses nothing of a valid request."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from spane_otel import mapping
from spane_otel.errors import DecodeError
from spane_otel.ids import span_id_to_bytes
from spane_otel.jsontext import JsonMap, untag
from spane_otel.otlp.decode import Decoded, decode_logs, decode_traces
from spane_otel.otlp.encode import encode_logs, encode_traces
from spane_otel.records import Batch
from tests.fuzz.otlp_requests import LOG_REQUESTS, TRACE_REQUESTS, any_otlp

NOW_NS = 1_790_000_000_000_000_000
FUZZ = settings(
    max_examples=80,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@FUZZ
@given(any_otlp() | st.binary(max_size=200))
def test_any_bytes_give_storable_rows_or_a_refusal(body: bytes) -> None:
    """Nothing but DecodeError and its kind is ever raised, and what is accepted is storable to the last text."""
    for decode in (decode_traces, decode_logs):
        try:
            decoded = decode(body, now_ns=NOW_NS)
        except DecodeError:
            continue
        assert decoded.accepted == len(decoded.batch.spans) + len(decoded.batch.logs)
        assert_storable(decoded.batch)


def assert_storable(batch: Batch) -> None:
    for row in batch.spans:
        assert_texts(row.name, row.status_message, row.trace_state, row.service, row.execution_id, row.node_id)
        assert_json(row.attributes, row.events, row.links)
        assert 0 <= row.start_ns < 2**63
        assert row.end_ns is None or 0 < row.end_ns < 2**63
        assert row.resource_id in batch.resources
        assert row.scope_id in batch.scopes
        if row.stamp is not None:
            assert_json(row.stamp.input, row.stamp.output)
    for record in batch.logs:
        assert_texts(record.severity_text, record.event_name, record.uid, record.execution_id, record.node_id)
        assert_json(record.attributes, record.body)
        assert 0 < record.time_ns < 2**63
    for resource in batch.resources.values():
        assert_json(resource.attributes)
        assert_texts(resource.schema_url, resource.service)
    for scope in batch.scopes.values():
        assert_json(scope.attributes)
        assert_texts(scope.name, scope.version, scope.schema_url)
    assert_texts(*batch.heartbeats)


def assert_texts(*texts: str | None) -> None:
    for text in texts:
        if text is not None:
            assert "\0" not in text
            text.encode()


def assert_json(*texts: str | None) -> None:
    for text in texts:
        if text is not None:
            assert_clean(json.loads(text, parse_constant=pytest.fail))
            assert_texts(text)


def assert_clean(value: Any) -> None:
    if isinstance(value, str):
        assert_texts(value)
    elif isinstance(value, list):
        for item in value:
            assert_clean(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            assert_texts(key)
            assert_clean(item)
    elif isinstance(value, int):
        assert -(2**63) <= value < 2**63


def plain(value: AnyValue) -> Any:
    """Return what an official AnyValue says, as Python."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return pairs(value.kvlist_value.values)
    inner = getattr(value, kind)
    return "NaN" if isinstance(inner, float) and math.isnan(inner) else inner  # so that it equals itself


def pairs(attributes: Any) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in attributes}


def same(read: Any, sent: Any) -> bool:
    """Compare values with their types: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    if isinstance(read, float) and math.isnan(read):
        return bool(sent == "NaN")
    if type(read) is not type(sent):
        return False
    if isinstance(read, list):
        return len(read) == len(sent) and all(map(same, read, sent))
    if isinstance(read, dict):
        return read.keys() == sent.keys() and all(same(read[key], sent[key]) for key in read)
    return repr(read) == repr(sent)


def assert_attributes(text: str, sent: Any, *wire_only: str) -> None:
    assert same(dict(JsonMap(text)), {key: value for key, value in pairs(sent).items() if key not in wire_only})


def assert_resource(decoded: Decoded, resource_id: bytes, sent: Any) -> None:
    resource = decoded.batch.resources[resource_id]
    assert_attributes(resource.attributes, sent.resource.attributes, mapping.PROCESS_ID)
    assert resource.schema_url == sent.schema_url
    assert resource.dropped_attributes_count == sent.resource.dropped_attributes_count


def assert_scope(decoded: Decoded, scope_id: bytes, sent: Any) -> None:
    scope = decoded.batch.scopes[scope_id]
    assert_attributes(scope.attributes, sent.scope.attributes)
    assert (scope.name, scope.version, scope.schema_url) == (sent.scope.name, sent.scope.version, sent.schema_url)
    assert scope.dropped_attributes_count == sent.scope.dropped_attributes_count


@FUZZ
@given(TRACE_REQUESTS)
def test_a_valid_trace_request_loses_no_field(request: ExportTraceServiceRequest) -> None:
    """Field by field, rows say what the official classes say."""
    decoded = decode_traces(request.SerializeToString(), now_ns=NOW_NS)
    assert decoded.rejected == []
    sent = [
        (each, scope, span) for each in request.resource_spans for scope in each.scope_spans for span in scope.spans
    ]
    assert decoded.accepted == len(sent)
    for position, (row, (sent_resource, sent_scope, span)) in enumerate(zip(decoded.batch.spans, sent, strict=True)):
        assert_resource(decoded, row.resource_id, sent_resource)
        assert_scope(decoded, row.scope_id, sent_scope)
        assert_attributes(row.attributes, span.attributes, mapping.SPAN_REVISION)
        assert row.seq == position
        assert row.trace_id == span.trace_id
        assert span_id_to_bytes(row.span_id) == span.span_id
        assert (b"" if row.parent_id is None else span_id_to_bytes(row.parent_id)) == span.parent_span_id
        assert (row.start_ns, row.end_ns or 0) == (span.start_time_unix_nano, span.end_time_unix_nano)
        assert (row.name, row.kind, row.trace_state) == (span.name, span.kind, span.trace_state)
        assert (row.status, row.status_message) == (span.status.code, span.status.message)
        assert row.flags == span.flags
        assert row.dropped_attributes_count == span.dropped_attributes_count
        assert row.dropped_events_count == span.dropped_events_count
        assert row.dropped_links_count == span.dropped_links_count
        assert_events(row.events, span.events)
        assert_links(row.links, span.links)


def assert_events(text: str | None, sent: Any) -> None:
    events = json.loads(text) if text is not None else []
    assert len(events) == len(sent)
    for event, original in zip(events, sent, strict=True):
        assert (event["name"], int(event["time_ns"])) == (original.name, original.time_unix_nano)
        assert event["dropped_attributes_count"] == original.dropped_attributes_count
        assert same({key: untag(value) for key, value in event["attributes"].items()}, pairs(original.attributes))


def assert_links(text: str | None, sent: Any) -> None:
    links = json.loads(text) if text is not None else []
    assert len(links) == len(sent)
    for link, original in zip(links, sent, strict=True):
        assert (bytes.fromhex(link["trace_id"]), bytes.fromhex(link["span_id"])) == (
            original.trace_id,
            original.span_id,
        )
        assert (link["trace_state"], link["flags"]) == (original.trace_state, original.flags)
        assert link["dropped_attributes_count"] == original.dropped_attributes_count
        assert same({key: untag(value) for key, value in link["attributes"].items()}, pairs(original.attributes))


@FUZZ
@given(LOG_REQUESTS)
def test_a_valid_log_request_loses_no_field(request: ExportLogsServiceRequest) -> None:
    """Field by field, rows say what the official classes say."""
    decoded = decode_logs(request.SerializeToString(), now_ns=NOW_NS)
    assert decoded.rejected == []
    sent = [
        (each, scope, record)
        for each in request.resource_logs
        for scope in each.scope_logs
        for record in scope.log_records
    ]
    for row, (sent_resource, sent_scope, record) in zip(decoded.batch.logs, sent, strict=True):
        assert_resource(decoded, row.resource_id, sent_resource)
        assert_scope(decoded, row.scope_id, sent_scope)
        assert_attributes(row.attributes, record.attributes)
        assert same(untag(json.loads(row.body)), plain(record.body))
        assert row.time_ns == (record.time_unix_nano or record.observed_time_unix_nano or NOW_NS)
        assert row.observed_ns == record.observed_time_unix_nano
        assert (row.severity, row.severity_text) == (record.severity_number, record.severity_text)
        assert (row.event_name, row.flags) == (record.event_name, record.flags)
        assert (row.trace_id or b"") == record.trace_id
        assert (b"" if row.span_id is None else span_id_to_bytes(row.span_id)) == record.span_id
        assert row.dropped_attributes_count == record.dropped_attributes_count


@FUZZ
@given(TRACE_REQUESTS)
def test_encoding_traces_is_the_inverse_of_decoding(request: ExportTraceServiceRequest) -> None:
    """A batch sent on to another collector arrives as the same batch."""
    batch = decode_traces(request.SerializeToString(), now_ns=NOW_NS).batch
    raw = encode_traces(batch)
    assert (Batch() if raw is None else decode_traces(raw, now_ns=NOW_NS).batch) == batch


@FUZZ
@given(LOG_REQUESTS)
def test_encoding_logs_is_the_inverse_of_decoding(request: ExportLogsServiceRequest) -> None:
    """A batch sent on to another collector arrives as the same batch; heartbeats travel with spans."""
    batch = decode_logs(request.SerializeToString(), now_ns=NOW_NS).batch
    raw = encode_logs(batch)
    again = Batch() if raw is None else decode_logs(raw, now_ns=NOW_NS).batch
    assert (again.logs, again.resources, again.scopes) == (batch.logs, batch.resources, batch.scopes)


@FUZZ
@given(any_otlp())
def test_a_repaired_batch_passes_the_next_collector_unchanged(body: bytes) -> None:
    """What was repaired, cut or left out once is not touched again."""
    try:
        batch = decode_traces(body, now_ns=NOW_NS).batch
    except DecodeError:
        return
    for position, row in enumerate(batch.spans):
        row.seq = position  # rejected spans leave gaps
    raw = encode_traces(batch)
    if raw is not None:
        again = decode_traces(raw, now_ns=NOW_NS)
        assert again.batch == batch
        assert again.repaired == 0


@FUZZ
@given(st.binary(max_size=64))
def test_any_bytes_as_an_attribute_are_read_or_refused(raw: bytes) -> None:
    """The hand-written reader of attributes agrees with the official one wherever that one reads them."""
    from spane_otel.otlp.anyvalue import read_attribute

    try:
        key, value = read_attribute(raw, lambda text: text.decode())
    except (DecodeError, UnicodeDecodeError):
        return
    try:
        official = KeyValue.FromString(raw)
    except Exception:  # noqa: BLE001 - upb's own error class; it may be stricter
        return
    if raw.count(b"\x12") <= 1:  # a value that is repeated is merged there and replaced here
        assert key == official.key
        assert same(value, plain(official.value))
