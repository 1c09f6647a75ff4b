"""Which rows a store takes."""

from typing import Any

import pytest

from spane_otel.records import Stamp
from spane_otel.stores.admission import (
    DAY,
    INVALID_VALUE,
    OUT_OF_WINDOW,
    Window,
    is_storable,
    refuse_log,
    refuse_span,
    window_at,
)
from tests.rows import BASE_NS, log, span

WINDOW = window_at(BASE_NS)


def test_the_window_reaches_14_days_back_and_24_hours_ahead_both_ends_included() -> None:
    assert Window(BASE_NS - 14 * DAY, BASE_NS + DAY) == WINDOW
    assert window_at(BASE_NS, 0.5).earliest_ns == BASE_NS - DAY // 2
    for start_ns in (WINDOW.earliest_ns, BASE_NS, WINDOW.latest_ns):
        assert refuse_span(span("a", start_ns=start_ns), WINDOW) is None
        assert refuse_log(log("a", time_ns=start_ns), WINDOW) is None
    for start_ns in (WINDOW.earliest_ns - 1, WINDOW.latest_ns + 1, 0, -(2**70), 2**70):
        for refusal in (
            refuse_span(span("a", start_ns=start_ns), WINDOW),
            refuse_log(log("a", time_ns=start_ns), WINDOW),
        ):
            assert refusal is not None
            assert refusal.reason == OUT_OF_WINDOW
            assert str(start_ns) in refusal.detail


@pytest.mark.parametrize(
    "columns",
    [
        {"span_id": -(2**63)},
        {"span_id": 2**63 - 1, "parent_id": -(2**63)},
        {"parent_id": 0},
        {"end_ns": -(2**63)},
        {"kind": 5, "status": 2, "flags": 2**32 - 1},
        {"dropped_events_count": 2**32 - 1},
        {"attributes": '{"a":"\\u00e9 \\\\u0000 \\ud83d\\ude00"}'},
        {"attributes": "{}", "events": "[]", "links": "[]"},
        {"stamp": Stamp(workflow_version=2**31 - 1, depth=0, input='"\\u0000"')},
    ],
    ids=repr,
)
def test_extreme_values_are_taken(columns: dict[str, Any]) -> None:
    assert refuse_span(span("a", **columns), WINDOW) is None


@pytest.mark.parametrize(
    "columns",
    [
        {"trace_id": b"\1" * 17},
        {"parent_id": 2**63},
        {"revision": -1},
        {"revision": 2**31},
        {"seq": 2**31},
        {"dropped_links_count": -1},
        {"resource_id": b""},
        {"scope_id": b"\1" * 15},
        {"execution_id": "a\0"},
        {"node_id": "\ud800"},
        {"process_id": "\0"},
        {"added_id": "\0"},
        {"service": "\0"},
        {"trace_state": "\0"},
        {"attributes": ""},
        {"attributes": "null"},
        {"attributes": '{"\\u0000":1}'},
        {"attributes": '{"a":[{"b":"\\udfff"}]}'},
        {"attributes": '{"a":Infinity}'},
        {"attributes": '{"a":"raw \0"}'},
        {"attributes": "[" * 100_000},
        {"events": "null"},
        {"stamp": Stamp(workflow_id="\0")},
        {"stamp": Stamp(workflow_version=2**31)},
        {"stamp": Stamp(depth=-1)},
        {"stamp": Stamp(output="{")},
        {"stamp": Stamp(input="NaN")},
        {"stamp": Stamp(parent_execution_id="\ud800")},
    ],
    ids=lambda columns: repr(columns)[:60],
)
def test_what_a_column_cannot_hold_is_refused(columns: dict[str, Any]) -> None:
    refusal = refuse_span(span("a", **columns), WINDOW)
    assert refusal is not None
    assert refusal.reason == INVALID_VALUE


@pytest.mark.parametrize(
    "columns",
    [
        {"log_id": b"\1" * 15},
        {"trace_key": b""},
        {"span_id": 2**63},
        {"time_source": 3},
        {"severity": 2**15},
        {"uid": "\0"},
        {"event_name": "\ud800"},
        {"body": ""},
        {"body": '"\\ud800"'},
        {"attributes": "[]"},
    ],
    ids=repr,
)
def test_what_a_logs_column_cannot_hold_is_refused(columns: dict[str, Any]) -> None:
    row = log("a")
    for name, value in columns.items():
        setattr(row, name, value)
    refusal = refuse_log(row, WINDOW)
    assert refusal is not None
    assert refusal.reason == INVALID_VALUE


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", True), ("plain", True), ("é😀", True), ("\0", False), ("é\0", False), ("\ud800", False), ("\udc00x", False)],
)
def test_which_texts_can_be_stored(text: str, expected: bool) -> None:
    assert is_storable(text) is expected
