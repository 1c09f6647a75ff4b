"""Durations, offsets and counts in words."""

import pytest

from spane_otel.traces.wording import age, count, counted, duration, offset

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (7, "7 ns"),
        (6_400, "6.4 µs"),
        (640_000, "640 µs"),
        (6_400_000, "6.4 ms"),
        (28_400_000, "28 ms"),
        (999_999_999, "999 ms"),
        (SECOND, "1.00 s"),
        (38_640_000_000, "38.64 s"),
        (59_999_999_999, "59.99 s"),
        (64 * SECOND, "1 m 04 s"),
        (3_599 * SECOND, "59 m 59 s"),
        (7_980 * SECOND, "2 h 13 m"),
        (76 * 3_600 * SECOND, "3 d 4 h"),
        (2**63 - 1, "106,751 d 23 h"),
    ],
)
def test_duration(ns: int, words: str) -> None:
    assert duration(ns) == words


@pytest.mark.parametrize(
    ("ns", "words"), [(9_104_000_000, "9.10 s"), (28_640_000_000, "28.6 s"), (64 * SECOND, "1 m 04 s")]
)
def test_a_number_that_ticks_has_three_digits_at_most(ns: int, words: str) -> None:
    assert duration(ns, running=True) == words


@pytest.mark.parametrize(
    ("ns", "total", "words"),
    [
        (23_612_000_000, 38 * SECOND, "+23.612 s"),
        (4_612_000, 38 * SECOND, "+0.004 s"),
        (4_612_000, 900_000_000, "+4.612 ms"),
        (-1_500_000_000, 38 * SECOND, "\N{MINUS SIGN}1.500 s"),
        (3_600 * SECOND, 4_000 * SECOND, "+3,600.000 s"),
    ],
)
def test_offset(ns: int, total: int, words: str) -> None:
    assert offset(ns, total) == words


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (5, "now"),
        (47 * SECOND, "47 s ago"),
        (200 * SECOND, "3 min ago"),
        (7_300 * SECOND, "2 h ago"),
        (86_400 * 5 * SECOND, "5 d ago"),
    ],
)
def test_age(ns: int, words: str) -> None:
    assert age(ns) == words


def test_counts() -> None:
    assert count(1_431) == "1,431"
    assert counted(1, "span") == "1 span"
    assert counted(2_000, "span") == "2,000 spans"
