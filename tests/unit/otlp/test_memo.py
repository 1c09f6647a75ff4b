"""The memo of attributes: never a different answer, never beyond its bounds."""

import pytest

from spane_otel.otlp import attributes
from spane_otel.otlp.attributes import AttributeMemo
from tests.unit.otlp.requests import number, text


def test_what_does_not_repeat_stops_being_remembered() -> None:
    """A key with a new value each time keeps its first values and costs the others nothing."""
    memo = AttributeMemo()
    for index in range(3 * attributes.REMEMBERED_VALUES):
        assert memo[text("url.full", f"/{index}").SerializeToString()] == ("url.full", f'"url.full":"/{index}"')
    assert memo[number("status", 200).SerializeToString()] == ("status", '"status":200')
    assert len(memo) == attributes.REMEMBERED_VALUES + 1


def test_the_memo_is_bounded_in_bytes() -> None:
    """Keys without end, as an attacker sends them, never fill more than the bound."""
    memo = AttributeMemo(max_bytes=50_000)
    for index in range(5_000):
        memo[text(f"key-{index}", "v" * 100).SerializeToString()]
        assert memo.bytes <= 51_000
    assert len(memo) < 200


def test_a_long_value_is_not_remembered() -> None:
    memo = AttributeMemo()
    memo[text("k", "x" * 300).SerializeToString()]
    assert len(memo) == 0


@pytest.mark.parametrize("value", [b"\x0a\x02\x0a\x00\x12\x03\x0a\x01a", b"\x0a\x01k\x12\x03\x0a\x01\xff"])
def test_a_repair_counts_each_time(value: bytes) -> None:
    """What was repaired is repaired anew: the count of repaired spans is one of deliveries."""
    memo = AttributeMemo()
    for _ in range(3):
        before = memo.encoder.repairs
        member = memo[value]
        if "\ufffd" in member[1]:
            assert memo.encoder.repairs > before
            assert value not in memo


def test_requests_under_other_limits_share_no_memo() -> None:
    """A memo holds text made under its own limits."""
    from spane_otel.values import Limits

    with attributes.borrow_memo(Limits()) as first:
        pass
    with attributes.borrow_memo(Limits(value_bytes=10)) as second:
        assert second is not first
        assert second.encoder.limits.value_bytes == 10
