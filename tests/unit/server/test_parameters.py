"""Query parameters: what is taken, and that every other value is named in the error."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from spane_otel.clock import SECOND
from spane_otel.server.api.parameters import Parameters, parse_rfc_3339
from spane_otel.server.problems import ParameterError

KNOWN = ("limit", "since", "until", "status", "trace_id", "span_id", "text")


def read(query: str) -> Parameters:
    return Parameters(Request({"type": "http", "query_string": query.encode(), "headers": []}), *KNOWN)


def ns_of(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * SECOND  # type: ignore[arg-type,misc]  # parts of a date


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T12:30:15Z", ns_of(2026, 3, 1, 12, 30, 15)),
        ("2026-03-01t12:30:15z", ns_of(2026, 3, 1, 12, 30, 15)),
        ("2026-03-01 12:30:15Z", ns_of(2026, 3, 1, 12, 30, 15)),
        ("2026-03-01T12:30:15.5Z", ns_of(2026, 3, 1, 12, 30, 15) + 500_000_000),
        ("2026-03-01T12:30:15.123456789Z", ns_of(2026, 3, 1, 12, 30, 15) + 123_456_789),
        ("2026-03-01T12:30:15.1234567899Z", ns_of(2026, 3, 1, 12, 30, 15) + 123_456_789),
        ("2026-03-01T12:30:15+02:00", ns_of(2026, 3, 1, 10, 30, 15)),
        ("2026-03-01T12:30:15 02:00", ns_of(2026, 3, 1, 10, 30, 15)),
        ("2026-03-01T12:30:15-05:30", ns_of(2026, 3, 1, 18, 0, 15)),
        ("2024-02-29T00:00:00Z", ns_of(2024, 2, 29)),
        ("2016-12-31T23:59:60Z", ns_of(2017, 1, 1)),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * SECOND),
    ],
)
def test_an_rfc_3339_time_is_read_to_the_nanosecond(text: str, time_ns: int) -> None:
    assert parse_rfc_3339(text) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01",
        "2026-03-01T12:30:15",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:60:00Z",
        "2026-03-01T12:00:61Z",
        "2026-03-01T12:00:00+24:00",
        "2026-03-01T12:00:00+02:60",
        "2026-03-01T12:00:00.Z",
        "2026-03-01T12:00:00Z ",
        "٢٠٢٦-03-01T12:00:00Z",
        "now",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    assert parse_rfc_3339(text) is None


@given(st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001 - read as UTC
def test_what_python_writes_is_read_back(moment: datetime) -> None:
    since_1970 = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    time_ns = (since_1970.days * 86_400 + since_1970.seconds) * SECOND + since_1970.microseconds * 1_000
    assert parse_rfc_3339(moment.isoformat() + "Z") == time_ns


@pytest.mark.parametrize(
    ("query", "time_ns"),
    [
        ("since=0", 0),
        ("since=1700000000000000001", 1_700_000_000_000_000_001),
        ("since=-5", -5),
        ("since=9223372036854775808", 2**63 - 1),
        ("since=-9223372036854775809", -(2**63)),
        ("since=9999-12-31T23:59:59Z", 2**63 - 1),
        ("since=", None),
        ("", None),
    ],
)
def test_a_time_is_nanoseconds_or_rfc_3339_and_brought_into_64_bits(query: str, time_ns: int | None) -> None:
    assert read(query).time("since") == time_ns


@pytest.mark.parametrize(("query", "limit"), [("", 100), ("limit=1", 1), ("limit=1000", 1_000), ("limit=", 100)])
def test_a_limit_is_one_to_a_thousand(query: str, limit: int) -> None:
    assert read(query).limit() == limit


@pytest.mark.parametrize(
    ("query", "parameter", "ask"),
    [
        ("limit=0", "limit", lambda query: query.limit()),
        ("limit=1001", "limit", lambda query: query.limit()),
        ("limit=-1", "limit", lambda query: query.limit()),
        ("limit=1e3", "limit", lambda query: query.limit()),
        ("limit=%D9%A3", "limit", lambda query: query.limit()),
        (f"limit={'9' * 5_000}", "limit", lambda query: query.limit()),
        ("since=yesterday", "since", lambda query: query.time("since")),
        (f"since={'9' * 5_000}", "since", lambda query: query.time("since")),
        ("status=done", "status", lambda query: query.choice("status", ("running",))),
        ("trace_id=xyz", "trace_id", lambda query: query.trace_id("trace_id")),
        ("trace_id=0af7651916cd43dd+448eb211c80319c", "trace_id", lambda query: query.trace_id("trace_id")),
        ("span_id=123", "span_id", lambda query: query.span_id("span_id")),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_parameter(query: str, parameter: str, ask: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        ask(read(query))
    assert caught.value.parameter == parameter
    assert parameter in str(caught.value)


def test_a_misspelt_parameter_is_an_error_that_suggests_the_right_one() -> None:
    with pytest.raises(ParameterError, match="did you mean status") as caught:
        read("statsu=failed")
    assert caught.value.parameter == "statsu"


def test_a_parameter_given_twice_is_an_error() -> None:
    with pytest.raises(ParameterError, match="limit is given twice"):
        read("limit=1&limit=2")


def test_ids_are_read_without_regard_to_case() -> None:
    query = read("trace_id=0AF7651916CD43DD8448EB211C80319C&span_id=B7AD6B7169203331")
    assert query.trace_id("trace_id") == "0af7651916cd43dd8448eb211c80319c"
    assert query.span_id("span_id") == "b7ad6b7169203331"


def test_text_is_cleaned_as_stored_text_is() -> None:
    """NUL is stored as U+FFFD, so that is what is looked for; likewise bytes that are no UTF-8."""
    assert read("text=a%00b%FF").text("text") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"
