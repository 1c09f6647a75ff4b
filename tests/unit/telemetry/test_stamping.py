"""Everything that happens inside an execution says so, whoever records it."""

import contextvars
import threading

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from spane_otel import execution, flush, node
from spane_otel.records import SpanRow
from tests.unit.telemetry.sinks import RecordingSink, attributes_of

REMOTE = SpanContext(
    trace_id=0xA1B2, span_id=2**64 - 1, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")])
)


def stamp(row: SpanRow) -> tuple[str | None, str | None]:
    return row.execution_id, row.node_id


def test_spans_of_any_tracer_are_stamped_with_execution_and_node(sink: RecordingSink) -> None:
    tracer = trace.get_tracer("somebody.else")
    with execution("order") as run:
        with tracer.start_as_current_span("between"):
            pass
        with node("pay"), tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
            pass
        with tracer.start_as_current_span("after"):
            pass
    with tracer.start_as_current_span("outside"):
        pass
    assert flush()
    assert stamp(sink.span("between")) == (run.execution_id, None)
    assert stamp(sink.span("outer")) == (run.execution_id, "pay")
    assert stamp(sink.span("inner")) == (run.execution_id, "pay")
    assert stamp(sink.span("after")) == (run.execution_id, None)
    assert stamp(sink.span("outside")) == (None, None)
    assert "spane.execution.id" not in attributes_of(sink.span("outside"))


def test_a_stamp_given_by_the_code_itself_wins(sink: RecordingSink) -> None:
    with execution("order"), node("pay"):
        trace.get_tracer("t").start_span("foreign", attributes={"spane.execution.id": "other"}).end()
    assert flush()
    assert stamp(sink.span("foreign")) == ("other", None)


def test_a_span_of_a_context_of_its_own_is_not_stamped(sink: RecordingSink) -> None:
    with execution("order"):
        trace.get_tracer("t").start_span("detached", context=context_api.Context()).end()
    assert flush()
    assert stamp(sink.span("detached")) == (None, None)


def test_a_span_without_a_parent_does_not_pass_for_the_root_of_the_execution(sink: RecordingSink) -> None:
    with execution("order") as run:
        orphaned = trace.set_span_in_context(trace.INVALID_SPAN)
        trace.get_tracer("t").start_span("orphan", context=orphaned).end()
        with node("pay"):
            trace.get_tracer("t").start_span("in a node", context=trace.set_span_in_context(trace.INVALID_SPAN)).end()
    assert flush()
    assert stamp(sink.span("orphan")) == (None, None)
    assert stamp(sink.span("in a node")) == (run.execution_id, "pay")


def test_a_thread_that_is_given_the_context_is_inside(sink: RecordingSink) -> None:
    def work() -> None:
        with trace.get_tracer("t").start_as_current_span("threaded"):
            pass

    with execution("order") as run, node("pay"):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join()
    assert flush()
    assert stamp(sink.span("threaded")) == (run.execution_id, "pay")


def test_an_execution_inside_a_remote_trace_continues_it(sink: RecordingSink) -> None:
    token = context_api.attach(trace.set_span_in_context(NonRecordingSpan(REMOTE)))
    try:
        with execution("order"):
            pass
    finally:
        context_api.detach(token)
    assert flush()
    row = sink.span("order")
    assert row.trace_id == (0xA1B2).to_bytes(16, "big")
    assert row.parent_id == -1
    assert row.flags & 0x300 == 0x300
    assert row.stamp is not None


def test_every_field_of_a_span_becomes_its_column(sink: RecordingSink) -> None:
    tracer = trace.get_tracer("lib", "1.2", schema_url="https://example.org/s", attributes={"scope": True})
    span = tracer.start_span(
        "request",
        context=trace.set_span_in_context(NonRecordingSpan(REMOTE)),
        kind=SpanKind.CONSUMER,
        attributes={"bytes": b"\x00\xff", "big": 2**70, "list": [1, 2]},
        links=[Link(REMOTE, {"why": "batch"})],
        start_time=1_700_000_000_000_000_001,
    )
    span.add_event("tick", {"n": 1}, timestamp=1_700_000_000_000_000_002)
    span.set_status(Status(StatusCode.ERROR, "nul \x00"))
    span.end(end_time=1_700_000_000_000_000_003)
    assert flush()
    row = sink.span("request")
    assert (row.start_ns, row.end_ns) == (1_700_000_000_000_000_001, 1_700_000_000_000_000_003)
    assert (row.kind, row.status, row.status_message) == (5, 2, "nul \ufffd")
    assert row.trace_state == "k=v"
    assert attributes_of(row) == {"bytes": {"bytesValue": "AP8="}, "big": str(2**70), "list": [1, 2]}
    assert row.events == (
        '[{"name":"tick","time_ns":"1700000000000000002","attributes":{"n":1},"dropped_attributes_count":0}]'
    )
    assert row.links == (
        '[{"trace_id":"0000000000000000000000000000a1b2","span_id":"ffffffffffffffff","trace_state":"k=v",'
        '"flags":769,"attributes":{"why":"batch"},"dropped_attributes_count":0}]'
    )
    (batch,) = [batch for batch in sink.batches if row in batch.spans]
    scope, resource = batch.scopes[row.scope_id], batch.resources[row.resource_id]
    assert (scope.name, scope.version, scope.schema_url) == ("lib", "1.2", "https://example.org/s")
    assert scope.attributes == '{"scope":true}'
    assert resource.service == row.service
    assert '"telemetry.sdk.language":"python"' in resource.attributes
    assert row.process_id == sink.heartbeats[0]


def test_a_span_that_is_not_sampled_is_not_written(sink: RecordingSink) -> None:
    unsampled = SpanContext(trace_id=1, span_id=1, is_remote=True, trace_flags=TraceFlags(0))
    token = context_api.attach(trace.set_span_in_context(NonRecordingSpan(unsampled)))
    try:
        with execution("order") as run, node("pay"):
            run.set_result(1)
    finally:
        context_api.detach(token)
    assert flush()
    assert sink.spans == []
