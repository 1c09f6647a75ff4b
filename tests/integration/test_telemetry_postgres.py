"""Telemetry into a real PostgreSQL: from the traced code to what a reader sees."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace

from spane_otel import PostgresExecutionStore, aflush, configure, execution, log, node
from spane_otel.telemetry import shutdown


@pytest.fixture(autouse=True)
def _nothing_configured() -> Iterator[None]:
    yield
    shutdown(5.0)


async def test_an_execution_with_all_that_happens_inside_is_read_back(migrated_postgres_url: str) -> None:
    configure("shop", store=migrated_postgres_url)
    with execution("order", input={"amount": 2**53 + 1}, version="7") as run:
        with node("pay", input="card") as step, trace.get_tracer("lib").start_as_current_span("POST /pay"):
            logging.getLogger("shop").error("declined\x00 once")
            step.set_result({"receipt": 1})
        with pytest.raises(LookupError), node("ship"):
            raise LookupError("no address")
        run.set_result("paid")
    assert await aflush(20.0)
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        stored = await store.get_execution(run.execution_id)
        found = await store.get_trace(run.execution_id)
        logs = await store.get_logs(run.execution_id)
        counts = (await store.count_telemetry([run.execution_id]))[run.execution_id]
    assert stored is not None
    assert (stored.status, stored.workflow_id, stored.version_label) == ("completed", "order", "7")
    assert (stored.initial_data, stored.result) == ({"amount": 2**53 + 1}, "paid")
    assert found is not None
    assert [(span.name, span.node_id, span.state) for span in found.spans] == [
        ("order", None, "completed"),
        ("pay", "pay", "completed"),
        ("POST /pay", "pay", "completed"),
        ("ship", "ship", "failed"),
    ]
    root, pay, call, ship = found.spans
    assert [span.parent_span_id for span in found.spans] == [None, root.span_id, pay.span_id, root.span_id]
    assert found.scopes[call.scope].name == "lib"
    assert ship.events[0]["attributes"]["exception.message"] == "no address"
    (record,) = logs
    assert (record.body, record.level, record.node_id, record.span_id) == (
        "declined\ufffd once",
        "error",
        "pay",
        call.span_id,
    )
    assert (counts.spans, counts.errors, counts.logs, counts.nodes_done) == (4, 1, 1, 2)


async def test_running_work_is_visible_and_ends_in_place(migrated_postgres_url: str) -> None:
    configure("shop", store=migrated_postgres_url)
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        with execution("order") as run, node("pay"):
            assert await aflush(20.0)
            stored = await store.get_execution(run.execution_id)
            found = await store.get_trace(run.execution_id)
            assert stored is not None
            assert found is not None
            assert (stored.status, stored.ended_ns) == ("running", None)
            assert [(span.name, span.state) for span in found.spans] == [("order", "running"), ("pay", "running")]
        assert await aflush(20.0)
        stored = await store.get_execution(run.execution_id)
        found = await store.get_trace(run.execution_id)
        assert stored is not None
        assert found is not None
        assert stored.status == "completed"
        assert [(span.name, span.state) for span in found.spans] == [("order", "completed"), ("pay", "completed")]


async def test_a_store_object_serves_the_program_and_the_worker_at_once(migrated_postgres_url: str) -> None:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        configure("shop", store=store)

        async def work(number: int) -> str:
            async with execution("order", input=number) as run:
                log("working")
                await asyncio.sleep(0)
                assert await store.get_execution_count() >= 0
                return run.execution_id

        ids = await asyncio.gather(*(work(number) for number in range(20)))
        assert await aflush(20.0)
        assert await store.get_execution_count("order") == 20
        for execution_id in ids:
            assert [record.body for record in await store.get_logs(execution_id)] == ["working"]
