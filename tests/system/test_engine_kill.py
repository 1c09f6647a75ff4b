"""SIGKILL of a process that runs executions: each comes to its end, and no node whose result is written runs again."""

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from spane_otel.state import AuditEntry, NodeResult
from spane_otel.stores.postgres import PostgresExecutionStore

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

EXECUTIONS = 50
KILLS = 20
PROGRAM = Path(__file__).with_name("engine_program.py")


class Program:
    """One life of the program."""

    def __init__(self, url: str, notes: Path) -> None:
        command = [sys.executable, str(PROGRAM), url, str(notes), str(EXECUTIONS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.is_ready, self.is_done = threading.Event(), threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            (self.is_done if line.strip() == "done" else self.is_ready).set()
        self.is_ready.set()

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> int:
        code = self.process.wait(60)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


Key = tuple[str, str, int]
"""Execution, node, attempt."""


def test_no_node_whose_result_is_written_runs_again_after_sigkill(migrated_postgres_url: str, tmp_path: Path) -> None:
    """Fifty executions of branches, retries, waits and sub-workflows; the process is killed twenty times."""
    seeded = random.Random(20)
    notes = tmp_path / "notes"
    kills = 0
    for _ in range(KILLS):
        program = Program(migrated_postgres_url, notes)
        assert program.is_ready.wait(60)
        time.sleep(seeded.uniform(0.0, 0.12))  # when it strikes is the experiment, not a wait for something
        kills += not program.is_done.is_set()
        program.kill()
    last = Program(migrated_postgres_url, notes)
    assert last.is_done.wait(120), "not every execution has come to its end"
    assert last.close() == 0
    assert kills >= KILLS - 2, "inconclusive: the executions had ended before the process was killed"
    begun = read_notes(notes)
    entries, results = asyncio.run(read_store(migrated_postgres_url))
    judge(begun, entries, results)


def read_notes(path: Path) -> dict[Key, list[int]]:
    """Return when each attempt began, as often as it did."""
    begun: dict[Key, list[int]] = {}
    for line in path.read_text().splitlines():
        what, execution_id, node_id, attempt, at_ns, _ = line.split()
        if what == "begin":
            begun.setdefault((execution_id, node_id, int(attempt)), []).append(int(at_ns))
    return begun


async def read_store(url: str) -> tuple[list[AuditEntry], list[NodeResult]]:
    """Return every audit entry and every attempt, having looked at how each execution has ended."""
    entries: list[AuditEntry] = []
    results: list[NodeResult] = []
    async with PostgresExecutionStore(url) as store:
        executions = await store.list_executions(limit=1_000)
        assert Counter(each.workflow_id for each in executions) == {"outer": EXECUTIONS, "inner": EXECUTIONS}
        for each in executions:
            is_tenth = each.workflow_id == "outer" and each.execution_id.endswith("0")
            assert (each.status, each.error) == (("failed", "every tenth") if is_tenth else ("completed", None))
            entries += await store.list_audit(each.execution_id, limit=1_000)
            for node_id in await store.get_node_results(each.execution_id):
                results += await store.list_node_attempts(each.execution_id, node_id)
    return entries, results


def judge(begun: dict[Key, list[int]], entries: list[AuditEntry], results: list[NodeResult]) -> None:
    """Hold what ran against what was written when."""
    ends = Counter(each.execution_id for each in entries if each.change == "status")
    assert set(ends.values()) == {1}, "an execution came to its end twice"
    assert len(ends) == 2 * EXECUTIONS
    written = {
        (each.execution_id, each.node_id or "", each.attempt or 0): each.changed_ns
        for each in entries
        if each.change == "node_result"
    }
    assert len(written) == sum(each.change == "node_result" for each in entries), "a result was written twice"
    assert set(written) == {(each.execution_id, each.node_id, each.attempt) for each in results}
    for key, times in begun.items():
        assert key in written, f"it ran and left no result: {key}"
        late = [at_ns for at_ns in times if at_ns > written[key]]
        assert not late, f"it ran again although its result was written: {key}"
    assert sum(len(times) for times in begun.values()) > len(begun), "inconclusive: nothing was cut short"
    assert not any(node_id == "skipped" for _, node_id, _ in begun)
