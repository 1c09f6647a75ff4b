"""`GET /api/v1/stream`: changes as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
import re
from collections.abc import Iterator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from spane_otel.server.api.parameters import Parameters
from spane_otel.server.changes import ChangeHub, Delivery, Listener
from spane_otel.server.context import ServerContext
from spane_otel.server.problems import RETRY_AFTER, problem
from spane_otel.server.rawpath import RawPathRoute

KEEP_ALIVE_SECONDS: Final = 15.0
LISTENER_LIMIT: Final = 256
"""More pages than this at once are refused with 503."""

_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,4096}")
_FOREIGN_CURSOR: Final = "-"
"""Stands for what no store has made: the feed answers it with everything."""

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)


class EventStream(Response):
    """Sends what a listener hears until either side ends it.

    Each event carries as `id` the cursor from which a client resumes that has seen this event and none after it: the
    last of several changes that were found together moves it, those before repeat the one before.
    """

    def __init__(self, changes: ChangeHub, listener: Listener) -> None:
        self.status_code = 200
        self.background = None
        self._changes: Final = changes
        self._listener: Final = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = asyncio.create_task(_close_on_disconnect(receive, self._listener))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            if scope["method"] != "HEAD":
                await send(_chunk(b"retry: 1000\n\n"))
                await self._send_events(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watch.cancel()
            self._changes.leave(self._listener)

    async def _send_events(self, send: Send) -> None:
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await self._listener.wait()
            except TimeoutError:
                await send(_chunk(_keep_alive(self._listener.cursor)))
                continue
            if self._listener.closed:
                return
            await send(_chunk(b"".join(_encode(self._listener.take()))))


def stream_routes(context: ServerContext) -> list[BaseRoute]:
    """Return the route of the stream; `cursor` resumes where no Last-Event-ID can be set, as at a first connection."""

    async def stream(request: Request) -> Response:
        parameters = Parameters(request, "execution_id", "trace_id", "cursor")
        if len(context.changes) >= LISTENER_LIMIT:
            return problem(503, "too many live pages are open", headers=RETRY_AFTER)
        cursor = request.headers.get("last-event-id") or parameters.text("cursor")
        if cursor is not None and _CURSOR.fullmatch(cursor) is None:
            cursor = _FOREIGN_CURSOR  # an id is echoed: a line break in it would begin an event of its sender's
        listener = context.changes.listen(parameters.text("execution_id"), parameters.trace_id("trace_id"), cursor)
        return EventStream(context.changes, listener)

    return [RawPathRoute("/api/v1/stream", stream)]


async def _close_on_disconnect(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.close()


def _chunk(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _encode(delivery: Delivery) -> Iterator[bytes]:
    if delivery.available is not None:
        yield _event(delivery.resume, b"store", msgspec.json.encode({"available": delivery.available}))
    for position, change in enumerate(delivery.changes, start=1):
        cursor = delivery.cursor if position == len(delivery.changes) else delivery.resume
        yield _event(cursor, b"change", msgspec.json.encode(change))
    if not delivery.changes:
        yield _keep_alive(delivery.cursor)


def _event(cursor: str | None, name: bytes, data: bytes) -> bytes:
    return b"%bevent: %b\ndata: %b\n\n" % (_id(cursor), name, data)


def _keep_alive(cursor: str | None) -> bytes:
    """Return a comment; an `id` without data is dispatched to nobody, but a client resumes from it."""
    return b": keep-alive\n" + _id(cursor) + b"\n"


def _id(cursor: str | None) -> bytes:
    return b"" if cursor is None else b"id: %b\n" % cursor.encode()
