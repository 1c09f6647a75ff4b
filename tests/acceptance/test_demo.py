"""`spane-otel demo`: a service that fills itself."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.service_process import ServiceProcess


@pytest.mark.system
@pytest.mark.parametrize("killed", [False, True])
def test_the_demo_keeps_starting_executions_and_leaves_no_process_behind(killed: bool) -> None:
    """Stopped or killed, the service takes the workflow's process with it."""
    with ServiceProcess("--store", "memory", command="demo") as service:
        statuses = await_statuses(service, {"completed", "failed", "cancelled"})
        (child,) = children(service.process.pid)
        if killed:
            service.kill()
        else:
            assert service.stop() == 0
    assert {"completed", "failed", "cancelled"} <= statuses
    deadline = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.system
def test_the_demo_keeps_its_state_in_the_services_database_and_goes_on_with_a_second_version(
    migrated_postgres_url: str,
) -> None:
    environ = {"SPANE_DATABASE_URL": migrated_postgres_url}
    with ServiceProcess("--store", "postgres", command="demo", environ=environ) as service:
        await_statuses(service, {"completed", "failed", "cancelled"})
        (child,) = children(service.process.pid)
        arguments = Path(f"/proc/{child}/cmdline").read_text()
        deadline = time.monotonic() + 60
        while {each["workflow_version"] for each in executions(service)} != {1, 2}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        completed = next(each for each in executions(service) if each["status"] == "completed")
        trace = service.get(f"/api/v1/executions/{completed['execution_id']}/trace")
        assert service.stop() == 0
    assert migrated_postgres_url not in arguments
    assert completed["origin"] == "api"
    assert completed["counts"]["nodes_done"] == completed["counts"]["nodes_total"]
    assert {"discover_files", "write_index", "render_report"} <= {span["node_id"] for span in trace["spans"]}


def executions(service: ServiceProcess) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = service.get("/api/v1/executions?workflow_id=analyse_stdlib&limit=1000")["items"]
    return items


def await_statuses(service: ServiceProcess, wanted: set[str]) -> set[str]:
    """Wait until executions of every wanted status are listed; return the statuses seen."""
    deadline = time.monotonic() + 60
    while True:
        page: dict[str, Any] = service.get("/api/v1/executions?limit=1000")
        seen = {item["status"] for item in page["items"]}
        if wanted <= seen or time.monotonic() > deadline:
            return seen
        time.sleep(0.2)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
