"""Work within a share of a core."""

import pytest

from spane_otel.demo.pace import Pace


class Machine:
    """A clock that only sleeping and working move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used = 0.0

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
async def test_over_many_slices_the_work_is_the_share_of_the_time(share: float) -> None:
    machine = Machine()
    pace = Pace(share, used=lambda: machine.used, now=lambda: machine.now, sleep=machine.sleep)
    for slice_s in (0.01, 0.002, 0.03) * 10:
        machine.work(slice_s)
        await pace.rest()
    assert machine.used / machine.now == pytest.approx(share)


async def test_time_that_others_kept_the_loop_idle_is_not_paid_for() -> None:
    machine = Machine()
    pace = Pace(0.5, used=lambda: machine.used, now=lambda: machine.now, sleep=machine.sleep)
    machine.now += 100
    machine.work(0.01)
    await pace.rest()
    assert machine.now == pytest.approx(100.02)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share of a core"):
        Pace(share)
