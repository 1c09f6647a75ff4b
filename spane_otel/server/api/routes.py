"""All routes of the API."""

from starlette.routing import BaseRoute

from spane_otel.server.api.executions import ExecutionEndpoints
from spane_otel.server.api.logs import LogEndpoints
from spane_otel.server.api.traces import TraceEndpoints
from spane_otel.server.context import ServerContext
from spane_otel.server.stream import stream_routes


def api_routes(context: ServerContext) -> list[BaseRoute]:
    """Return the routes below `/api/v1`."""
    return [
        *ExecutionEndpoints(context).routes(),
        *TraceEndpoints(context).routes(),
        *LogEndpoints(context).routes(),
        *stream_routes(context),
    ]
