"""What a running service does for its store besides answering."""

import asyncio
import time
import urllib.request
from typing import Any

from spane_otel.clock import SystemClock
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.service_process import ServiceProcess


def wait_for(service: ServiceProcess, execution_id: str, status: str) -> Any:
    """Return the execution once it has this status."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        execution = service.get(f"/api/v1/executions/{execution_id}")
        if execution is not None and execution["status"] == status:
            return execution
        time.sleep(0.05)
    raise AssertionError(f"not {status}: {execution}")


async def start_executions(url: str) -> None:
    async with PostgresExecutionStore(url) as store:
        now_ns = SystemClock().now_ns()
        for execution_id, timeout_ns in (("late", now_ns - 1), ("soon", now_ns + 10**9), ("in time", now_ns + 10**13)):
            await store.create_execution("w", execution_id=execution_id)
            await store.set_execution_timeout(execution_id, timeout_ns)


def test_a_service_fails_executions_whose_time_is_up(migrated_postgres_url: str) -> None:
    asyncio.run(start_executions(migrated_postgres_url))
    environ = {"SPANE_DATABASE_URL": migrated_postgres_url, "SPANE_SWEEP_SECONDS": "0.1"}
    with ServiceProcess(environ=environ) as service:
        for execution_id in ("late", "soon"):
            assert wait_for(service, execution_id, "failed")["error"] == "timeout"
        assert service.get("/api/v1/executions/in%20time")["status"] == "running"
        assert service.stop() == 0
        assert not any("Traceback" in line for line in service.errors), service.errors


def test_a_service_reads_through_the_redis_that_is_named(migrated_postgres_url: str, redis_url: str) -> None:
    asyncio.run(start_executions(migrated_postgres_url))
    environ = {"DATABASE_URL": migrated_postgres_url, "REDIS_URL": redis_url}
    with ServiceProcess(environ=environ) as service:
        assert service.get("/api/v1/executions/late") is not None
        with urllib.request.urlopen(f"{service.ui}/metrics", timeout=10) as response:
            figures = response.read().decode()
        assert 'spane_cache_requests_total{result="miss"} 1\n' in figures
        assert service.stop() == 0
        assert f"spane-otel: what is over is read through {redis_url}\n" in service.errors
