"""`spane-otel import`: the executions of a document, into the store."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from spane_otel.cli.options import add_store_options
from spane_otel.cli.storage import Storage, open_kept_storage
from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings
from spane_otel.stores.opening import open_store
from spane_otel.transfer.copying import CopyReport
from spane_otel.transfer.executions import import_execution


def add_parser(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "import",
        help="read an execution from a file",
        description="Writes the executions of a document that `spane-otel export` made, with the ids that they had, in "
        "the place of what is held of them. Safe to run again.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="the document; -: standard input (no variable)")
    add_store_options(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Import executions; 1 if a span or a log could not be stored."""
    document = _read(arguments.file)
    with open_kept_storage(settings) as storage:
        report = asyncio.run(_import(settings, storage, document))
    print(f"imported {_count(report.executions, 'execution')}, {_count(report.spans, 'span')}, ", end="")
    print(_count(report.logs, "log record"))
    for reason, count in sorted(report.rejected.items()):
        print(f"spane-otel: {count} not stored: {reason}", file=sys.stderr)
    return 1 if report.rejected else 0


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"can't read {name}: {error.strerror}") from error


async def _import(settings: Settings, storage: Storage, document: bytes) -> CopyReport:
    # Through the cache, if there is one: it has to forget what is replaced.
    async with open_store(storage.url, schema=settings.schema, redis_url=storage.redis_url, settings=settings) as store:
        await store.ping()
        return await import_execution(store, document)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
