"""Telemetry over OTLP to our own service: the same as straight into its store."""

from collections.abc import AsyncIterator

import pytest
from opentelemetry import trace

from spane_otel import InMemoryExecutionStore, aflush, configure, execution, log, node
from spane_otel.server.service import Service
from spane_otel.telemetry import shutdown
from spane_otel.telemetry.process import PROCESS


@pytest.fixture
async def store() -> AsyncIterator[InMemoryExecutionStore]:
    """The store of a service that this process is recorded to."""
    async with InMemoryExecutionStore() as store, Service(store, port=0, otlp_http_port=0) as addresses:
        configure("shop", endpoint=addresses.otlp)
        yield store
        await aflush()
        shutdown(5.0)


async def test_running_work_is_visible_and_ends_in_place(store: InMemoryExecutionStore) -> None:
    with execution("order", input=[1]) as run, node("pay"):
        log("hello", level="warn", amount=2**60)
        assert await aflush()
        stored = await store.get_execution(run.execution_id)
        found = await store.get_trace(run.execution_id)
        assert stored is not None
        assert found is not None
        assert (stored.status, stored.initial_data, stored.abandoned_since_ns) == ("running", [1], None)
        assert [span.state for span in found.spans] == ["running", "running"]
        with trace.get_tracer("lib").start_as_current_span("call"):
            pass
        run.set_result("done")
    assert await aflush()
    stored = await store.get_execution(run.execution_id)
    found = await store.get_trace(run.execution_id)
    assert stored is not None
    assert found is not None
    assert (stored.status, stored.result) == ("completed", "done")
    assert [(span.name, span.node_id, span.state) for span in found.spans] == [
        ("order", None, "completed"),
        ("pay", "pay", "completed"),
        ("call", "pay", "completed"),
    ]
    assert "spane.process.id" not in found.resources[0].attributes
    (record,) = await store.get_logs(run.execution_id)
    assert (record.body, record.level, record.node_id, record.attributes["amount"]) == ("hello", "warn", "pay", 2**60)


async def test_what_is_counted_here_adds_up_with_what_the_service_holds(store: InMemoryExecutionStore) -> None:
    for number in range(700):
        with execution("order", input=number):
            log("x")
    assert await aflush(20.0)
    assert PROCESS.pipeline is not None
    counters = PROCESS.pipeline.worker.counters
    held = await store.stats()
    assert counters.get("logs", "stored") == held.logs == 700
    assert counters.get("spans", "stored") >= held.spans == 700
    assert counters.buffered("spans") == counters.buffered("logs") == 0
