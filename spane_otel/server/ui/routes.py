"""The pages of the UI and the files they load."""

from starlette.routing import BaseRoute, Route

from spane_otel.server.context import ServerContext
from spane_otel.server.rawpath import RawPathRoute
from spane_otel.server.ui.assets import serve_asset
from spane_otel.server.ui.pages import Pages


def ui_routes(context: ServerContext) -> list[BaseRoute]:
    """Return the routes of the UI; what matches none of them gets the not-found page."""
    pages = Pages(context)
    return [
        RawPathRoute("/", pages.executions),
        RawPathRoute("/traces", pages.traces),
        RawPathRoute("/traces/{trace_id}", pages.trace),
        RawPathRoute("/executions/{execution_id}", pages.execution),
        RawPathRoute("/execution", pages.execution),
        RawPathRoute("/assets/{version}/{name}", serve_asset),
        Route("/{path:path}", pages.elsewhere),
    ]
