"""What a seed asks for."""

from collections import Counter

import pytest

from spane_otel.demo.analysis import FIRST_SEED, draw_analysis

PACKAGES = ["asyncio", "email", "http", "json", "lib2to3", "test", "test.data", "test.tokenizedata", "xml"]
BROKEN = "test.tokenizedata"


def test_the_same_seed_asks_for_the_same() -> None:
    assert draw_analysis(7, "/lib", PACKAGES, BROKEN) == draw_analysis(7, "/lib", PACKAGES, BROKEN)
    assert draw_analysis(7, "/lib", PACKAGES, BROKEN) != draw_analysis(8, "/lib", PACKAGES, BROKEN)


@pytest.mark.parametrize("quick", [True, False])
def test_eight_seeds_in_a_row_hold_every_kind(quick: bool) -> None:
    drawn = [draw_analysis(FIRST_SEED + number, "/lib", PACKAGES, BROKEN, quick=quick) for number in range(8)]
    broken = Counter(each.on_broken_file for each in drawn if BROKEN in each.packages)
    assert broken == {"fail_package": 2, "fail_fast": 1, "skip_file": 2}
    assert sum(each.deadline_s is not None for each in drawn) == 1


def test_the_first_seed_loses_a_package_and_completes() -> None:
    """`demo --once` runs it: it shows a failed input and still exits with 0."""
    analysis = draw_analysis(FIRST_SEED, "/lib", PACKAGES, BROKEN, quick=True)
    assert (analysis.on_broken_file, analysis.deadline_s) == ("fail_package", None)
    assert analysis.seed == 2**53 + 1


def test_the_librarys_tests_and_packages_that_may_hold_broken_files_are_no_ordinary_ones() -> None:
    drawn = [draw_analysis(seed, "/lib", PACKAGES, BROKEN) for seed in range(40)]
    assert {name for each in drawn for name in each.packages} == set(PACKAGES) - {"lib2to3", "test", "test.data"}
