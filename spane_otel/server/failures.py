"""The last resort: whatever goes wrong inside, the client gets an answer and never a stack trace."""

import asyncio
import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spane_otel.server.hosts import Respond

_log: Final = logging.getLogger(__name__)


class FailureMiddleware:
    """Logs an exception that nobody expected and answers 503; likewise for a request that a shutdown cut off.

    503 rather than 500: what was sent is not at fault, OTLP clients send it again, and every write is idempotent. An
    answer that had begun is broken off.
    """

    def __init__(self, app: ASGIApp, respond: Respond) -> None:
        self.app: Final = app
        self._respond: Final = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_noting_start)
        except asyncio.CancelledError:
            if started:
                raise
            # The server cancels what outlives its grace, and would itself answer 500. This task ends here either way.
            await self._respond(scope, 503, "the service is stopping")(scope, receive, send)
        except Exception:
            _log.exception("%s %s failed", scope.get("method"), scope.get("path"))
            if started:
                raise
            await self._respond(scope, 503, "the service failed; its log says why")(scope, receive, send)
