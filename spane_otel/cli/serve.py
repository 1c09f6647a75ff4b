"""`spane-otel serve`: takes OTLP in, answers the API, shows the UI, until it is told to stop."""

import argparse
import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from spane_otel.cli.options import add_service_options, require_loopback
from spane_otel.cli.storage import Storage, open_storage
from spane_otel.counters import MetricSource
from spane_otel.settings import Settings
from spane_otel.stores.opening import open_store
from spane_otel.upkeep.sweeper import INTERVAL_SECONDS, Sweeper

Work = Callable[[str, str, Storage], Coroutine[Any, Any, int]]
"""What goes on while the service runs, given the URLs of its UI and of its OTLP port, and where its data is kept.

Returns an exit code.
"""


def add_parser(commands: Any) -> None:
    """Add this command."""
    parser = commands.add_parser(
        "serve",
        help="run the service",
        description="Takes OpenTelemetry's traces and logs over OTLP, commits them to a database and shows them.",
        allow_abbrev=False,
    )
    add_service_options(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    del arguments  # all of them are settings
    return serve_with(settings, _wait_for_ever)


def serve_with(settings: Settings, work: Work) -> int:
    """Run the service while `work` goes on; SIGTERM and SIGINT end both. What is accepted is committed before.

    Raises:
        ConfigurationError: an option can't be; nothing was started.
        StoreError: the store can't be used.

    """
    require_loopback(settings)
    with open_storage(settings) as storage, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, storage, work))


async def _serve(settings: Settings, storage: Storage, work: Work) -> int:
    from spane_otel.server.service import Service  # noqa: PLC0415 - Starlette and uvicorn load when needed

    async with open_store(storage.url, schema=settings.schema, redis_url=storage.redis_url, settings=settings) as store:
        await store.ping()
        sources = (store,) if isinstance(store, MetricSource) else ()
        service = Service(
            store,
            host=settings.host,
            port=settings.port,
            otlp_http_port=settings.otlp_http_port,
            metric_sources=sources,
        )
        async with Sweeper(store, INTERVAL_SECONDS if settings.sweep_seconds is None else settings.sweep_seconds):
            addresses = await service.start()
            try:
                print(f"ready ui={addresses.ui} otlp={addresses.otlp}", flush=True)
                return await _until_signalled(work(addresses.ui, addresses.otlp, storage))
            finally:
                await service.stop()


async def _until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """Await `work`; the first SIGTERM or SIGINT cancels it, which is no failure, the second ends the process."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        task.cancel()

    for number in signals:
        loop.add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        return await task
    return 0


async def _wait_for_ever(ui: str, otlp: str, storage: Storage) -> int:
    del ui, otlp, storage  # whoever started the service has read them
    await asyncio.Event().wait()
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop
