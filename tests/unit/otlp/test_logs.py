"""Log records off the wire: identity, time, and what is repaired or rejected (reliability.md B2 to B20)."""

import json
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from spane_otel.errors import DecodeError, TooLargeError
from spane_otel.ids import execution_trace_id
from spane_otel.otlp.decode import Decoded, decode_logs
from spane_otel.records import TIME_SOURCES, LogRow
from spane_otel.values import Limits
from tests.unit.otlp.requests import SPAN_ID, START_NS, TRACE_ID, delimited, logs, text

NOW_NS = START_NS + 10**9


def decode(body: bytes, now_ns: int = NOW_NS) -> Decoded:
    return decode_logs(body, now_ns=now_ns)


def record(**fields: Any) -> LogRecord:
    defaults: dict[str, Any] = {"time_unix_nano": START_NS, "body": AnyValue(string_value="hello")}
    return LogRecord(**(defaults | fields))


def only_row(body: bytes) -> LogRow:
    (row,) = decode(body).batch.logs
    return row


@pytest.mark.parametrize(
    ("time_ns", "observed_ns", "stored", "source"),
    [(START_NS, 5, START_NS, "time"), (0, 5, 5, "observed"), (0, 0, NOW_NS, "receipt")],
)
def test_a_record_has_the_best_time_it_came_with(time_ns: int, observed_ns: int, stored: int, source: str) -> None:
    row = only_row(logs(record(time_unix_nano=time_ns, observed_time_unix_nano=observed_ns)))
    assert (row.time_ns, row.observed_ns, TIME_SOURCES[row.time_source]) == (stored, observed_ns, source)


@pytest.mark.parametrize("field", ["time_unix_nano", "observed_time_unix_nano"])
def test_a_time_beyond_int64_costs_only_its_record(field: str) -> None:
    decoded = decode(logs(record(), record(**{field: 2**63}), record()))
    assert decoded.accepted == 2
    assert [(each.signal, each.index, each.reason) for each in decoded.rejected] == [("logs", 1, "time_out_of_range")]


@pytest.mark.parametrize(
    ("trace_id", "span_id", "stored", "repaired"),
    [
        (TRACE_ID, SPAN_ID, (TRACE_ID, -(2**63) + 1), 0),
        (b"", b"", (None, None), 0),
        (b"\0" * 16, b"\0" * 8, (None, None), 0),
        (b"\1" * 8, b"\1" * 3, (None, None), 1),
    ],
)
def test_a_record_outlives_its_ids(trace_id: bytes, span_id: bytes, stored: tuple[Any, Any], repaired: int) -> None:
    """An id that is none is left out; what was said is kept."""
    decoded = decode(logs(record(trace_id=trace_id, span_id=span_id)))
    (row,) = decoded.batch.logs
    assert (row.trace_id, row.span_id) == stored
    assert decoded.repaired == repaired


def test_a_redelivered_request_has_the_same_identities() -> None:
    """Equal lines of one request are as many records, and the same ones when the request comes again."""
    body = logs(record(), record(), record(body=AnyValue(string_value="other")), record())
    first, again = decode(body), decode(body, NOW_NS + 77)
    ids = [row.log_id for row in first.batch.logs]
    assert len(set(ids)) == 4
    assert [row.log_id for row in again.batch.logs] == ids
    assert [row.log_id for row in decode(logs(record(), record(), record())).batch.logs] == [ids[0], ids[1], ids[3]]


def test_a_uid_is_the_identity() -> None:
    """Two texts under one `log.record.uid` are one record; the uid stays an attribute."""
    uid = [text("log.record.uid", "u-1")]
    first = only_row(logs(record(attributes=uid)))
    second = only_row(logs(record(attributes=uid, body=AnyValue(string_value="changed"))))
    assert first.log_id == second.log_id
    assert first.uid == "u-1"
    assert json.loads(first.attributes) == {"log.record.uid": "u-1"}


def test_a_record_is_placed_beside_its_trace_else_its_execution_else_alone() -> None:
    stamped = [text("spane.execution.id", "run"), text("spane.node.id", "n")]
    traced = only_row(logs(record(trace_id=TRACE_ID, attributes=stamped)))
    untraced = only_row(logs(record(attributes=stamped)))
    alone = only_row(logs(record()))
    assert traced.trace_key == TRACE_ID
    assert untraced.trace_key == execution_trace_id("run")
    assert (untraced.execution_id, untraced.node_id) == ("run", "n")
    assert alone.trace_key == alone.log_id


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (None, "null"),
        (AnyValue(), "null"),
        (AnyValue(string_value="a\0"), '"a\ufffd"'),
        (AnyValue(int_value=3), "3"),
        (AnyValue(bytes_value=b"a"), '{"bytesValue":"YQ=="}'),
        (
            AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=AnyValue(double_value=1.0))])),
            '{"k":1.0}',
        ),
        (AnyValue(string_value="x" * 1_048_577), '"' + "x" * 1_048_576 + '…[truncated 1 bytes]"'),
    ],
)
def test_a_body_may_be_any_value(body: AnyValue | None, stored: str) -> None:
    """Nothing, a map, bytes, ten megabytes (B20)."""
    assert only_row(logs(record(body=body))).body == stored


@pytest.mark.parametrize("severity", [0, 9, 24, 99])
def test_a_severity_is_kept_as_it_came(severity: int) -> None:
    row = only_row(logs(record(severity_number=severity, severity_text="WAT")))
    assert (row.severity, row.severity_text) == (severity, "WAT")


def test_flags_event_name_and_counts_are_kept() -> None:
    row = only_row(logs(record(flags=2**32 - 1, event_name="e", dropped_attributes_count=2**32 - 1)))
    assert (row.flags, row.event_name, row.dropped_attributes_count) == (2**32 - 1, "e", 2**32 - 1)


def test_a_malformed_record_costs_only_itself() -> None:
    good = record().SerializeToString()
    body = delimited(0x0A, delimited(0x12, delimited(0x12, good) + delimited(0x12, good + b"\x2a\x02\x0a\x7f")))
    decoded = decode(body)
    assert decoded.accepted == 1
    assert [(each.index, each.reason) for each in decoded.rejected] == [(1, "malformed")]


def test_a_malformed_request_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode(logs(record())[:-1])


def test_too_many_records_are_refused() -> None:
    with pytest.raises(TooLargeError):
        decode_logs(logs(*[record()] * 4), now_ns=NOW_NS, limits=Limits(request_items=3))
