"""Spans off the wire: what is repaired, what is rejected, what is refused (reliability.md sections 5, 8 and 10)."""

import json
import time
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from spane_otel import mapping
from spane_otel.errors import DecodeError, TooLargeError
from spane_otel.otlp.decode import Decoded, decode_traces
from spane_otel.records import SpanRow
from spane_otel.values import Limits
from tests.unit.otlp.requests import SPAN_ID, START_NS, TRACE_ID, delimited, number, raw_traces, span, text, traces

NOW_NS = START_NS + 10**9


def decode(body: bytes, limits: Limits | None = None) -> Decoded:
    return decode_traces(body, now_ns=NOW_NS, limits=limits or Limits())


def only_row(body: bytes) -> SpanRow:
    decoded = decode(body)
    assert decoded.rejected == []
    (row,) = decoded.batch.spans
    return row


def attributes_of(row: SpanRow) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(row.attributes)
    return read


def test_every_field_of_a_span_arrives() -> None:
    """Each field differs from its default and from every other, so that none can stand for another."""
    row = only_row(
        traces(
            span(
                trace_state="a=b",
                parent_span_id=b"\0" * 7 + b"\7",
                flags=2**32 - 1,
                kind=3,
                attributes=[number("k", 1)],
                dropped_attributes_count=11,
                events=[Span.Event(time_unix_nano=2**64 - 1, name="e", dropped_attributes_count=12)],
                dropped_events_count=13,
                links=[
                    Span.Link(
                        trace_id=TRACE_ID, span_id=SPAN_ID, trace_state="c=d", flags=14, dropped_attributes_count=15
                    )
                ],
                dropped_links_count=16,
                status=Status(message="m", code=2),  # type: ignore[arg-type]  # the stubs want the enum
            ),
            resource=[text("service.name", "shop")],
        )
    )
    assert (row.trace_id, row.span_id, row.parent_id) == (TRACE_ID, -(2**63) + 1, 7)
    assert (row.name, row.service, row.trace_state, row.kind, row.flags) == ("work", "shop", "a=b", 3, 2**32 - 1)
    assert (row.start_ns, row.end_ns, row.status, row.status_message) == (START_NS, START_NS + 5, 2, "m")
    assert row.attributes == '{"k":1}'
    assert (row.dropped_attributes_count, row.dropped_events_count, row.dropped_links_count) == (11, 13, 16)
    assert json.loads(row.events or "") == [
        {"name": "e", "time_ns": str(2**64 - 1), "attributes": {}, "dropped_attributes_count": 12}
    ]
    assert json.loads(row.links or "") == [
        {
            "trace_id": TRACE_ID.hex(),
            "span_id": SPAN_ID.hex(),
            "trace_state": "c=d",
            "flags": 14,
            "attributes": {},
            "dropped_attributes_count": 15,
        }
    ]
    assert (row.state, row.execution_id, row.process_id, row.revision, row.stamp) == (None, None, None, 0, None)


def test_an_empty_request_holds_nothing() -> None:
    """No bytes are a valid request, an empty one."""
    assert decode(b"") == Decoded()


@pytest.mark.parametrize(
    "body",
    [
        traces(span())[:-1],
        b"\xff" * 40,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\x05ab",
        b"\x0b",
        b"\x80" * 2_000_000,
        delimited(0x0A, delimited(0x0A, delimited(0x0A, b"\x0a\x05a"))),
    ],
    ids=["cut off", "noise", "overlong length", "too short", "open group", "endless varint", "resource attribute"],
)
def test_what_is_not_protobuf_is_refused(body: bytes) -> None:
    """A malformed envelope is refused as a whole (B1)."""
    with pytest.raises(DecodeError):
        decode(body)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (span(trace_id=b""), "invalid_trace_id"),
        (span(trace_id=b"\0" * 16), "invalid_trace_id"),
        (span(trace_id=b"\1" * 8), "invalid_trace_id"),
        (span(trace_id=b"\1" * 17), "invalid_trace_id"),
        (span(span_id=b""), "invalid_span_id"),
        (span(span_id=b"\0" * 8), "invalid_span_id"),
        (span(span_id=b"\1" * 7), "invalid_span_id"),
        (span(span_id=b"\1" * 16), "invalid_span_id"),
        (span(start_time_unix_nano=2**63), "time_out_of_range"),
        (span(end_time_unix_nano=2**64 - 1), "time_out_of_range"),
    ],
)
def test_a_bad_span_costs_only_itself(bad: Span, reason: str) -> None:
    """It is rejected with its place in the request; its neighbours are rows (B11, B13)."""
    decoded = decode(traces(span(name="before"), bad, span(name="after")))
    assert [row.name for row in decoded.batch.spans] == ["before", "after"]
    assert [row.seq for row in decoded.batch.spans] == [0, 2]
    assert decoded.accepted == 2
    assert [(each.signal, each.index, each.reason) for each in decoded.rejected] == [("spans", 1, reason)]
    assert decoded.rejected[0].detail


@pytest.mark.parametrize(
    "bad",
    [
        b"\x0a\xff",
        span().SerializeToString() + delimited(0x4A, b"\x0a\x05k"),
        span().SerializeToString() + delimited(0x4A, delimited(0x0A, b"k") + delimited(0x12, b"\x0a\x7fx")),
        span().SerializeToString() + delimited(0x5A, b"\x12\x05n"),
        span().SerializeToString() + delimited(0x6A, b"\x0a\x11n"),
        span().SerializeToString() + delimited(0x7A, b"\x12\x11n"),
        span().SerializeToString() + delimited(0x4A, b"\x0b"),
    ],
    ids=["span", "attribute", "value", "event", "link", "status", "group"],
)
def test_a_malformed_span_in_a_good_envelope_costs_only_itself(bad: bytes) -> None:
    """What is broken inside a span does not reach its neighbours."""
    good = span().SerializeToString()
    decoded = decode(raw_traces(good, bad, good))
    assert decoded.accepted == 2
    assert [(each.index, each.reason) for each in decoded.rejected] == [(1, "malformed")]


@pytest.mark.parametrize(("start", "end"), [(5, 3), (5, 0), (0, 0), (1, 2**63 - 1), (START_NS, START_NS)])
def test_times_are_kept_as_they_came(start: int, end: int) -> None:
    """End before start, no end, no times at all: stored raw; only the reader judges (B12)."""
    row = only_row(traces(span(start_time_unix_nano=start, end_time_unix_nano=end)))
    assert (row.start_ns, row.end_ns) == (start, end or None)


@pytest.mark.parametrize(
    ("parent", "stored", "repaired"),
    [(b"", None, 0), (b"\0" * 8, None, 0), (b"\1" * 4, None, 1), (b"\xff" * 8, -1, 0), (SPAN_ID, -(2**63) + 1, 0)],
)
def test_a_parent_is_a_span_id_or_none(parent: bytes, stored: int | None, repaired: int) -> None:
    """Empty and zero mean no parent; a short one is none either, and counts as repaired."""
    decoded = decode(traces(span(parent_span_id=parent)))
    assert decoded.batch.spans[0].parent_id == stored
    assert decoded.repaired == repaired


@pytest.mark.parametrize(("kind", "stored"), [(0, 0), (5, 5), (6, 0), (2**31 - 1, 0)])
def test_a_kind_of_a_later_version_is_unspecified(kind: int, stored: int) -> None:
    assert only_row(traces(span(kind=kind))).kind == stored


@pytest.mark.parametrize(
    ("status", "stored"),
    [
        (Status(), (0, "")),
        (Status(code=1), (1, "")),  # type: ignore[arg-type]  # the stubs want the enum, the wire has the number
        (Status(code=2, message="no"), (2, "no")),  # type: ignore[arg-type]
        (Status(message="kept"), (0, "kept")),
        (Status(code=7, message="later"), (0, "later")),  # type: ignore[arg-type]
        (Status(code=2, message="m" * 70_000), (2, "m" * 65_536 + "…[truncated 4464 bytes]")),  # type: ignore[arg-type]
    ],
)
def test_a_status_keeps_code_and_message(status: Status, stored: tuple[int, str]) -> None:
    row = only_row(traces(span(status=status)))
    assert (row.status, row.status_message) == stored


def test_invalid_utf8_is_repaired_wherever_text_stands() -> None:
    """One wrong byte in a name costs that byte, not the request (B2); the span says it was repaired once."""
    bad = b"a\xffb"
    pair = delimited(0x0A, bad) + delimited(0x12, delimited(0x0A, bad))
    raw = (
        delimited(0x0A, TRACE_ID)
        + delimited(0x12, SPAN_ID)
        + delimited(0x1A, bad)
        + delimited(0x2A, bad)
        + delimited(0x4A, pair)
        + delimited(0x5A, delimited(0x12, bad) + delimited(0x1A, pair))
        + delimited(0x6A, delimited(0x0A, TRACE_ID) + delimited(0x12, SPAN_ID) + delimited(0x1A, bad))
        + delimited(0x7A, delimited(0x12, bad))
    )
    decoded = decode(raw_traces(raw, span().SerializeToString()))
    row = decoded.batch.spans[0]
    assert (row.name, row.trace_state, row.status_message) == ("a\ufffdb", "a\ufffdb", "a\ufffdb")
    assert attributes_of(row) == {"a\ufffdb": "a\ufffdb"}
    assert json.loads(row.events or "")[0]["name"] == "a\ufffdb"
    assert json.loads(row.links or "")[0]["trace_state"] == "a\ufffdb"
    assert (decoded.accepted, decoded.repaired) == (2, 1)


def test_nul_is_replaced_and_its_escape_is_not() -> None:
    """NUL becomes U+FFFD in name, key and value; the six characters of an escape are text (B7)."""
    row = only_row(traces(span(name="a\0", attributes=[text("k\0", "v\0"), text("e", "\\u0000")])))
    assert row.name == "a\ufffd"
    assert attributes_of(row) == {"k\ufffd": "v\ufffd", "e": "\\u0000"}


def nested_value(depth: int) -> bytes:
    """Return an AnyValue of so many arrays around an int."""
    raw = b"\x18\x01"
    for _ in range(depth):
        raw = delimited(0x2A, delimited(0x0A, raw))
    return raw


@pytest.mark.parametrize("depth", [20, 50, 60, 1_000, 20_000])
def test_deep_nesting_does_not_refuse_the_request(depth: int) -> None:
    """Beyond protobuf's own limit too; below twenty levels a value is its JSON text (B17)."""
    pair = delimited(0x0A, b"deep") + delimited(0x12, nested_value(depth))
    raw = span().SerializeToString() + delimited(0x4A, pair)
    value = attributes_of(only_row(raw_traces(raw)))["deep"]
    for _ in range(20):
        (value,) = value
    assert value == (1 if depth == 20 else "[" * (depth - 20) + "1" + "]" * (depth - 20))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (AnyValue(), None),
        (AnyValue(array_value=ArrayValue()), []),
        (
            AnyValue(array_value=ArrayValue(values=[AnyValue(), AnyValue(int_value=-1), AnyValue(double_value=2.0)])),
            [None, -1, 2.0],
        ),
        (AnyValue(int_value=-(2**63)), -(2**63)),
        (AnyValue(int_value=128), 128),
        (AnyValue(int_value=16_383), 16_383),
        (AnyValue(int_value=16_384), 16_384),
        (AnyValue(bool_value=False), False),
        (AnyValue(string_value=""), ""),
        (AnyValue(string_value="x" * 200), "x" * 200),
        (AnyValue(bytes_value=b"\0"), {"bytesValue": "AA=="}),
    ],
)
def test_every_kind_of_value_arrives(value: AnyValue, stored: Any) -> None:
    """Empty, mixed, negative, large; the same value also where the memo has seen it before."""
    body = traces(span(attributes=[KeyValue(key="key", value=value), KeyValue(key="", value=value)]))
    for _ in range(2):
        read = attributes_of(only_row(body))
        assert read == {"key": stored, "": stored}
        assert type(read["key"]) is type(stored)


def test_of_equal_keys_the_last_wins() -> None:
    assert attributes_of(only_row(traces(span(attributes=[number("k", 1), number("o", 2), number("k", 3)])))) == {
        "k": 3,
        "o": 2,
    }


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        (b"", None),
        (b"\x08\x01", None),
        (b"\x10\x01\x18\x07", 7),
        (b"\x40\x05", None),
        (b"\x0d\0\0\0\0", None),
        (b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", -1),
        (b"\x18\x87\x80\x00", 7),
    ],
    ids=["nothing", "wrong wire type", "two values", "later field", "skipped fixed32", "minus one", "overlong varint"],
)
def test_odd_but_legal_wire_forms_are_read(raw: bytes, stored: Any) -> None:
    """Unknown fields are skipped, the last value counts."""
    pair = delimited(0x0A, b"k") + delimited(0x12, raw)
    assert attributes_of(only_row(raw_traces(span().SerializeToString() + delimited(0x4A, pair)))) == {"k": stored}


def test_too_many_attributes_events_and_links_are_counted() -> None:
    """256 of each are kept, the rest is added to what the sender dropped (B4, section 10)."""
    decoded = decode(
        traces(
            span(
                attributes=[number(f"k{n}", n) for n in range(300)],
                dropped_attributes_count=1,
                events=[
                    Span.Event(name=str(n), attributes=[number(f"k{k}", k) for k in range(257)]) for n in range(257)
                ],
                dropped_events_count=2,
                links=[Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID)] * 258,
                dropped_links_count=3,
            )
        )
    )
    (row,) = decoded.batch.spans
    assert (row.dropped_attributes_count, row.dropped_events_count, row.dropped_links_count) == (45, 3, 5)
    assert len(attributes_of(row)) == 256
    events = json.loads(row.events or "")
    assert len(events) == 256
    assert events[0]["dropped_attributes_count"] == 1
    assert len(json.loads(row.links or "")) == 256
    assert decoded.repaired == 1


def test_a_million_attributes_on_one_span_cost_little() -> None:
    """They are counted, not decoded."""
    raw = span().SerializeToString() + delimited(0x4A, delimited(0x0A, b"k")) * 1_000_000
    started = time.process_time()
    row = only_row(raw_traces(raw))
    assert time.process_time() - started < 2
    assert row.dropped_attributes_count == 1_000_000 - 4 * 256


def test_links_without_a_valid_id_are_dropped_and_counted() -> None:
    decoded = decode(
        traces(
            span(
                links=[
                    Span.Link(trace_id=b"", span_id=SPAN_ID),
                    Span.Link(trace_id=TRACE_ID, span_id=b"\0" * 8),
                    Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID, trace_state="a=b", flags=257),
                ]
            ),
            span(span_id=b"\2" * 8, links=[Span.Link()]),
        )
    )
    first, second = decoded.batch.spans
    assert [link["flags"] for link in json.loads(first.links or "")] == [257]
    assert (first.dropped_links_count, second.links, second.dropped_links_count) == (2, None, 1)
    assert decoded.repaired == 2


@pytest.mark.parametrize("level", ["spans", "scopes", "resources"])
def test_a_million_empty_items_are_refused_before_they_are_objects(level: str) -> None:
    """A kilobyte of gzip holds a million of them; counting comes first (B4)."""
    empty = b"\x12\0" * 1_000_000
    bodies = {
        "spans": delimited(0x0A, delimited(0x12, empty)),
        "scopes": delimited(0x0A, empty),
        "resources": b"\x0a\0" * 1_000_000,
    }
    started = time.process_time()
    with pytest.raises(TooLargeError, match="1000000"):
        decode(bodies[level])
    assert time.process_time() - started < 2


def test_the_limit_of_spans_is_exact() -> None:
    """As many spans as the limit says are taken, one more is too large."""
    limits = Limits(request_items=3)
    assert decode(traces(*[span()] * 3), limits).accepted == 3
    with pytest.raises(TooLargeError):
        decode(traces(*[span()] * 4), limits)


def test_names_are_cut_at_1024_characters() -> None:
    row = only_row(traces(span(name="é" * 2_000)))
    assert row.name == "é" * 1_024


def test_the_process_id_is_no_part_of_the_resource() -> None:
    """It is taken off before the resource is hashed, so that a restart makes no new resource."""
    plain = decode(traces(span(), resource=[text("service.name", "shop")]))
    with_process = decode(traces(span(), resource=[text("spane.process.id", "p1"), text("service.name", "shop")]))
    assert with_process.batch.resources == plain.batch.resources
    assert with_process.batch.spans[0].process_id == "p1"
    assert with_process.batch.heartbeats == ["p1"]
    assert plain.batch.spans[0].process_id is None
    assert plain.batch.heartbeats == []
    (resource,) = plain.batch.resources.values()
    assert (resource.service, resource.attributes) == ("shop", '{"service.name":"shop"}')


def test_a_resource_without_spans_is_a_heartbeat() -> None:
    """A process that has nothing to say is alive all the same."""
    decoded = decode(traces(resource=[text("spane.process.id", "p1")]))
    assert decoded.batch.heartbeats == ["p1"]
    assert decoded.batch.resources == {}
    assert decoded.accepted == 0


def test_the_spane_attributes_become_columns() -> None:
    """Execution, node, state and workflow are read; the revision is on the wire only."""
    row = only_row(
        traces(
            span(
                attributes=[
                    number(mapping.SPAN_REVISION, 4),
                    text(mapping.EXECUTION_ID, "run"),
                    text(mapping.WORKFLOW_ID, "flow"),
                    text(mapping.STATE, "cancelled"),
                    text(mapping.INPUT, '{"a":1}'),
                ]
            )
        )
    )
    assert (row.execution_id, row.node_id, row.state, row.revision) == ("run", None, "cancelled", 4)
    assert row.stamp is not None
    assert (row.stamp.workflow_id, row.stamp.input) == ("flow", '{"a":1}')
    assert mapping.SPAN_REVISION not in attributes_of(row)
    assert attributes_of(row)[mapping.EXECUTION_ID] == "run"


def test_children_inherit_the_execution_within_a_request() -> None:
    """Also where the child comes first, as it does off a batching processor."""
    decoded = decode(
        traces(
            span(span_id=b"\2" * 8, parent_span_id=SPAN_ID),
            span(attributes=[text(mapping.EXECUTION_ID, "run"), text(mapping.NODE_ID, "n")]),
        )
    )
    assert [(row.execution_id, row.node_id) for row in decoded.batch.spans] == [("run", "n"), ("run", "n")]
    assert decoded.batch.spans[0].stamp is None


def test_a_large_input_of_a_foreign_root_is_cut_as_our_own_would_be() -> None:
    large = json.dumps("x" * 100_000)
    row = only_row(traces(span(attributes=[text(mapping.EXECUTION_ID, "e"), text(mapping.INPUT, large)])))
    assert row.stamp is not None
    assert row.stamp.input == json.dumps(large[:65_536])
    assert attributes_of(row)[mapping.INPUT_TRUNCATED] == len(large)
