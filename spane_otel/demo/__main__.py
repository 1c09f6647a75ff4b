"""`python -m spane_otel.demo ENDPOINT [--ui URL] [--once]`: the demo as a process of its own.

Its executions are kept in the database that `SPANE_DATABASE_URL` (and `SPANE_SCHEMA`) name (read through the Redis of
`SPANE_REDIS_URL`, if the service reads it so), else in its own memory.
It stops at SIGINT, SIGTERM, and when its standard input is a pipe or socket whose other end is closed: whoever
started it is gone. It runs at a low priority, so that it gives way to the service and to everything else.
"""

import argparse
import asyncio
import os
import signal
import stat
import sys

from spane_otel.demo.run import run
from spane_otel.settings import Settings
from spane_otel.stores.opening import open_store


def main() -> int:
    """Run the demo; return the exit code of `run`."""
    parser = argparse.ArgumentParser(prog="python -m spane_otel.demo", description=__doc__)
    parser.add_argument("endpoint", help="an OTLP/HTTP endpoint, http://HOST:PORT")
    parser.add_argument("--ui", help="the address that is printed for people")
    parser.add_argument("--once", action="store_true", help="run one execution, then exit")
    options = parser.parse_args()
    return asyncio.run(_run(options.endpoint, ui=options.ui, once=options.once))


async def _run(endpoint: str, *, ui: str | None, once: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    os.nice(10)
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, stop)
    settings, _ = Settings.from_env(os.environ)
    url = settings.database_url or "memory:"
    async with open_store(url, schema=settings.schema, redis_url=settings.redis_url) as store:
        return await run(endpoint, store, once=once, stop=stop, ui=ui, say=_say)


def _stop_at_end(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
