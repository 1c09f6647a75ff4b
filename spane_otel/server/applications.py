"""The two ASGI applications of the service: UI and API on one port, OTLP on the other."""

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from spane_otel.server.api.routes import api_routes
from spane_otel.server.bodies import DrainMiddleware
from spane_otel.server.context import ServerContext
from spane_otel.server.failures import FailureMiddleware
from spane_otel.server.headers import OTLP_HEADERS, SECURITY_HEADERS, HeadersMiddleware
from spane_otel.server.health import HealthEndpoints
from spane_otel.server.hosts import HostMiddleware
from spane_otel.server.ingest import OtlpEndpoints, refuse, refuse_http_exception
from spane_otel.server.problems import EXCEPTION_HANDLERS, RETRY_AFTER, problem
from spane_otel.server.ui.routes import ui_routes


def ui_application(context: ServerContext) -> ASGIApp:
    """Return the application of the UI port: pages, `/api/v1`, health and metrics.

    Pages come last and never see an address below `/api` or `/v1`, so that a program is answered with a problem
    document and never with a page.
    """
    pages = Router(ui_routes(context), redirect_slashes=False, default=_not_found)

    async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/v1/"):
            raise HTTPException(404, f"OTLP is taken at {context.addresses.otlp}")
        if scope["path"].startswith("/api/"):
            raise HTTPException(404)
        await pages(scope, receive, send)

    routes = [*api_routes(context), *HealthEndpoints(context).routes()]
    app: ASGIApp = Router(routes, redirect_slashes=False, default=elsewhere)
    app = ExceptionMiddleware(app, EXCEPTION_HANDLERS)
    app = FailureMiddleware(app, _problem)
    app = HostMiddleware(app, _problem)
    return HeadersMiddleware(app, SECURITY_HEADERS)


def otlp_application(context: ServerContext) -> ASGIApp:
    """Return the application of the OTLP port."""
    app: ASGIApp = Router(OtlpEndpoints(context).routes(), redirect_slashes=False, default=_not_found)
    app = ExceptionMiddleware(app, {HTTPException: refuse_http_exception})
    app = FailureMiddleware(app, _refuse)
    app = HostMiddleware(app, _refuse)
    app = DrainMiddleware(app)
    return HeadersMiddleware(app, (*SECURITY_HEADERS, *OTLP_HEADERS))


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)


def _problem(_scope: Scope, status: int, detail: str) -> Response:
    return problem(status, detail, headers=RETRY_AFTER if status == 503 else None)


def _refuse(scope: Scope, status: int, detail: str) -> Response:
    return refuse(scope, status, detail, RETRY_AFTER if status == 503 else None)
