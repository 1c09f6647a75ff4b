"""Logs of a trace, a span, an execution, or of a time."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from spane_otel.server.api.documents import json_response, log_page
from spane_otel.server.api.parameters import LEVELS, Parameters
from spane_otel.server.context import ServerContext
from spane_otel.server.rawpath import RawPathRoute


class LogEndpoints:
    """What the API says of logs."""

    def __init__(self, context: ServerContext) -> None:
        self._store: Final = context.store

    def routes(self) -> list[BaseRoute]:
        return [RawPathRoute("/api/v1/logs", self.list_logs)]

    async def list_logs(self, request: Request) -> Response:
        query = Parameters(request, "trace_id", "span_id", "level", "text", "since", "until", "limit", "cursor")
        page = await self._store.list_logs(
            trace_id=query.trace_id("trace_id"),
            span_id=query.span_id("span_id"),
            level=query.choice("level", LEVELS),
            text=query.text("text"),
            since=query.time("since"),
            until=query.time("until"),
            limit=query.limit(),
            cursor=query.text("cursor"),
        )
        return json_response(log_page(page))
