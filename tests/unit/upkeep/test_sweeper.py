"""The sweeper sweeps until it is told to stop, whatever its store does."""

import asyncio
import logging

import pytest

from spane_otel.errors import ConfigurationError, StoreUnavailableError
from spane_otel.upkeep.sweeper import BATCH, Sweeper

SOON = 0.001


class Due:
    """A store with executions whose time is up, and what it says at each sweep."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self._answers = list(answers)
        self.sweeps = 0
        self.done = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def sweep_timeouts(self, limit: int = 1_000) -> list[str]:
        self.sweeps += 1
        if self.gate is not None:
            await self.gate.wait()
        if not self._answers:
            self.done.set()
            return []
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert len(answer) <= limit
        return answer


async def test_it_sweeps_at_once_and_then_each_interval() -> None:
    store = Due(["a"], [], ["b", "c"])
    async with Sweeper(store, SOON) as sweeper, asyncio.timeout(5):
        await store.done.wait()
        assert sweeper.failed == 3
    sweeps = store.sweeps
    await asyncio.sleep(5 * SOON)
    assert store.sweeps == sweeps


async def test_a_long_list_is_swept_in_one_turn() -> None:
    store = Due([str(number) for number in range(BATCH)], ["last"])
    sweeper = Sweeper(store)
    assert len(await sweeper.sweep()) == BATCH + 1
    assert store.sweeps == 2


@pytest.mark.parametrize("error", [StoreUnavailableError("no answer"), RuntimeError("a bug")])
async def test_it_survives_its_store_and_says_so_once(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "spane_otel")
    store = Due(error, ["a"])
    async with Sweeper(store, SOON) as sweeper, asyncio.timeout(5):
        await store.done.wait()
        assert sweeper.failed == 1
    assert len(caplog.records) == 2
    assert caplog.records[1].message == "time-outs are swept again"


async def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "spane_otel")
    store = Due(*(StoreUnavailableError("no answer") for _ in range(5)))
    async with Sweeper(store, SOON), asyncio.timeout(5):
        await store.done.wait()
    assert len(caplog.records) == 2


async def test_it_stops_in_the_middle_of_a_sweep_and_twice() -> None:
    store = Due()
    store.gate = asyncio.Event()
    sweeper = Sweeper(store)
    sweeper.start()
    sweeper.start()
    await asyncio.sleep(0)
    assert store.sweeps == 1
    await sweeper.aclose()
    await sweeper.aclose()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "spane-sweeper"] == []


@pytest.mark.parametrize("interval", [0, -1.0])
def test_an_interval_must_be_above_0(interval: float) -> None:
    with pytest.raises(ConfigurationError):
        Sweeper(Due(), interval)
