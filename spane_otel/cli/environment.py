"""The settings of a command: the environment, the file `.env`, and the names that other programs use too."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings

_SHARED_NAMES: Final = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}
"""Understood by the command line alone: in a library these belong to the application around it."""

_ASSIGNMENT: Final = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>.*?))\s*(?:\s\#.*)?"""
)


def read_settings(environ: Mapping[str, str], dotenv: Path) -> Settings:
    """Return the settings of `environ`, then of the file `dotenv` if there is one; `SPANE_*` wins over shared names.

    Raises:
        ConfigurationError: a `SPANE_*` variable is unknown (the message suggests the right name) or unreadable.

    """
    merged = {**_read_dotenv(dotenv), **environ}
    settings, complaints = Settings.from_env(merged)
    if complaints:
        raise ConfigurationError("; ".join(complaints))
    shared = {
        field: merged[name]
        for field, name in _SHARED_NAMES.items()
        if getattr(settings, field) is None and merged.get(name)
    }
    return replace(settings, **shared)


def _read_dotenv(path: Path) -> dict[str, str]:
    """Return what is ours in a file of `NAME=value` lines; whatever else stands there belongs to others."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"can't read {path.absolute()}: {error}") from error
    values: dict[str, str] = {}
    for line in lines:
        match = _ASSIGNMENT.fullmatch(line)
        if match and (match["name"].startswith("SPANE_") or match["name"] in _SHARED_NAMES.values()):
            values[match["name"]] = next(part for part in match.group("double", "single", "bare") if part is not None)
    return values
