"""Where a URL becomes a store or a sink, so that nobody else names a concrete one."""

from typing import cast
from urllib.parse import urlsplit

from spane_otel.errors import ConfigurationError
from spane_otel.stores.protocols import Store, TelemetrySink


def open_store(url: str, *, schema: str = "spane", redis_url: str | None = None) -> Store:
    """Return the store that `url` names, not yet connected: use it as an async context manager.

    `memory:` keeps everything in this process, `postgresql://…` in that database's schema `schema`. With `redis_url`
    a database is read through that Redis: every process that writes to it is to be given the same one.

    Raises:
        ConfigurationError: the URL names no kind of store, `redis_url` no Redis.

    """
    scheme = urlsplit(url).scheme
    if scheme in ("postgresql", "postgres"):
        from spane_otel.stores.postgres import PostgresExecutionStore  # noqa: PLC0415 - asyncpg loads when needed

        store = PostgresExecutionStore(url, schema=schema)
        if redis_url is None:
            return store
        from spane_otel.stores.cached.store import CachedStore  # noqa: PLC0415 - redis loads when needed

        # What it does not define goes to the store inside, which a type checker can't see; a test does.
        return cast("Store", CachedStore(store, redis_url, identify=store.identify))
    if scheme == "memory" or url == "memory":
        from spane_otel.stores.memory import InMemoryExecutionStore  # noqa: PLC0415 - loads when needed

        return InMemoryExecutionStore()
    raise ConfigurationError(f"{scheme or url!r} is no store: use postgresql://… or memory:")


def open_sink(url: str, *, schema: str = "spane") -> TelemetrySink:
    """Return where telemetry goes for `url`: a store, or over OTLP/HTTP to `http://…`; connects when first used.

    Raises:
        ConfigurationError: the URL names no kind of sink.

    """
    if urlsplit(url).scheme in ("http", "https"):
        from spane_otel.stores.remote import RemoteSink  # noqa: PLC0415 - loads when needed

        return RemoteSink(url)
    return open_store(url, schema=schema)
