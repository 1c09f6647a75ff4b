"""The headers that every answer carries."""

from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Header = tuple[bytes, bytes]

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""What browsers need to be told. An answer that sets one of them itself (say, a long-lived file) keeps its own."""

OTLP_HEADERS: Final[tuple[Header, ...]] = ((b"spane-otel", b"1"),)
"""Says who answers: a client announces open spans and sends heartbeats only where it saw this."""


class HeadersMiddleware:
    """Adds `headers` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp, headers: Iterable[Header] = SECURITY_HEADERS) -> None:
        self.app: Final = app
        self._headers: Final = tuple(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                given += [header for header in self._headers if header[0] not in names]
                message["headers"] = given
            await send(message)

        await self.app(scope, receive, send_with_headers)
