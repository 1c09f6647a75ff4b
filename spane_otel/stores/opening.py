"""Where a URL becomes a store or a sink, so that nobody else names a concrete one."""

from typing import Any, Final, cast
from urllib.parse import urlsplit

from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings
from spane_otel.stores.protocols import Store, TelemetrySink

_POOL: Final = {
    "pool_size": "pool_size",
    "pool_idle_seconds": "idle_seconds",
    "pool_connect_seconds": "connect_seconds",
    "statement_seconds": "statement_seconds",
}
_CACHE: Final = {"cache_ttl_seconds": "ttl_seconds"}
_MEMORY: Final = {
    "memory_max_executions": "max_executions",
    "memory_max_spans": "max_spans",
    "memory_max_logs": "max_logs",
    "memory_max_logs_per_execution": "max_logs_per_execution",
    "memory_max_spans_per_execution": "max_spans_per_execution",
    "memory_finished_ttl_seconds": "finished_ttl_seconds",
    "memory_cleanup_seconds": "cleanup_seconds",
}
"""A field of Settings → the keyword of a store."""


def open_store(
    url: str, *, schema: str = "spane", redis_url: str | None = None, settings: Settings | None = None
) -> Store:
    """Return the store that `url` names, not yet connected: use it as an async context manager.

    `memory:` keeps everything in this process, `postgresql://…` in that database's schema `schema`. With `redis_url`
    a database is read through that Redis: every process that writes to it is to be given the same one. `settings` says
    how large pools, memory and cache are, and no more; by default they are as the stores say.

    Raises:
        ConfigurationError: the URL names no kind of store, `redis_url` no Redis, or a size can't be.

    """
    scheme = urlsplit(url).scheme
    if scheme in ("postgresql", "postgres"):
        from spane_otel.stores.postgres import PostgresExecutionStore  # noqa: PLC0415 - asyncpg loads when needed

        store = PostgresExecutionStore(url, schema=schema, **_given(settings, _POOL))
        if redis_url is None:
            return store
        from spane_otel.stores.cached.store import CachedStore  # noqa: PLC0415 - redis loads when needed

        cached = CachedStore(store, redis_url, identify=store.identify, **_given(settings, _CACHE))
        return cast("Store", cached)  # it hands on what it does not define, which a type checker can't see; a test does
    if scheme == "memory" or url == "memory":
        from spane_otel.stores.memory import InMemoryExecutionStore  # noqa: PLC0415 - loads when needed

        return InMemoryExecutionStore(**_given(settings, _MEMORY))
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


def _given(settings: Settings | None, keywords: dict[str, str]) -> dict[str, Any]:
    """Return the keywords of a store that `settings` gives."""
    return {
        keyword: value
        for field, keyword in keywords.items()
        if settings is not None and (value := getattr(settings, field)) is not None
    }
