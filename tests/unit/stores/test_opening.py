"""A URL becomes a store, and settings become its sizes."""

import argparse
import inspect
import re
from typing import Any

import pytest

from spane_otel.cli.options import add_service_options
from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings
from spane_otel.stores.cached.store import CachedStore
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.opening import _CACHE, _MEMORY, _POOL, open_sink, open_store
from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.upkeep.sweeper import INTERVAL_SECONDS

SIZES: dict[str, tuple[Any, str]] = {
    **{field: (PostgresExecutionStore, keyword) for field, keyword in _POOL.items()},
    **{field: (CachedStore, keyword) for field, keyword in _CACHE.items()},
    **{field: (InMemoryExecutionStore, keyword) for field, keyword in _MEMORY.items()},
}


def default_of(field: str) -> Any:
    if field == "sweep_seconds":
        return INTERVAL_SECONDS
    store, keyword = SIZES[field]
    return inspect.signature(store).parameters[keyword].default


@pytest.mark.parametrize("field", [*SIZES, "sweep_seconds"])
def test_the_help_gives_the_default_that_a_store_has(field: str) -> None:
    parser = argparse.ArgumentParser()
    add_service_options(parser)
    (text,) = [action.help for action in parser._actions if action.dest == field]
    found = re.search(r"\(default: ([\d.]+)\)", text or "")
    assert found is not None
    assert float(found[1]) == default_of(field)


def test_what_settings_give_is_what_a_store_is_made_with() -> None:
    settings = Settings(memory_max_spans=7, memory_cleanup_seconds=0.5)
    store = open_store("memory:", settings=settings)
    assert isinstance(store, InMemoryExecutionStore)
    assert (store._room.limits.max_spans, store._room.limits.cleanup_seconds) == (7, 0.5)
    assert store._room.limits.max_logs == default_of("memory_max_logs")
    with pytest.raises(ConfigurationError, match="pool_size"):
        open_store("postgresql://127.0.0.1/n", settings=Settings(pool_size=0))
    with pytest.raises(ConfigurationError, match="cache"):
        open_store("postgresql://127.0.0.1/n", redis_url="redis://127.0.0.1", settings=Settings(cache_ttl_seconds=-1))


@pytest.mark.parametrize("url", ["mysql://h/n", "", "redis://h", "/a/path"])
def test_what_is_no_store_is_refused(url: str) -> None:
    for opener in (open_store, open_sink):
        with pytest.raises(ConfigurationError, match="is no store"):
            opener(url)
