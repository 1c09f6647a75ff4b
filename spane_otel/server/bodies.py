"""Request bodies: read and inflated within bounds of size and time."""

import asyncio
import contextlib
import zlib
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spane_otel.errors import DecodeError, TooLargeError
from spane_otel.server.intake import Lease

MAX_BYTES: Final = 16 * 1024 * 1024
"""Of a body as it is sent, and of what it inflates to (reliability.md, section 10)."""
READ_SECONDS: Final = 30.0
DRAIN_BYTES: Final = 2 * MAX_BYTES
DRAIN_SECONDS: Final = 5.0
MAX_GZIP_MEMBERS: Final = 1_024
"""Each member costs an inflater of its own, and an empty one is 20 bytes."""

_GZIP_WINDOW: Final = 31  # zlib's code for: a gzip header and trailer, any window size


class DrainMiddleware:
    """Reads what is left of a request's body before its answer begins.

    A server that closes a connection with bytes unread resets it, and the client may never see why it was refused. A
    client that waits for "100 Continue" has sent nothing yet; one that sends too much or too slowly is not waited for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app: Final = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        done = any(name == b"expect" for name, _ in scope["headers"])

        async def receive_noting_end() -> Message:
            nonlocal done
            done = True  # also if this is cancelled: who waited long enough waits no more
            message = await receive()
            done = not message.get("more_body", False)
            return message

        async def send_after_body(message: Message) -> None:
            nonlocal done
            if not done:
                done = True
                await _drain(receive)
            await send(message)

        await self.app(scope, receive_noting_end, send_after_body)


async def _drain(receive: Receive) -> None:
    left = DRAIN_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


async def read_body(request: Request, lease: Lease, *, gzip: bool) -> bytes:
    """Return the whole body of a request, inflated if it is gzip.

    Raises:
        TooLargeError: it is longer than 16 MiB, as sent or inflated.
        DecodeError: it is not gzip all through.
        TimeoutError: it took longer than 30 s to arrive.
        OverloadedError: too many bytes of other requests are held already.

    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > MAX_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    async with asyncio.timeout(READ_SECONDS):
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BYTES:
                raise _too_large()
            lease.hold(len(chunk))
            chunks.append(chunk)
    body = b"".join(chunks)
    if gzip:
        body = inflate(body)
        lease.hold(len(body))
    return body


def inflate(body: bytes, limit: int = MAX_BYTES) -> bytes:
    """Return what a gzip body holds, all members one after the other (RFC 1952, section 2.2).

    Never makes more than `limit` + 1 bytes, whatever the body promises.

    Raises:
        TooLargeError: it holds more than `limit` bytes.
        DecodeError: it is cut off, damaged, or followed by something else.

    """
    pieces: list[bytes] = []
    size = 0
    for _ in range(MAX_GZIP_MEMBERS):
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        try:
            piece = inflater.decompress(body, limit - size + 1)
        except zlib.error as exc:
            raise DecodeError(f"the body is not valid gzip: {exc}") from None
        size += len(piece)
        if size > limit:
            raise TooLargeError(f"the body inflates to more than {limit:,} bytes")
        if not inflater.eof:
            raise DecodeError("the body is not valid gzip: it ends too early")
        pieces.append(piece)
        body = inflater.unused_data
        if not body:
            return b"".join(pieces)
    raise DecodeError(f"the body has more than {MAX_GZIP_MEMBERS:,} gzip members")


def _too_large() -> TooLargeError:
    return TooLargeError(f"the body is larger than {MAX_BYTES:,} bytes")
