"""The embedded PostgreSQL when processes are killed, and when its data is of another major version."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from spane_otel.errors import SchemaError
from spane_otel.stores.embedded import EmbeddedPostgres
from tests.servers import FAST_SETTINGS, public_folder, run_in_thread

pytestmark = pytest.mark.system

DEBIAN = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534
PROGRAM = Path(__file__).parents[1] / "embedded_owner.py"


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as made:
        yield made


@pytest.fixture
def owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns a server, which holds a table `kept` with the number 42."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        run_in_thread(fetch(process.stdout.readline().strip(), "CREATE TABLE kept AS SELECT 42 AS answer"))
        yield process
        process.kill()


async def fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_the_server_stops_with_its_owner_however_it_ends(
    folder: Path, owner: subprocess.Popen[str], number: signal.Signals
) -> None:
    server = postmaster(folder)
    owner.send_signal(number)
    owner.wait(10)
    assert eventually(lambda: not is_alive(server))
    assert eventually(lambda: not (folder / "postgres" / "postmaster.pid").exists())


def test_a_killed_owner_is_succeeded_at_once(folder: Path, owner: subprocess.Popen[str]) -> None:
    """The successor does not wait for anybody to clean up, and the first commit is there."""
    owner.kill()
    owner.wait(10)
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        assert run_in_thread(fetch(server.url, "SELECT answer FROM kept")) == 42


def test_a_server_that_outlived_everybody_is_stopped_and_started_again(
    folder: Path, owner: subprocess.Popen[str]
) -> None:
    orphan = postmaster(folder)
    supervisor = parent(orphan)
    watchers = [pid for pid in children(supervisor) if pid != orphan]
    for pid in (*watchers, supervisor, owner.pid):
        os.kill(pid, signal.SIGKILL)
    owner.wait(10)
    assert is_alive(orphan)
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        assert postmaster(folder) != orphan
        assert not is_alive(orphan)
        assert run_in_thread(fetch(server.url, "SELECT answer FROM kept")) == 42


def test_everybody_killed_at_once_costs_nothing_that_was_committed(folder: Path, owner: subprocess.Popen[str]) -> None:
    """As the out-of-memory killer or a container's end does it, its backends still dying."""
    server = postmaster(folder)
    supervisor = parent(server)
    for pid in (owner.pid, *children(supervisor), supervisor):
        os.kill(pid, signal.SIGKILL)
    owner.wait(10)
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as successor:
        assert run_in_thread(fetch(successor.url, "SELECT answer FROM kept")) == 42


def test_a_killed_server_is_started_again_while_its_owner_lives(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        run_in_thread(fetch(server.url, "CREATE TABLE kept AS SELECT 42 AS answer"))
        for _ in range(3):
            first = postmaster(folder)
            os.kill(first, signal.SIGKILL)

            def is_back(first: int = first) -> bool:
                try:
                    return postmaster(folder) != first and run_in_thread(fetch(server.url, "SELECT 1")) == 1
                except (OSError, asyncpg.CannotConnectNowError, IndexError, ValueError):
                    return False

            assert eventually(is_back)
            assert run_in_thread(fetch(server.url, "SELECT answer FROM kept")) == 42


def test_a_stale_process_id_that_is_another_programs_by_now_ends_nobody(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        written = (server.cluster / "postmaster.pid").read_text().splitlines()
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["/bin/sleep", "600"], cwd="/", **options) as bystander:  # type: ignore[call-overload] # of options
        (server.cluster / "postmaster.pid").write_text("\n".join([str(bystander.pid), *written[1:]]) + "\n")
        with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
            assert run_in_thread(fetch(server.url, "SELECT 1")) == 1
        assert bystander.poll() is None
        bystander.kill()


def test_the_steps_that_another_major_version_prints_carry_the_data_over(folder: Path) -> None:
    """Debian's PostgreSQL 15 writes the data, the printed commands are run as they are, version 18 reads it."""
    if not DEBIAN.is_dir():
        pytest.skip("no PostgreSQL 15: apt install postgresql-15")
    cluster = folder / "postgres"
    cluster.mkdir(mode=0o700)
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    if options:
        os.chown(cluster, NOBODY, NOBODY)

    def run(*command: str, text: str | None = None) -> None:
        subprocess.run(command, check=True, cwd="/", input=text, text=True, capture_output=True, **options)  # type: ignore[call-overload] # of options

    run(str(DEBIAN / "initdb"), "-D", str(cluster), "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "trust", "-N")
    run(
        str(DEBIAN / "postgres"),
        "--single",
        "-D",
        str(cluster),
        "postgres",
        text="CREATE TABLE kept AS SELECT 42 AS n\n",
    )
    with pytest.raises(SchemaError) as caught:
        EmbeddedPostgres(folder).start()
    commands = [line for line in str(caught.value).splitlines() if line.startswith("  ")]
    assert len(commands) > 5
    done = subprocess.run(["/bin/sh", "-e"], input="\n".join(commands), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        assert run_in_thread(fetch(server.url, "SELECT n FROM kept")) == 42
    assert shutil.which("psql", path=str(DEBIAN))
