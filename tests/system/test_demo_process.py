"""The demo as a process of its own: it shows running work, and ends with whoever started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service_process import ServiceProcess

pytestmark = pytest.mark.system


@pytest.fixture
def service() -> Iterator[ServiceProcess]:
    with ServiceProcess("--store", "memory") as service:
        yield service


def start_demo(service: ServiceProcess, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "spane_otel.demo", service.otlp, "--ui", service.ui],
        env={**os.environ, "TMPDIR": str(folder)},  # a killed demo leaves its files behind
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def await_executions(service: ServiceProcess, wanted: Callable[[set[str]], bool]) -> set[str]:
    """Return the statuses of top executions once they are as wanted."""
    deadline = time.monotonic() + 60
    while True:
        items = service.get("/api/v1/executions?workflow_id=analyse_stdlib&limit=1000")["items"]
        statuses = {item["status"] for item in items}
        if wanted(statuses):
            return statuses
        assert time.monotonic() < deadline, statuses
        time.sleep(0.1)


def test_every_outcome_is_on_the_page_within_a_minute_while_something_runs(
    service: ServiceProcess, tmp_path: Path
) -> None:
    demo = start_demo(service, tmp_path)
    try:
        await_executions(service, lambda statuses: statuses >= {"running", "completed", "failed", "cancelled"})
    finally:
        demo.kill()
        demo.communicate()


@pytest.mark.parametrize("how", ["closed input", "SIGTERM"])
def test_what_runs_is_cancelled_and_committed_when_it_is_told_to_stop(
    service: ServiceProcess, tmp_path: Path, how: str
) -> None:
    demo = start_demo(service, tmp_path)
    try:
        await_executions(service, lambda statuses: "running" in statuses)
        if how == "SIGTERM":
            demo.send_signal(signal.SIGTERM)
        else:
            assert demo.stdin is not None
            demo.stdin.close()
        assert demo.wait(30) == 0
    finally:
        demo.kill()
        demo.communicate()
    assert list(tmp_path.iterdir()) == []
    assert "cancelled" in await_executions(service, lambda statuses: "running" not in statuses)
