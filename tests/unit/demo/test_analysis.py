"""What a seed asks for."""

from collections import Counter

import pytest

from spane_otel.demo.analysis import FIRST_SEED, draw_analysis
from spane_otel.demo.sources import BROKEN_PACKAGE

PACKAGES = ["asyncio", "email", "http", "json", "test", "test.data", "test.tokenizedata", "xml"]


def test_the_same_seed_asks_for_the_same() -> None:
    assert draw_analysis(7, "/lib", PACKAGES) == draw_analysis(7, "/lib", PACKAGES)
    assert draw_analysis(7, "/lib", PACKAGES) != draw_analysis(8, "/lib", PACKAGES)


@pytest.mark.parametrize("quick", [True, False])
def test_eight_seeds_in_a_row_hold_every_kind(quick: bool) -> None:
    drawn = [draw_analysis(FIRST_SEED + number, "/lib", PACKAGES, quick=quick) for number in range(8)]
    broken = Counter(each.on_broken_file for each in drawn if "test.tokenizedata" in each.packages)
    assert broken == {"fail_package": 2, "fail_fast": 1, "skip_file": 2}
    assert sum(each.deadline_s is not None for each in drawn) == 1


def test_the_first_seed_loses_a_package_and_completes() -> None:
    """`demo --once` runs it: it shows a failed input and still exits with 0."""
    analysis = draw_analysis(FIRST_SEED, "/lib", PACKAGES, quick=True)
    assert (analysis.on_broken_file, analysis.deadline_s) == ("fail_package", None)
    assert analysis.seed == 2**53 + 1


def test_without_unparsable_files_in_the_library_our_own_package_joins() -> None:
    assert BROKEN_PACKAGE in draw_analysis(FIRST_SEED, "/lib", ["json", "xml"]).packages


def test_the_tests_of_the_library_are_not_among_the_ordinary_packages() -> None:
    drawn = [draw_analysis(seed, "/lib", PACKAGES) for seed in range(40)]
    assert {name for each in drawn for name in each.packages} == set(PACKAGES) - {"test", "test.data"}
