"""SIGKILL of a traced process: its open execution is shown running, then abandoned, and since when."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service_process import ServiceProcess

pytestmark = pytest.mark.system

PROGRAM = Path(__file__).with_name("abandoned_program.py")


def wait_until(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.1)  # another process works; there is nothing to await
    raise AssertionError(f"not within {seconds} s")


@pytest.mark.parametrize("which", ["store", "endpoint"])
def test_a_killed_process_leaves_an_execution_that_is_abandoned_within_a_minute(
    which: str, migrated_postgres_url: str
) -> None:
    environ = {"SPANE_DATABASE_URL": migrated_postgres_url}
    with ServiceProcess("--store", "postgres", environ=environ) as service:
        url = migrated_postgres_url if which == "store" else service.otlp
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANE_"))}
        child = subprocess.Popen(
            [sys.executable, str(PROGRAM), which, url], stdout=subprocess.PIPE, text=True, env=kept
        )
        try:
            assert child.stdout is not None
            execution_id = child.stdout.readline().strip()
            path = f"/api/v1/executions/{execution_id}"
            execution = wait_until(lambda: service.get(path), 5)
            assert execution["status"] == "running"
            assert execution["abandoned_since_ns"] is None
            spans = wait_until(lambda: open_nodes(service.get(f"{path}/trace")), 5)
            assert spans == ["running"]
        finally:
            child.kill()
            child.communicate(timeout=10)
        killed_ns = time.time_ns()

        def abandoned() -> Any:
            execution = service.get(path)
            return execution if execution["abandoned_since_ns"] is not None else None

        execution = wait_until(abandoned, 60)
        assert abs(int(execution["abandoned_since_ns"]) - killed_ns) < 20_000_000_000
        assert open_nodes(service.get(f"{path}/trace")) == ["abandoned"]
        listed = service.get("/api/v1/executions?status=abandoned")
        assert [item["execution_id"] for item in listed["items"]] == [execution_id]
        with urllib.request.urlopen(f"{service.ui}/executions/{execution_id}") as page:
            html = page.read().decode()
        assert "Abandoned" in html
        assert "last heartbeat" in html


def open_nodes(trace: Any) -> list[str]:
    return [span["state"] for span in trace["spans"] if span["node_id"] == "wait"]
