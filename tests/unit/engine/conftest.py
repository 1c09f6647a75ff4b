"""An engine for each test, and nothing of it left afterwards."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from spane_otel.engine import WorkflowEngine
from spane_otel.telemetry import shutdown
from tests.unit.engine.lab import Lab


@pytest.fixture(autouse=True)
def _nothing_configured() -> Iterator[None]:
    yield
    shutdown(2.0)


@pytest.fixture(autouse=True)
async def _nothing_hangs() -> AsyncIterator[None]:
    """A test that waits for what never comes fails after seconds."""

    def stop() -> None:
        for task in asyncio.all_tasks(loop):
            if getattr(task.get_coro(), "__name__", "").startswith("test_"):
                task.cancel("the test has taken too long")

    loop = asyncio.get_running_loop()
    timer = loop.call_later(10, stop)
    yield
    timer.cancel()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    lab = Lab()
    yield lab
    for engine in lab.engines:
        await engine.aclose(0.0)


@pytest.fixture
def engine(lab: Lab) -> WorkflowEngine:
    return lab.engine()
