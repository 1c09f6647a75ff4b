"""Which host names the service answers to, so that no foreign page reaches it by rebinding a name (S11)."""

import re
from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_HOSTS: Final = ("127.0.0.1", "::1", "localhost")
"""Where the service may listen until it asks for tokens, and what a Host header may say."""

_ALLOWED: Final = re.compile(rb"(localhost|127\.0\.0\.1|\[::1\])(:\d{0,5})?", re.IGNORECASE)

Respond = Callable[[Scope, int, str], Response]


class HostMiddleware:
    """Answers 421 to a request for another host, and 400 where not exactly one Host header says which.

    RFC 9110, section 15.5.20 (421) and RFC 9112, section 3.2 (400). `respond` makes the answer.
    """

    def __init__(self, app: ASGIApp, respond: Respond) -> None:
        self.app: Final = app
        self._respond: Final = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refuse(scope)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _refuse(self, scope: Scope) -> Response | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return self._respond(scope, 400, "a request needs exactly one Host header")
        if not _ALLOWED.fullmatch(hosts[0]):
            return self._respond(scope, 421, "this service answers only to localhost, 127.0.0.1 and [::1]")
        return None
