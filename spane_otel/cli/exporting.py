"""`spane-otel export`: one execution as a JSON document."""

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
from spane_otel.transfer.executions import export_execution


def add_parser(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "export",
        help="write an execution to a file",
        description="Writes all that is held of an execution as one JSON document, which `spane-otel import` reads: "
        "the version that it ran, node results, audit, dead letters, spans and logs, exactly as they are stored.",
        allow_abbrev=False,
    )
    parser.add_argument("execution_id", metavar="ID", help="the execution's id")
    parser.add_argument("--json", action="store_true", help="as JSON, which is the default (no variable)")
    parser.add_argument(
        "--family", action="store_true", help="with the executions that it started, and theirs (no variable)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="where to; -, the default: standard output (no variable)"
    )
    add_store_options(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Export an execution."""
    with open_kept_storage(settings) as storage:
        document = asyncio.run(_export(settings, storage, arguments.execution_id, arguments.family))
    if arguments.output == "-":
        sys.stdout.buffer.write(document.encode())
        sys.stdout.buffer.flush()
        return 0
    try:
        Path(arguments.output).write_text(document, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"can't write {arguments.output}: {error.strerror}") from error
    return 0


async def _export(settings: Settings, storage: Storage, execution_id: str, include_children: bool) -> str:
    async with open_store(storage.url, schema=settings.schema, settings=settings) as store:
        await store.ping()
        return await export_execution(store, execution_id, include_children=include_children)
