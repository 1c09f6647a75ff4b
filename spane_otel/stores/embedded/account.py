"""The operating system's account that PostgreSQL runs as: it refuses to run as root."""

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

from msgspec import Struct

from spane_otel.errors import ConfigurationError


class Account(Struct, frozen=True):
    """A user and a group; `switch` says whether we are somebody else and have to become them."""

    name: str
    uid: int
    gid: int
    switch: bool

    def popen_options(self) -> dict[str, Any]:
        """Return what `subprocess.Popen` needs to start a program as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def command_prefix(self) -> str:
        """Return what a person types before a command to run it as this account."""
        return f"setpriv --reuid {self.uid} --regid {self.gid} --clear-groups " if self.switch else ""

    def can_enter(self, folder: Path) -> bool:
        """Whether this account may enter `folder`, all the folders above it included.

        Asked of the kernel by trying: modes alone don't tell, where there are access control lists.
        """
        if not self.switch:
            return os.access(folder, os.X_OK)
        attempt = ["/bin/sh", "-c", 'cd -P -- "$1" 2>/dev/null', "sh", str(folder)]
        return subprocess.run(attempt, check=False, cwd="/", **self.popen_options()).returncode == 0  # noqa: S603 - fixed program

    def first_closed(self, folder: Path) -> Path | None:
        """Return the uppermost folder on the way to `folder` that this account can't enter; None: it gets there."""
        if self.can_enter(folder):
            return None
        return next(each for each in reversed([folder, *folder.parents]) if not self.can_enter(each))


def server_account() -> Account:
    """Return the account for the server: our own, or `nobody` where we are root.

    Raises:
        ConfigurationError: our own user id has no name, which initdb needs, or root finds no `nobody`.

    """
    uid = os.geteuid()
    if uid == 0:
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            raise ConfigurationError(
                "PostgreSQL does not run as root, and there is no user nobody: run as another user, or give a database"
            ) from None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise ConfigurationError(
            f"PostgreSQL needs a user name, and user id {uid} has none in /etc/passwd: add one, or give a database"
        ) from None
    return Account(name, uid, os.getegid(), switch=False)
