"""Traces, whether or not an execution owns them."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from spane_otel.server.api.documents import json_response, trace_document, trace_page
from spane_otel.server.api.parameters import Parameters
from spane_otel.server.context import ServerContext
from spane_otel.server.rawpath import RawPathRoute


class TraceEndpoints:
    """What the API says of traces."""

    def __init__(self, context: ServerContext) -> None:
        self._store: Final = context.store

    def routes(self) -> list[BaseRoute]:
        return [
            RawPathRoute("/api/v1/traces", self.list_traces),
            RawPathRoute("/api/v1/traces/{trace_id}", self.show_trace),
        ]

    async def list_traces(self, request: Request) -> Response:
        query = Parameters(request, "service", "name", "since", "until", "limit", "cursor")
        page = await self._store.list_traces(
            service=query.text("service"),
            name=query.text("name"),
            since=query.time("since"),
            until=query.time("until"),
            limit=query.limit(),
            cursor=query.text("cursor"),
        )
        return json_response(trace_page(page))

    async def show_trace(self, request: Request) -> Response:
        Parameters(request)
        trace_id = request.path_params["trace_id"]
        trace = await self._store.get_trace_by_id(trace_id.lower())
        if trace is None:
            raise HTTPException(404, f"no trace {trace_id!r}")
        return json_response(trace_document(trace))
