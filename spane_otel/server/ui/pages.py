"""Requests for pages: what was asked for, read from the store, put into a template."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from spane_otel.errors import InvalidValueError, StoreUnavailableError
from spane_otel.ids import trace_id_from_hex
from spane_otel.server.context import ServerContext
from spane_otel.server.ui.environment import TEMPLATES, execution_path, trace_path
from spane_otel.server.ui.failures import (
    explain_missing_result,
    failed_keys,
    find_abandoned,
    find_wrong,
    measure,
    split_error,
)
from spane_otel.server.ui.lists import list_executions, list_traces
from spane_otel.server.ui.logs import count_kinds, make_lines
from spane_otel.server.ui.moments import clock_time
from spane_otel.server.ui.panel import make_panel
from spane_otel.server.ui.payload import show_payload
from spane_otel.server.ui.reading import View, read_execution, read_trace
from spane_otel.server.ui.window import first_window, island
from spane_otel.traces.marks import mark_kind

_log: Final = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Of every page. Trusted types: the browser itself refuses to turn text into HTML."""


class Sheet(Struct):
    """A page to be rendered: its template and what the template is given."""

    template: str
    values: dict[str, Any]
    status: int = 200


Handler = Callable[["Pages", Request], Awaitable[Response | Sheet]]
Endpoint = Callable[["Pages", Request], Awaitable[Response]]


def page(handler: Handler) -> Endpoint:
    """Render what `handler` returns, or that the store does not answer; live pages take that box and stay.

    Where the page stands in the feed of changes is read before anything else, so that its stream can go on from there.
    """

    @wraps(handler)
    async def answer(pages: "Pages", request: Request) -> Response:
        cursor = ""
        try:
            if "part" not in request.query_params:
                cursor = await pages.read_cursor()
            outcome = await handler(pages, request)
        except StoreUnavailableError as error:
            _log.warning("the store does not answer: %s", error)
            outcome = Sheet("away.html", {"section": "", "reason": str(error)}, 503)
        except InvalidValueError as error:
            outcome = Sheet("refused.html", {"section": "", "reason": str(error)}, 400)
        return outcome if isinstance(outcome, Response) else pages.render(outcome, cursor)

    return answer


class Pages:
    """The endpoints of the UI."""

    def __init__(self, context: ServerContext) -> None:
        self._context: Final = context
        self._store: Final = context.store

    @page
    async def executions(self, request: Request) -> Response | Sheet:
        """`/`: executions, newest first; `?inner=1` also those inside others."""
        cursor = request.query_params.get("cursor")
        with_inner = request.query_params.get("inner") == "1"
        listed = await list_executions(self._store, cursor=cursor, with_inner=with_inner)
        if not listed.lines and cursor is None and (with_inner or not await self._store.list_executions(limit=1)):
            return await self._empty("executions")
        return Sheet("executions.html", {"section": "executions", "page": listed, "cursor": cursor})

    @page
    async def traces(self, request: Request) -> Response | Sheet:
        """`/traces`: traces by their root span, newest first."""
        cursor = request.query_params.get("cursor")
        listed = await list_traces(self._store, cursor=cursor)
        if not listed.lines and cursor is None:
            return await self._empty("traces")
        return Sheet("traces.html", {"section": "traces", "page": listed, "cursor": cursor})

    @page
    async def execution(self, request: Request) -> Response | Sheet:
        """`/executions/{id}`, and `/execution?id=` for the ids that browsers would collapse in a path."""
        execution_id = request.path_params.get("execution_id") or request.query_params.get("id") or ""
        now_ns = self._context.clock.now_ns()
        cursor = request.query_params.get("cursor")
        view = await read_execution(self._store, execution_id, now_ns, cursor=cursor) if execution_id else None
        if view is None:
            if trace_id_from_hex(execution_id) and await self._store.get_trace_by_id(execution_id.lower()):
                return RedirectResponse(f"/traces/{execution_id.lower()}")
            return self._not_found("execution", execution_id)
        return await self._show(request, view)

    @page
    async def trace(self, request: Request) -> Response | Sheet:
        """`/traces/{id}`."""
        trace_id = request.path_params["trace_id"]
        now_ns = self._context.clock.now_ns()
        view = await read_trace(self._store, trace_id.lower(), now_ns, cursor=request.query_params.get("cursor"))
        if view is None:
            return self._not_found("trace", trace_id)
        return await self._show(request, view)

    @page
    async def elsewhere(self, request: Request) -> Response | Sheet:
        """Any other address."""
        return Sheet("refused.html", {"section": "", "reason": f"There is no page {request.url.path}."}, 404)

    async def _show(self, request: Request, view: View) -> Response | Sheet:
        """Return the part that was asked for: a page, its rows, or the panel of one span."""
        query = request.query_params
        match query.get("part"):
            case "rows":
                return Response(msgspec.json.encode(view.timeline), media_type="application/json")
            case "panel":
                index = view.find_row(query.get("span", ""))
                panel = make_panel(view, index) if index is not None else None
                values: dict[str, Any] = {
                    "panel": panel,
                    "view": view,
                    "mark_kind": mark_kind,
                    "here_url": here_url(view),
                }
                return Sheet("panel.html", values, 200 if panel else 404)
        tab = "logs" if query.get("tab") == "logs" else "timeline"
        values = {**await self._describe(view), "tab": tab}
        if tab == "logs":
            lines = make_lines(view, with_events=view.logs.next is None and "cursor" not in query)
            values |= {"lines": lines, "kinds": count_kinds(lines), "cursor": query.get("cursor")}
            return Sheet("logs.html", values)
        timeline = view.timeline
        values |= {"window": first_window(timeline), "island": island(timeline), "failed": failed_keys(view)}
        return Sheet("timeline.html", values)

    async def _describe(self, view: View) -> dict[str, Any]:
        """Return what the head of a page shows."""
        execution = view.execution
        children = [row for row in view.timeline.rows if row.sub] if execution is not None else []
        parent_id = execution.parent_execution_id if execution else None
        owners = sorted({span.execution_id for span in view.trace.spans if span.execution_id})
        return {
            **measure(view),
            "here_url": here_url(view),
            "section": "executions" if execution else "traces",
            "view": view,
            "execution": execution,
            "counts": view.counts,
            "wrong": find_wrong(view),
            "abandoned": find_abandoned(view),
            "error": split_error(execution.error if execution else None),
            "input": show_payload(execution.initial_data) if execution and execution.initial_data is not None else None,
            "result": show_payload(execution.result) if execution and execution.result is not None else None,
            "no_result": explain_missing_result(view),
            "children": children,
            "parent": await self._store.get_execution(parent_id) if parent_id else None,
            "owners": owners,
        }

    async def _empty(self, section: str) -> Sheet:
        return Sheet("empty.html", {"section": section, "stats": await self._store.stats()})

    def _not_found(self, kind: str, asked: str) -> Sheet:
        return Sheet("not_found.html", {"section": f"{kind}s", "kind": kind, "asked": asked}, 404)

    async def read_cursor(self) -> str:
        """Return where the feed of changes is now."""
        cursor, _ = await self._store.poll_changes()
        return cursor

    def render(self, sheet: Sheet, change_cursor: str) -> Response:
        """Return a page. Every template may use the present, the addresses and the store's label."""
        now_ns = self._context.clock.now_ns()
        text = TEMPLATES.get_template(sheet.template).render(
            now_ns=now_ns,
            clock=lambda ns, exact=False: clock_time(ns, now_ns, exact=exact),
            change_cursor=change_cursor,
            addresses=self._context.addresses,
            store_label=self._context.store_label,
            **sheet.values,
        )
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-store"}
        if sheet.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "2"
        return Response(text, sheet.status, headers, "text/html; charset=utf-8")


def here_url(view: View) -> str:
    """Return the address of a view's own page."""
    if view.execution is not None:
        return execution_path(view.execution.execution_id)
    return trace_path(view.trace.trace_id or "")
