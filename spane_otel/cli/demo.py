"""`spane-otel demo`: the service, and beside it a real workflow to look at."""

import argparse
import asyncio
import os
import sys
from functools import partial
from typing import Any

from spane_otel.cli.options import add_service_options
from spane_otel.cli.serve import serve_with
from spane_otel.cli.storage import Storage
from spane_otel.settings import Settings

_STOP_SECONDS = 15.0


def add_parser(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "demo",
        help="run the service and a real workflow to look at",
        description="Runs the service, and a workflow that analyses the source files of Python's standard library, "
        "again and again until stopped. It runs on a WorkflowEngine in a process of its own, over the database that "
        "the service uses; with --store memory over its own memory, and the service sees the spans only.",
        allow_abbrev=False,
    )
    add_service_options(parser)
    parser.add_argument("--once", action="store_true", help="run the workflow once, then exit (no variable)")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the service and the workflow."""
    return serve_with(settings, partial(_run_workflow, settings.schema, arguments.once))


async def _run_workflow(schema: str, once: bool, ui: str, otlp: str, storage: Storage) -> int:
    """Run the workflow in a process of its own, which ends with this one: its standard input is our pipe."""
    options = ["--ui", ui, *(["--once"] if once else [])]
    # It sends to this service alone and keeps its state in this database, whatever the environment says about others.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SPANE_", "OTEL_"))}
    if storage.kind != "memory":
        environ |= {"SPANE_DATABASE_URL": storage.url, "SPANE_SCHEMA": schema}
    if storage.redis_url is not None:
        environ["SPANE_REDIS_URL"] = storage.redis_url
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spane_otel.demo", otlp, *options), stdin=asyncio.subprocess.PIPE, env=environ
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await _end(process)
        raise
    if code != 0:
        print(f"spane-otel: the workflow's process ended with status {code}", file=sys.stderr)
    return 1 if code else 0


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the process's standard input, at which it cancels what runs, sends the rest and ends."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
