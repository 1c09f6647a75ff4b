"""Time."""

import time

from spane_otel.clock import SECOND, Clock, ManualClock, SystemClock


def test_the_system_clock_tells_nanoseconds_since_1970() -> None:
    before = time.time_ns()
    assert before <= SystemClock().now_ns() <= time.time_ns()


def test_a_manual_clock_moves_only_by_hand() -> None:
    clock = ManualClock(5 * SECOND)
    assert clock.now_ns() == clock.now_ns() == 5 * SECOND
    clock.advance(0.25)
    assert clock.now_ns() == 5_250_000_000


def test_both_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), ManualClock()]
    assert all(isinstance(clock.now_ns(), int) for clock in clocks)
