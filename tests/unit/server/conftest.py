"""The two applications over a store in memory, and clients that speak to them without a socket."""

from collections.abc import AsyncIterator

import httpx
import pytest

from spane_otel.clock import ManualClock
from spane_otel.counters import Counters
from spane_otel.records import Batch, Change, StoreStats, Trace, WriteResult
from spane_otel.server.applications import otlp_application, ui_application
from spane_otel.server.changes import ChangeHub
from spane_otel.server.context import Addresses, ServerContext
from spane_otel.server.intake import Intake
from spane_otel.stores.memory import InMemoryExecutionStore
from tests.rows import ns


class FailingStore(InMemoryExecutionStore):
    """A store in memory that raises `failure` while one is set."""

    failure: BaseException | None = None

    async def write(self, batch: Batch) -> WriteResult:
        self._fail()
        return await super().write(batch)

    async def poll_changes(self, cursor: str | None = None) -> tuple[str, list[Change]]:
        self._fail()
        return await super().poll_changes(cursor)

    async def ping(self) -> None:
        self._fail()
        await super().ping()

    async def stats(self) -> StoreStats:
        self._fail()
        return await super().stats()

    async def get_trace_by_id(self, trace_id: str) -> Trace | None:
        self._fail()
        return await super().get_trace_by_id(trace_id)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(ns(3_600))


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[FailingStore]:
    async with FailingStore(clock=clock) as opened:
        yield opened


@pytest.fixture
async def context(store: FailingStore, clock: ManualClock) -> AsyncIterator[ServerContext]:
    changes = ChangeHub(store, poll_seconds=0.01)
    addresses = Addresses("http://127.0.0.1:4380", "http://127.0.0.1:4318")
    yield ServerContext(store, clock, Counters(), addresses, changes, Intake())
    await changes.aclose()


@pytest.fixture
async def api(context: ServerContext) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the UI port."""
    transport = httpx.ASGITransport(ui_application(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:4380") as client:
        yield client


@pytest.fixture
async def otlp(context: ServerContext) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the OTLP port."""
    transport = httpx.ASGITransport(otlp_application(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:4318") as client:
        yield client
