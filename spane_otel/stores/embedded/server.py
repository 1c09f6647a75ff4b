"""One PostgreSQL server, owned by this process."""

import fcntl
import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self
from urllib.parse import quote

from spane_otel.errors import ConfigurationError, SpaneError, StoreUnavailableError
from spane_otel.stores.embedded.account import Account, server_account
from spane_otel.stores.embedded.binaries import locate_binaries
from spane_otel.stores.embedded.cluster import PORT, SOCKET, SUPERUSER, make_cluster, make_data_dir, socket_folder
from spane_otel.stores.embedded.postmaster import (
    await_ready,
    forget_foreign_pids,
    start_process,
    stop_postmaster,
)

logger = logging.getLogger(__name__)

SETTINGS: Final = {
    "cluster_name": "spane-otel",
    "listen_addresses": "",
    "max_connections": "50",
    "shared_buffers": "128MB",
    "fsync": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}
"""What differs from PostgreSQL's defaults, or must not be changed by its configuration file."""

START_SECONDS: Final = 120.0
"""Recovery after a crash replays at most the write-ahead log since the last checkpoint; this is ample."""

STOP_SECONDS: Final = 30.0
_LOG_LIMIT: Final = 4 * 1024 * 1024
_LONGEST_PAUSE: Final = 30.0


def default_data_dir() -> Path:
    """Return where data goes when nobody says: root's below /var/lib, else the user's own data folder.

    Raises:
        ConfigurationError: the user has no home.

    """
    if os.geteuid() == 0:
        return Path("/var/lib/spane-otel")
    base = os.environ.get("XDG_DATA_HOME", "")
    if Path(base).is_absolute():  # the XDG base directory specification: a relative path is to be ignored
        return Path(base) / "spane-otel"
    try:
        return Path.home() / ".local" / "share" / "spane-otel"
    except RuntimeError as error:
        raise ConfigurationError("this user has no home folder: give a --data-dir") from error


class EmbeddedPostgres:
    """A PostgreSQL server in `data_dir`, up between `start()` and `stop()`, reachable by its user and root alone.

    It listens on a Unix socket in a folder that nobody else can enter, never on TCP. It stops when this process
    ends, however it ends; if it dies before, it is started again. What a killed owner left is taken over at the next
    start. As root it runs as `nobody`. No user is added, and no folder that was there changes its mode.
    """

    def __init__(self, data_dir: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        """Take `data_dir` (default: `default_data_dir()`) and settings of postgresql.conf that replace ours."""
        self.data_dir = (data_dir or default_data_dir()).expanduser().absolute()
        self.cluster = self.data_dir / "postgres"
        self._settings = {**SETTINGS, **(settings or {})}
        self._lock: int | None = None
        self._account: Account | None = None
        self._binaries = Path()
        self._socket_folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address for clients, psql among them; valid while the server is up, the same at every start."""
        return f"postgresql://{SUPERUSER}@/postgres?host={quote(str(self._socket_folder))}&port={PORT}"

    def start(self) -> str:
        """Start the server, its data directory made at the first time; return its URL once it takes connections.

        Blocks for about a second, for two where initdb has to run.

        Raises:
            MissingExtraError: the extra `embedded` is not installed.
            ConfigurationError: the folder can't be used; the message says why.
            SchemaError: the data is of another major version; the message has the steps to carry it over.
            StoreUnavailableError: another process owns the folder, or PostgreSQL does not start.

        """
        if self._watcher is not None:
            return self.url
        self._stopping.clear()
        self._account = server_account()
        make_data_dir(self.data_dir, self._account)
        self._lock = _lock(self.data_dir)
        try:
            self._binaries = locate_binaries(self._account, self.data_dir)
            make_cluster(self.cluster, self._account, self._binaries, sync=self._settings["fsync"] != "off")
            self._launch()
        except BaseException:
            self._release()
            raise
        self._watcher = threading.Thread(target=self._watch, name="spane-embedded-postgres", daemon=True)
        self._watcher.start()
        return self.url

    def stop(self) -> None:
        """Stop the server and wait until it is down; safe to call twice."""
        self._stopping.set()
        if self._watcher is not None:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
            self._watcher.join()
            self._watcher = None
        self._release()

    def _release(self) -> None:
        """Leave nothing running and nothing locked."""
        process, self._process = self._process, None
        try:
            if process is not None:
                self._end(process)
            if self._socket_folder not in (self.cluster, Path()):
                shutil.rmtree(self._socket_folder, ignore_errors=True)
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _launch(self) -> None:
        """Start the server process and wait until it is ready, after stopping what a killed owner left."""
        assert self._account is not None  # noqa: S101 - set by start(), for the type checker
        self._socket_folder = socket_folder(self.cluster, self._account)
        stop_postmaster(self.cluster, STOP_SECONDS)
        options = {
            **self._settings,
            "port": str(PORT),
            "unix_socket_directories": f'"{self._socket_folder}"',
        }
        deadline = time.monotonic() + START_SECONDS
        while True:
            forget_foreign_pids(self.cluster, self._socket_folder / SOCKET)
            log_path = self.data_dir / "postgres.log"
            with _open_log(log_path) as log:
                begin = log.tell()
                process = start_process(self._binaries, self.cluster, options, self._account, log)
            if await_ready(process, self.cluster, deadline):
                self._process = process
                return
            self._end(process)
            said = log_path.read_bytes()[begin:].decode(errors="replace")
            # Backends of a killed server notice its death within moments; until then their memory bars the way.
            if "still in use" not in said or time.monotonic() > deadline or self._stopping.is_set():
                raise StoreUnavailableError(f"PostgreSQL does not start ({_last_words(said)}): see {log_path}")
            self._stopping.wait(0.1)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            stop_postmaster(self.cluster, STOP_SECONDS)
            process.wait()
        stop_postmaster(self.cluster, STOP_SECONDS)  # it outlives its supervisor if somebody killed that one

    def _watch(self) -> None:
        """Start the server again whenever it ends without having been asked to."""
        pause = 0.0
        while not self._stopping.is_set():
            process = self._process
            if process is not None:
                status = process.wait()
                if self._stopping.is_set():
                    return
                logger.error("the embedded PostgreSQL ended with status %d; starting it again", status)
                self._end(process)
                self._process = None
            self._stopping.wait(pause)
            try:
                self._launch()
                pause = 0.0
            except (SpaneError, OSError) as error:
                pause = min(max(2 * pause, 1.0), _LONGEST_PAUSE)
                logger.error("the embedded PostgreSQL does not start, next try in %g s: %s", pause, error)  # noqa: TRY400 - the message says it all


def _lock(data_dir: Path) -> int:
    """Take the lock on `data_dir`, held until the descriptor is closed, at the latest by this process's end."""
    path = data_dir / "owner.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"can't write {path} ({error.strerror}): give another --data-dir") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        owner = f"process {written}" if written else "another process"
        raise StoreUnavailableError(
            f"{data_dir} is in use by {owner}: stop that one, or give another --data-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    log = os.fdopen(descriptor, "ab")
    log.seek(0, os.SEEK_END)
    return log


def _last_words(said: str) -> str:
    """Return the first fatal line of a log, else its last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = next((line for line in lines if "FATAL" in line or "PANIC" in line), None)
    return fatal or (lines[-1] if lines else "it said nothing")
