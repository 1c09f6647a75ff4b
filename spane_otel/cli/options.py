"""The options that `serve` and `demo` share; each is a field of Settings, so each is also a variable."""

import argparse
import difflib
import math
from typing import Final, get_args

from msgspec.structs import replace

from spane_otel.cli.storage import StoreKind
from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings, variable_of

STORE_KINDS: Final = get_args(StoreKind)
_PORTS: Final = ("port", "otlp_http_port", "otlp_grpc_port")
_SIZES: Final = (
    "pool_size",
    "pool_idle_seconds",
    "pool_connect_seconds",
    "statement_seconds",
    "cache_ttl_seconds",
    "sweep_seconds",
    "memory_max_executions",
    "memory_max_spans",
    "memory_max_logs",
    "memory_max_logs_per_execution",
    "memory_max_spans_per_execution",
    "memory_finished_ttl_seconds",
    "memory_cleanup_seconds",
)
_DEFAULTS: Final = Settings()

DATABASE_VARIABLES: Final = (
    "variables: SPANE_DATABASE_URL, else DATABASE_URL, names the database (postgresql://USER:PASSWORD@HOST/NAME), "
    "SPANE_SCHEMA its schema (default: spane); SPANE_REDIS_URL, else REDIS_URL, a Redis through which what is over is "
    "read. A file .env in the current folder is read; the environment wins over it."
)


def add_service_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of the service to `parser`; each help text names the variable of the option."""
    add_store_options(parser)
    _add(parser, "host", f"address to listen on, of this machine only (default: {_DEFAULTS.host})", metavar="HOST")
    _add(parser, "port", _port_help("UI and API", _DEFAULTS.port), metavar="PORT", type=int)
    _add(parser, "otlp_http_port", _port_help("OTLP over HTTP", _DEFAULTS.otlp_http_port), metavar="PORT", type=int)
    _add(
        parser,
        "otlp_grpc_port",
        f"port of OTLP over gRPC (default: {_DEFAULTS.otlp_grpc_port}); no effect yet",
        metavar="PORT",
        type=int,
    )
    _add(parser, "workers", f"number of processes (default: {_DEFAULTS.workers}); no effect yet", metavar="N", type=int)
    _add_database_options(parser)
    _add_memory_options(parser)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which store is meant."""
    parser.epilog = DATABASE_VARIABLES
    _add(
        parser,
        "store",
        "where telemetry is kept; without it, the database that SPANE_DATABASE_URL or DATABASE_URL names, else "
        "embedded if that extra is installed, else memory",
        choices=STORE_KINDS,
    )
    _add(
        parser,
        "data_dir",
        "folder of the embedded database (default: /var/lib/spane-otel for root, else ~/.local/share/spane-otel)",
        metavar="DIR",
    )


def _add_database_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with a database")
    _add(group, "pool_size", "connections to it (default: 20)", metavar="N", type=int)
    _add(
        group,
        "pool_idle_seconds",
        "after which a connection that is not used is closed (default: 20)",
        metavar="SECONDS",
        type=float,
    )
    _add(
        group,
        "pool_connect_seconds",
        "for making a connection, or waiting for one that is in use (default: 10)",
        metavar="SECONDS",
        type=float,
    )
    _add(group, "statement_seconds", "for a statement (default: 10)", metavar="SECONDS", type=float)
    _add(
        group,
        "cache_ttl_seconds",
        "how long Redis, if it is named, keeps what is over (default: 3600)",
        metavar="SECONDS",
        type=float,
    )
    _add(
        group,
        "sweep_seconds",
        "between two looks for executions whose time is up (default: 5)",
        metavar="SECONDS",
        type=float,
    )


def _add_memory_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("with --store memory")
    for field, text in (
        ("memory_max_executions", "executions held; finished ones go, those that run stay (default: 1000)"),
        ("memory_max_spans", "spans held (default: 200000)"),
        ("memory_max_logs", "log records held (default: 200000)"),
        ("memory_max_spans_per_execution", "spans held of an execution (default: 500)"),
        ("memory_max_logs_per_execution", "log records held of an execution (default: 1000)"),
    ):
        _add(group, field, text, metavar="N", type=int)
    for field, text in (
        ("memory_finished_ttl_seconds", "after which a finished execution goes (default: 3600)"),
        ("memory_cleanup_seconds", "between two looks for those (default: 300)"),
    ):
        _add(group, field, text, metavar="SECONDS", type=float)


def override(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """Return `settings` with the options that were given on the command line, all of them checked.

    Raises:
        ConfigurationError: an option or its variable has a value that can't be; the message names both.

    """
    given = {
        name: value
        for name, value in vars(arguments).items()
        if value is not None and name in Settings.__struct_fields__
    }
    settings = replace(settings, **given)
    if settings.store is not None and settings.store not in STORE_KINDS:
        close = difflib.get_close_matches(settings.store, STORE_KINDS, n=1)
        hint = f": did you mean {close[0]}?" if close else ""
        raise ConfigurationError(f"{_named('store')} must be {', '.join(STORE_KINDS[:-1])} or {STORE_KINDS[-1]}{hint}")
    for field in _PORTS:
        if not 0 <= getattr(settings, field) <= 65535:
            raise ConfigurationError(f"{_named(field)} must be a port, 0 to 65535 (0: a free one)")
    for field in _SIZES:
        value = getattr(settings, field)
        if value is not None and not 0 < value < math.inf:
            raise ConfigurationError(f"{_named(field)} must be above 0")
    if settings.workers < 1:
        raise ConfigurationError(f"{_named('workers')} must be at least 1")
    return settings


def require_loopback(settings: Settings) -> None:
    """Refuse an address that other machines reach.

    Raises:
        ConfigurationError: it is not one of this machine alone.

    """
    from spane_otel.server.hosts import LOOPBACK_HOSTS  # noqa: PLC0415 - Starlette loads when needed

    if settings.host in LOOPBACK_HOSTS:
        return
    raise ConfigurationError(
        f"{_named('host')}: {settings.host!r} is refused, because whoever reaches the service can read and write all "
        f"of it; use {', '.join(LOOPBACK_HOSTS[:-1])} or {LOOPBACK_HOSTS[-1]}, and from other machines an SSH tunnel"
    )


def _add(parser: argparse._ActionsContainer, field: str, text: str, **options: object) -> None:
    parser.add_argument(_option(field), dest=field, help=f"{text} [{variable_of(field)}]", **options)  # type: ignore[arg-type] # argparse's overloads can't take a mapping


def _port_help(what: str, default: int) -> str:
    return f"port of {what} (default: {default}; 0: a free one)"


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def _named(field: str) -> str:
    return f"{_option(field)} ({variable_of(field)})"
