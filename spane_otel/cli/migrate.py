"""`spane-otel migrate`: brings the schema of a database up to date."""

import argparse
import asyncio
from typing import Any

from spane_otel.cli.options import DATABASE_VARIABLES
from spane_otel.cli.storage import database_url
from spane_otel.settings import Settings, mask_url


def add_parser(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "migrate",
        help="create or update the tables in a database",
        description="Creates or updates the tables of spane-otel in the database that is named, and nothing else in "
        "it. Safe to run again, and by several at once.",
        epilog=DATABASE_VARIABLES,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Apply what is missing, and say what and where."""
    del arguments  # it has no options
    url = database_url(settings)
    from spane_otel.stores.postgres.migrate import migrate  # noqa: PLC0415 - asyncpg loads when needed

    place = f"{mask_url(url)}, schema {settings.schema}"
    applied = asyncio.run(migrate(url, settings.schema))
    for name in applied:
        print(f"applied {name}")
    print(f"{place} is up to date" + ("" if applied else " already"))
    return 0
