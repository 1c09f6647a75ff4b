"""The demo as a process of its own: it shows running work, and ends with whoever started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service_process import ServiceProcess

pytestmark = pytest.mark.system


@pytest.fixture
def service() -> Iterator[ServiceProcess]:
    with ServiceProcess("--store", "memory") as service:
        yield service


def start_demo(service: ServiceProcess, folder: Path, url: str | None = None) -> subprocess.Popen[bytes]:
    """Start a demo whose state is in its memory, or in the database at `url`."""
    database = {} if url is None else {"SPANE_DATABASE_URL": url}
    return subprocess.Popen(
        [sys.executable, "-m", "spane_otel.demo", service.otlp, "--ui", service.ui],
        env={**os.environ, "TMPDIR": str(folder), **database},  # a killed demo leaves its files behind
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def await_executions(service: ServiceProcess, wanted: Callable[[set[str]], bool]) -> set[str]:
    """Return the statuses of top executions once they are as wanted."""
    deadline = time.monotonic() + 60
    while True:
        statuses = {item["status"] for item in top_executions(service)}
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


def test_what_a_killed_demo_was_running_is_brought_to_its_end_by_the_next_one(
    migrated_postgres_url: str, tmp_path: Path
) -> None:
    """Its state is in the database, and its files are where they were."""
    environ = {"SPANE_DATABASE_URL": migrated_postgres_url}
    with ServiceProcess("--store", "postgres", environ=environ) as service:
        killed = start_demo(service, tmp_path, migrated_postgres_url)
        try:
            await_executions(service, lambda statuses: statuses >= {"running", "completed"})
        finally:
            killed.kill()
            killed.communicate()
        left = [each["execution_id"] for each in top_executions(service) if each["status"] == "running"]
        folders = [Path(service.get(f"/api/v1/executions/{each}")["initial_data"]["folder"]) for each in left]
        assert folders
        assert all(folder.is_dir() for folder in folders)
        following = start_demo(service, tmp_path, migrated_postgres_url)
        try:
            deadline = time.monotonic() + 90
            while not has_ended(service, left) or any(folder.exists() for folder in folders):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        finally:
            following.send_signal(signal.SIGTERM)
            assert following.wait(30) == 0
            following.communicate()
        ended = [service.get(f"/api/v1/executions/{execution_id}") for execution_id in left]
    assert all(len(each["trace_ids"]) == 1 for each in ended)
    assert {each["status"] for each in ended} <= {"completed", "failed"}


def top_executions(service: ServiceProcess) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = service.get("/api/v1/executions?workflow_id=analyse_stdlib&limit=1000")["items"]
    return items


def has_ended(service: ServiceProcess, execution_ids: list[str]) -> bool:
    ended = {each["execution_id"] for each in top_executions(service) if each["ended_ns"] is not None}
    return ended.issuperset(execution_ids)
