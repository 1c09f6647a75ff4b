"""A program that ends: by itself, by an exception, with a child. What it did is in the database."""

import contextlib
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pytest

from spane_otel import PostgresExecutionStore
from spane_otel.records import Execution


def run_program(program: str, *arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPANE_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Relay(socketserver.ThreadingTCPServer):
    """Passes TCP connections on to PostgreSQL, which the tests reach through a socket in a folder."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _RelayHandler)
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self.path = f"{query['host']}/.s.PGSQL.{query.get('port', '5432')}"
        self.url = urlunsplit(parts._replace(netloc=f"{parts.username}@localhost:{self.server_address[1]}", query=""))


class _RelayHandler(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as target:
            target.connect(self.server.path)
            back = threading.Thread(target=pump, args=(target, self.request))
            back.start()
            pump(self.request, target)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def named_postgres_url(migrated_postgres_url: str) -> Iterator[str]:
    """The database again, at a host name that has to be resolved."""
    with Relay(migrated_postgres_url) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield relay.url
        relay.shutdown()
        thread.join()


async def executions(url: str) -> dict[str | None, Execution]:
    async with PostgresExecutionStore(url) as store:
        return {each.workflow_id: each for each in await store.list_executions()}


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("pass", 0, "completed"),
        ("sys.exit(3)", 3, "failed"),
        ("sys.exit()", 0, "completed"),
        ("raise ValueError('no')", 1, "failed"),
        ("raise KeyboardInterrupt", -2, "cancelled"),
    ],
)
async def test_a_program_shorter_than_a_tick_loses_nothing(
    named_postgres_url: str, migrated_postgres_url: str, end: str, code: int, status: str
) -> None:
    """The worker connects, resolving a host name, only once the interpreter already exits."""
    program = f"""
import sys, logging, spane_otel
spane_otel.configure("short", store=sys.argv[1])
with spane_otel.execution("order"), spane_otel.node("pay"):
    logging.warning("on its way")
    {end}
"""
    done = run_program(program, named_postgres_url)
    assert done.returncode == code
    assert "spane_otel" not in done.stderr.replace("spane_otel.execution", "").replace("spane_otel.node", "")
    stored = (await executions(migrated_postgres_url))["order"]
    assert stored.status == status
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        found = await store.get_trace(stored.execution_id)
        assert found is not None
        assert [span.name for span in found.spans] == ["order", "pay"]
        assert [record.body for record in await store.get_logs(stored.execution_id)] == ["on its way"]


def test_a_program_whose_database_is_gone_ends_in_time_and_says_what_it_lost() -> None:
    program = """
import sys, spane_otel
from spane_otel.telemetry.process import PROCESS
PROCESS.patience = 2.0
spane_otel.configure("short", store="postgresql://nobody@127.0.0.1:9/none")
with spane_otel.execution("order"), spane_otel.node("pay"):
    pass
"""
    began = time.monotonic()
    done = run_program(program)
    assert done.returncode == 0
    assert time.monotonic() - began < 10
    *before, last = done.stderr.splitlines()
    assert all(line.startswith("telemetry can't be written now, it is kept and tried again: ") for line in before)
    assert last == "2 spans and logs could not be written before the process ended"


def test_a_program_that_names_no_collector_and_finds_none_does_not_wait_long() -> None:
    program = """
import time, atexit, spane_otel
from spane_otel.telemetry import destination
destination.DEFAULT_ENDPOINT = "http://127.0.0.1:9"
spane_otel.configure("short")
with spane_otel.execution("order"):
    pass
began = time.monotonic()
from spane_otel.telemetry.process import PROCESS
PROCESS.stop_at_exit()
print(time.monotonic() - began)
"""
    done = run_program(program)
    assert done.returncode == 0
    assert float(done.stdout) < 2
    first, last = done.stderr.splitlines()
    assert "http://127.0.0.1:9" in first
    assert "spane-otel serve" in first
    assert last == "1 spans and logs could not be written before the process ended"


def test_a_forward_target_that_is_gone_does_not_delay_the_end_for_long() -> None:
    program = """
import time, spane_otel
from spane_otel.telemetry.process import PROCESS
spane_otel.configure("short", store="memory:", forward="http://127.0.0.1:9")
with spane_otel.execution("order"):
    spane_otel.log("hello")
began = time.monotonic()
PROCESS.stop_at_exit()
print(time.monotonic() - began)
"""
    done = run_program(program)
    assert done.returncode == 0
    assert float(done.stdout) < 5
    assert "could not be written" not in done.stderr


async def test_a_forked_child_writes_its_own_and_leaves_the_parents_alone(migrated_postgres_url: str) -> None:
    program = """
import os, sys, spane_otel
from opentelemetry import trace
spane_otel.configure("family", store=sys.argv[1])
with spane_otel.execution("before"):
    pass
assert spane_otel.flush(20)
with spane_otel.execution("parent") as run, spane_otel.node("forks"):
    assert spane_otel.flush(20)
    pid = os.fork()
    if pid == 0:
        with spane_otel.execution("child"):
            spane_otel.log("from the child")
        ok = spane_otel.flush(20)
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
with spane_otel.execution("after"):
    pass
assert spane_otel.flush(20)
"""
    done = run_program(program, migrated_postgres_url)
    assert (done.returncode, done.stderr) == (0, "")
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        found = {each.workflow_id: each for each in await store.list_executions()}
        assert {name: each.status for name, each in found.items()} == dict.fromkeys(
            ("before", "parent", "child", "after"), "completed"
        )
        assert found["child"].parent_execution_id == found["parent"].execution_id
        assert [record.body for record in await store.get_logs(found["child"].execution_id)] == ["from the child"]
        seen = await store.get_trace(found["parent"].execution_id)
        assert seen is not None
        assert sorted(span.name for span in seen.spans) == ["child", "forks", "parent"]


async def test_processes_of_multiprocessing_write_what_they_did(migrated_postgres_url: str) -> None:
    program = """
import multiprocessing, sys, threading, spane_otel

def work(number):
    with spane_otel.execution("part", input=number):
        spane_otel.log("part")

spane_otel.configure("family", store=sys.argv[1])
with spane_otel.execution("whole"):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(number,)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
"""
    done = run_program(program, migrated_postgres_url)
    assert (done.returncode, done.stderr) == (0, "")
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        parts = await store.list_executions("part")
        (whole,) = await store.list_executions("whole")
        assert sorted(part.initial_data for part in parts) == [0, 1, 2]
        assert {part.status for part in parts} == {"completed"}
        assert {part.parent_execution_id for part in parts} == {whole.execution_id}
        assert whole.status == "completed"


async def test_threads_that_outlive_the_main_thread_are_recorded(migrated_postgres_url: str) -> None:
    program = """
import sys, threading, spane_otel
spane_otel.configure("threads", store=sys.argv[1])
def work():
    threading.main_thread().join()
    with spane_otel.execution("late"):
        pass
threading.Thread(target=work).start()
"""
    done = run_program(program, migrated_postgres_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(await executions(migrated_postgres_url)) == {"late"}


async def test_what_is_still_open_when_a_short_program_ends_is_known(migrated_postgres_url: str) -> None:
    """It ends before the first tick, and nobody ends its execution: that is what somebody has to see."""
    program = """
import sys
import spane_otel
spane_otel.configure("short", store=sys.argv[1])
spane_otel.execution("left open", execution_id="e-open").__enter__()
"""
    done = run_program(program, migrated_postgres_url)
    assert (done.returncode, done.stderr) == (0, "")
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        execution = await store.get_execution("e-open")
    assert execution is not None
    assert execution.status == "running"
