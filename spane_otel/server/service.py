"""The service: two ports in one event loop, one store."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from spane_otel.clock import Clock, SystemClock
from spane_otel.counters import Counters, MetricSource
from spane_otel.errors import ConfigurationError
from spane_otel.server.applications import otlp_application, ui_application
from spane_otel.server.changes import ChangeHub
from spane_otel.server.connections import BoundedHttpProtocol
from spane_otel.server.context import Addresses, ServerContext
from spane_otel.server.hosts import LOOPBACK_HOSTS
from spane_otel.server.intake import Intake
from spane_otel.stores.protocols import Store

STOP_SECONDS: Final = 10
"""What is in flight when the service stops gets this long to finish."""
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the intervals at which exporters send, so that they find their connection open."""
BACKLOG: Final = 2_048


class Service:
    """Serves a store: UI and API on `port`, OTLP on `otlp_http_port`; port 0 picks a free one.

    The store is the caller's: opened before, closed after. Until there are tokens the service listens on loopback
    only. `/metrics` shows the figures of `metric_sources` too.

    Raises:
        ConfigurationError: `host` is not a loopback address.

    """

    def __init__(
        self,
        store: Store,
        *,
        host: str = "127.0.0.1",
        port: int = 4380,
        otlp_http_port: int = 4318,
        counters: Counters | None = None,
        clock: Clock | None = None,
        metric_sources: Sequence[MetricSource] = (),
    ) -> None:
        if host not in LOOPBACK_HOSTS:
            raise ConfigurationError(
                f"host {host!r} is refused: there are no access tokens yet, so only "
                f"{', '.join(LOOPBACK_HOSTS)} may be listened on"
            )
        self._store: Final = store
        self._host: Final = host
        self._ports: Final = {"port": port, "otlp_http_port": otlp_http_port}
        self._counters: Final = counters or Counters()
        self._clock: Final = clock or SystemClock()
        self._metric_sources: Final = tuple(metric_sources)
        self._changes: ChangeHub | None = None
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> Addresses:
        """Listen; both ports answer once this returns.

        Raises:
            ConfigurationError: a port is taken or may not be used; the message says which.

        """
        sockets: list[socket.socket] = []
        try:
            for name, port in self._ports.items():
                sockets.append(_listen(self._host, port, name))
        except ConfigurationError:
            for each in sockets:
                each.close()
            raise
        addresses = Addresses(*(_url(self._host, each) for each in sockets))
        self._changes = ChangeHub(self._store)
        context = ServerContext(
            self._store, self._clock, self._counters, addresses, self._changes, Intake(), self._metric_sources
        )
        for app, each in zip((ui_application(context), otlp_application(context)), sockets, strict=True):
            server = _Server(app)
            self._servers.append(server)
            self._tasks.append(asyncio.create_task(server.serve([each]), name="spane-server"))
        try:
            for server, task in zip(self._servers, self._tasks, strict=True):
                await server.wait_started(task)
        except BaseException:
            await self.stop()
            raise
        return addresses

    async def stop(self) -> None:
        """Refuse new connections, end live streams, finish what is in flight within ten seconds; safe to call twice."""
        if self._changes is not None:
            await self._changes.aclose()
        for server in self._servers:
            server.should_exit = True
        tasks, self._tasks = self._tasks, []
        self._servers = []
        await asyncio.gather(*tasks)

    async def __aenter__(self) -> Addresses:
        return await self.start()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class _Server(uvicorn.Server):
    """A server that leaves signals to its owner and says when it has started."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedHttpProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._started: Final = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started.set()

    async def wait_started(self, task: asyncio.Task[None]) -> None:
        """Return once requests are answered; raise what `task` raises if it fails before."""
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait((started, task), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            started.cancel()
            await task

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = "127.0.0.1" if host == "localhost" else host
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as exc:
        listener.close()
        flag = f"--{option.replace('_', '-')}"
        raise ConfigurationError(
            f"can't listen on {host}:{port} ({exc}): choose another {flag}, 0 for a free one"
        ) from exc
    listener.setblocking(False)
    return listener


def _url(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
