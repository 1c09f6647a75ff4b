"""Which store a command uses, and the embedded database's life around it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from spane_otel.errors import ConfigurationError, MissingExtraError
from spane_otel.settings import Settings, mask_url
from spane_otel.stores.embedded import EmbeddedPostgres, is_installed

StoreKind = Literal["memory", "embedded", "postgres"]


class Storage(Struct, frozen=True):
    """Where a command keeps its data."""

    kind: StoreKind
    url: str
    """What `open_store` takes."""
    place: str
    """What to tell people: no password, and the folder where there is one."""
    redis_url: str | None = None
    """The Redis through which it is read, if it is."""


@contextmanager
def open_storage(settings: Settings) -> Iterator[Storage]:
    """Yield the storage that `settings` ask for; an embedded database runs, migrated, until the block ends.

    Says on standard error where data goes.

    Raises:
        ConfigurationError: it is not named, or not installed.
        StoreError: the embedded database does not start.

    """
    kind = choose_store(settings)
    if kind == "embedded":
        with EmbeddedPostgres(Path(settings.data_dir) if settings.data_dir else None) as server:
            from spane_otel.stores.postgres.migrate import migrate  # noqa: PLC0415 - asyncpg loads when needed

            asyncio.run(migrate(server.url, settings.schema))
            place = f"the embedded PostgreSQL in {server.data_dir} (look inside: psql '{server.url}')"
            yield _announce(Storage(kind, server.url, place, settings.redis_url))
    elif kind == "postgres":
        url = database_url(settings)
        yield _announce(Storage(kind, url, f"{mask_url(url)}, schema {settings.schema}", settings.redis_url))
    else:
        yield _announce(Storage(kind, "memory:", "the memory of this process, until it ends"))


@contextmanager
def open_kept_storage(settings: Settings) -> Iterator[Storage]:
    """Do as `open_storage`, for a command that is nothing without what others have stored, or will read.

    Raises:
        ConfigurationError: it would be this process's memory, or can't be named.

    """
    if settings.store == "memory" or (settings.store is None and not settings.database_url and not is_installed()):
        raise ConfigurationError(
            "the memory of this process holds nothing: name a database in SPANE_DATABASE_URL, or give --store embedded"
        )
    with open_storage(settings) as storage:
        yield storage


def choose_store(settings: Settings) -> StoreKind:
    """Return the kind of store: the one asked for, else a named database, else embedded if installed, else memory.

    Raises:
        MissingExtraError: embedded is asked for and not installed.

    """
    if settings.store == "memory":
        return "memory"
    if settings.store == "postgres" or (settings.store is None and settings.database_url):
        return "postgres"
    if is_installed():
        return "embedded"
    if settings.store == "embedded":
        raise MissingExtraError("--store embedded", "embedded")
    print(
        "spane-otel: warning: nothing survives this process; name a database in SPANE_DATABASE_URL, "
        "or pip install 'spane-otel[embedded]'",
        file=sys.stderr,
    )
    return "memory"


def database_url(settings: Settings) -> str:
    """Return the URL of the database that is named.

    Raises:
        ConfigurationError: none is, or it is not a PostgreSQL.

    """
    if not settings.database_url:
        raise ConfigurationError(
            "no database is named: set SPANE_DATABASE_URL or DATABASE_URL to postgresql://USER:PASSWORD@HOST/NAME "
            "(the embedded database needs neither this nor migrate: spane-otel serve --store embedded)"
        )
    scheme = urlsplit(settings.database_url).scheme
    # Applications write the driver into the URL (SQLAlchemy's postgresql+asyncpg); the database is the same.
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the database must be a PostgreSQL, not {scheme or 'this'!r}: set SPANE_DATABASE_URL to "
            "postgresql://USER:PASSWORD@HOST/NAME, or give another --store"
        )
    return settings.database_url.replace(f"{scheme}:", "postgresql:", 1)


def _announce(storage: Storage) -> Storage:
    print(f"spane-otel: telemetry goes to {storage.place}", file=sys.stderr)
    if storage.redis_url is not None:
        print(f"spane-otel: what is over is read through {mask_url(storage.redis_url)}", file=sys.stderr)
    return storage
