"""The code that README shows does what README says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service_process import ServiceProcess

README = Path(__file__).parents[2] / "README.md"


def examples() -> list[str]:
    """The code of the page: of an instrumented program, and of one with an engine."""
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def run_example(number: int, folder: Path, endpoint: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPANE_", "OTEL_"))}
    done = subprocess.run(
        [sys.executable, "-c", examples()[number]],
        cwd=folder,
        env={**kept, "SPANE_ENDPOINT": endpoint},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_an_instrumented_program_has_about_twenty_lines() -> None:
    assert len(examples()[0].splitlines()) <= 24


def test_the_workflow_on_the_engine_prints_what_the_page_says(tmp_path: Path) -> None:
    assert len(examples()) == 2
    printed = run_example(1, tmp_path, "http://127.0.0.1:9").rstrip("\n")
    assert f"It prints `{printed}`" in README.read_text(encoding="utf-8")


def test_the_example_is_seen_as_an_execution_with_nodes_arguments_and_log_lines(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "one.txt").write_bytes(b"1\n")
    with ServiceProcess("--store", "memory") as service:
        assert run_example(0, tmp_path, service.otlp) == "committed\n"
        (listed,) = service.get("/api/v1/executions")["items"]
        address = f"/api/v1/executions/{listed['execution_id']}"
        execution = service.get(address)
        trace = service.get(f"{address}/trace")
        logs = service.get(f"{address}/logs")["items"]
    assert (execution["workflow_id"], execution["status"]) == ("hash_folder", "completed")
    assert execution["initial_data"] == {"folder": str(tmp_path)}
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert execution["result"]["empty.txt"] == empty
    nodes = [span for span in trace["spans"] if span["node_id"] == "hash_file"]
    assert [node["attributes"]["spane.node.iteration"] for node in nodes] == [0, 1]
    assert nodes[0]["attributes"]["spane.output"] == f'"{empty}"'
    assert [(log["node_id"], log["level"], log["body"]) for log in logs] == [
        ("hash_file", "info", f"hashing {tmp_path / name}") for name in ("empty.txt", "one.txt")
    ]
    assert {log["span_id"] for log in logs} == {node["span_id"] for node in nodes}


@pytest.mark.system
def test_the_example_says_so_when_nobody_listens(tmp_path: Path) -> None:
    """It takes the whole patience of `flush`."""
    assert run_example(0, tmp_path, "http://127.0.0.1:9").startswith("not committed")
