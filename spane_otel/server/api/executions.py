"""Executions, their traces and their logs."""

from typing import Final, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from spane_otel.records import EXECUTION_STATUSES, Counts
from spane_otel.server.api.documents import (
    execution_document,
    execution_page,
    json_response,
    log_page,
    trace_document,
)
from spane_otel.server.api.parameters import LEVELS, Parameters
from spane_otel.server.context import ServerContext
from spane_otel.server.problems import ParameterError
from spane_otel.server.rawpath import RawPathRoute
from spane_otel.stores.protocols import StatusFilter

STATUS_FILTERS: Final = (*EXECUTION_STATUSES, "abandoned")


class ExecutionEndpoints:
    """What the API says of executions."""

    def __init__(self, context: ServerContext) -> None:
        self._store: Final = context.store

    def routes(self) -> list[BaseRoute]:
        """Return the routes, each detail also with the id in the query.

        Browsers collapse the ids `.` and `..` in a path, however they are encoded; `/api/v1/execution?id=..` is for
        them.
        """
        return [
            RawPathRoute("/api/v1/executions", self.list_executions),
            RawPathRoute("/api/v1/executions/{execution_id}", self.show_execution),
            RawPathRoute("/api/v1/executions/{execution_id}/trace", self.show_trace),
            RawPathRoute("/api/v1/executions/{execution_id}/logs", self.list_logs),
            RawPathRoute("/api/v1/execution", self.show_execution),
            RawPathRoute("/api/v1/execution/trace", self.show_trace),
            RawPathRoute("/api/v1/execution/logs", self.list_logs),
        ]

    async def list_executions(self, request: Request) -> Response:
        query = Parameters(request, "workflow_id", "status", "since", "until", "limit", "cursor")
        page = await self._store.list_executions(
            query.text("workflow_id"),
            query.limit(),
            status=cast("StatusFilter | None", query.choice("status", STATUS_FILTERS)),
            since=query.time("since"),
            until=query.time("until"),
            cursor=query.text("cursor"),
        )
        counts = await self._store.count_telemetry([each.execution_id for each in page]) if page else {}
        return json_response(execution_page(page, counts))

    async def show_execution(self, request: Request) -> Response:
        execution_id, _ = _identify(request)
        execution = await self._store.get_execution(execution_id)
        if execution is None:
            raise _unknown(execution_id)
        counts = await self._store.count_telemetry([execution_id])
        return json_response(execution_document(execution, counts.get(execution_id, Counts())))

    async def show_trace(self, request: Request) -> Response:
        execution_id, _ = _identify(request)
        trace = await self._store.get_trace(execution_id)
        if trace is None:
            raise _unknown(execution_id)
        return json_response(trace_document(trace))

    async def list_logs(self, request: Request) -> Response:
        execution_id, query = _identify(request, "level", "node_id", "text", "limit", "cursor")
        page = await self._store.get_logs(
            execution_id,
            level=query.choice("level", LEVELS),
            node_id=query.text("node_id"),
            text=query.text("text"),
            limit=query.limit(),
            cursor=query.text("cursor"),
        )
        if not page and await self._store.get_execution(execution_id) is None:
            raise _unknown(execution_id)
        return json_response(log_page(page))


def _identify(request: Request, *known: str) -> tuple[str, Parameters]:
    """Return the execution id, from the path or from `id`, and the other parameters."""
    if "execution_id" in request.path_params:
        return request.path_params["execution_id"], Parameters(request, *known)
    query = Parameters(request, "id", *known)
    execution_id = query.text("id")
    if execution_id is None:
        raise ParameterError("id", "id must name an execution")
    return execution_id, query


def _unknown(execution_id: str) -> HTTPException:
    return HTTPException(404, f"no execution {execution_id!r}")
