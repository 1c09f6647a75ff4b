"""A row that can't be stored costs only itself, and says why."""

from typing import Any

from spane_otel.records import LogRow, SpanRow, Stamp
from spane_otel.stores.admission import DAY, INVALID_VALUE, OUT_OF_WINDOW
from spane_otel.stores.protocols import Store
from tests.conformance.subjects import Subject
from tests.rows import batch, log, root, span, trace_id

BAD_SPANS: dict[str, dict[str, Any]] = {
    "broken attributes": {"attributes": '{"a":'},
    "attributes that are no object": {"attributes": "[1]"},
    "an escaped NUL in attributes": {"attributes": '{"a":"\\u0000"}'},
    "an escaped lone surrogate": {"attributes": '{"a":["\\ud800"]}'},
    "NaN in attributes": {"attributes": '{"a":NaN}'},
    "broken events": {"events": "x"},
    "links that are no array": {"links": "{}"},
    "a NUL in the name": {"name": "a\0b"},
    "a lone surrogate in the status message": {"status_message": "\udfff"},
    "a short trace id": {"trace_id": b"\1" * 15},
    "a zero trace id": {"trace_id": bytes(16)},
    "a zero span id": {"span_id": 0},
    "a span id of 65 bits": {"span_id": 2**63},
    "an end beyond int64": {"end_ns": 2**63},
    "an unknown kind": {"kind": 6},
    "an unknown status": {"status": 3},
    "flags of 33 bits": {"flags": 2**32},
}

BAD_LOGS: dict[str, dict[str, Any]] = {
    "a broken body": {"body": '"'},
    "an escaped NUL in the body": {"body": '"\\u0000"'},
    "broken attributes": {"attributes": "x"},
    "a NUL in the severity text": {"severity_text": "\0"},
    "a short trace id": {"trace_id": b"\1" * 15},
    "an observed time beyond int64": {"observed_ns": 2**63},
    "flags of 33 bits": {"flags": -1},
}


def spoil(row: LogRow, columns: dict[str, Any]) -> LogRow:
    """Return `row` with its identity kept and some columns bad."""
    for name, value in columns.items():
        setattr(row, name, value)
    return row


async def test_a_bad_row_is_rejected_alone_with_its_position_and_reason(store: Store) -> None:
    spans: list[SpanRow] = []
    logs: list[LogRow] = []
    for name, columns in BAD_SPANS.items():
        spans += [span(f"before {name}"), span(name, **columns)]
    for name, columns in BAD_LOGS.items():
        logs += [log(f"before {name}", trace="t"), spoil(log(name, trace="t"), columns)]
    result = await store.write(batch(*spans, *logs))
    found = {(each.signal, each.index): each.reason for each in result.rejected}
    expected = {("spans", index): INVALID_VALUE for index in range(1, len(spans), 2)}
    expected.update({("logs", index): INVALID_VALUE for index in range(1, len(logs), 2)})
    assert found == expected
    assert all(each.detail for each in result.rejected)
    assert (result.spans_stored, result.logs_stored) == (len(BAD_SPANS), len(BAD_LOGS))
    trace = await store.get_trace_by_id(trace_id("t").hex())
    assert trace is not None
    assert {each.name for each in trace.spans} == {f"before {name}" for name in BAD_SPANS}
    read = await store.list_logs(trace_id=trace_id("t").hex())
    assert {each.body for each in read} == {f"before {name}" for name in BAD_LOGS}


async def test_a_row_that_alone_is_bad_is_rejected(store: Store) -> None:
    """Each with one good neighbour: no other bad row of the request gives it away."""
    for name, columns in BAD_SPANS.items():
        result = await store.write(batch(span(f"beside {name}"), span(name, **columns)))
        assert [(each.index, each.reason) for each in result.rejected] == [(1, INVALID_VALUE)], name
    for name, columns in BAD_LOGS.items():
        result = await store.write(batch(log(f"beside {name}", trace="t"), spoil(log(name, trace="t"), columns)))
        assert [(each.index, each.reason) for each in result.rejected] == [(1, INVALID_VALUE)], name
    stats = await store.stats()
    assert (stats.spans, stats.logs) == (len(BAD_SPANS), len(BAD_LOGS))


async def test_a_roots_payload_is_opaque(store: Store) -> None:
    """What JSON can escape, a NUL and half a surrogate pair, is no reason to refuse an execution's input."""
    text = '{"a":"\\u0000 \\ud800"}'
    result = await store.write(batch(root("e", stamp=Stamp(workflow_id="w", input=text, output=text))))
    assert result.rejected == []
    execution = await store.get_execution("e")
    assert execution is not None
    assert execution.initial_data == execution.result == {"a": "\0 \ud800"}


async def test_a_rejected_root_makes_no_execution(store: Store) -> None:
    await store.write(
        batch(
            span("a", execution="bad", workflow="w", attributes="x"),
            span("b", trace="u", execution="good", workflow="w"),
        )
    )
    assert [each.execution_id for each in await store.list_executions()] == ["good"]


async def test_a_time_outside_the_window_is_rejected(subject: Subject) -> None:
    """Accepted are starts from 14 days back to 24 hours ahead; a log's time is its start."""
    now_ns = subject.now_ns()
    hour = DAY // 24
    times = (now_ns - 14 * DAY - hour, now_ns + 25 * hour, 0, 2**63, -(2**63) - 1, 2**80)
    for number, there in enumerate(times):
        result = await subject.store.write(
            batch(
                span("outside", start_ns=there, end_ns=now_ns),
                span(f"inside {number}"),
                log("outside", time_ns=there, trace="t"),
                log(f"inside {number}", trace="t"),
            )
        )
        assert {(each.signal, each.index, each.reason) for each in result.rejected} == {
            ("spans", 0, OUT_OF_WINDOW),
            ("logs", 0, OUT_OF_WINDOW),
        }
        assert (result.spans_stored, result.logs_stored) == (1, 1)
    stats = await subject.store.stats()
    assert (stats.spans, stats.logs) == (len(times), len(times))


async def test_days_that_no_span_has_touched_yet_are_accepted(subject: Subject) -> None:
    store = subject.store
    starts = [subject.now_ns() + hours * DAY // 24 for hours in (-13 * 24, -6 * 24, -1, 0, 23)]
    result = await store.write(
        batch(
            *(span(f"{start}", start_ns=start, end_ns=start + 1) for start in starts),
            *(log(f"{start}", time_ns=start, trace="t") for start in starts),
        )
    )
    assert result.rejected == []
    trace = await store.get_trace_by_id(trace_id("t").hex())
    assert trace is not None
    assert [each.start_ns for each in trace.spans] == starts
    assert [each.time_ns for each in await store.list_logs(trace_id=trace_id("t").hex())] == starts
