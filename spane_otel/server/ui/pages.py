"""Requests for pages: what was asked for, read from the store, put into a template."""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidValueError, StoreUnavailableError
from spane_otel.ids import trace_id_from_hex
from spane_otel.records import Execution
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

CHILDREN_SHOWN: Final = 50

Handler = Callable[["Pages", Request], Awaitable[Response]]


def answer_outage(handler: Handler) -> Handler:
    """Answer with the page that says so while the store does not; live pages take its box and stay."""

    @wraps(handler)
    async def answer(pages: "Pages", request: Request) -> Response:
        try:
            return await handler(pages, request)
        except StoreUnavailableError as error:
            _log.warning("the store does not answer: %s", error)
            return pages.render("away.html", status=503, headers={"Retry-After": "2"}, section="", reason=str(error))
        except InvalidValueError as error:
            return pages.render("refused.html", status=400, section="", reason=str(error))

    return answer


class Pages:
    """The endpoints of the UI."""

    def __init__(self, context: ServerContext) -> None:
        self._context: Final = context
        self._store: Final = context.store

    @answer_outage
    async def executions(self, request: Request) -> Response:
        """`/`: executions, newest first; `?inner=1` also those inside others."""
        cursor = request.query_params.get("cursor")
        with_inner = request.query_params.get("inner") == "1"
        page = await list_executions(self._store, cursor=cursor, with_inner=with_inner)
        if not page.lines and cursor is None:
            inner = not with_inner and (await self._store.list_executions(limit=1)).items
            if not inner:
                return await self._empty("executions")
        return self.render("executions.html", section="executions", page=page, cursor=cursor)

    @answer_outage
    async def traces(self, request: Request) -> Response:
        """`/traces`: traces by their root span, newest first."""
        cursor = request.query_params.get("cursor")
        page = await list_traces(self._store, cursor=cursor)
        if not page.lines and cursor is None:
            return await self._empty("traces")
        return self.render("traces.html", section="traces", page=page, cursor=cursor)

    @answer_outage
    async def execution(self, request: Request) -> Response:
        """`/executions/{id}`, and `/execution?id=` for the ids that browsers would collapse in a path."""
        execution_id = request.path_params.get("execution_id") or request.query_params.get("id") or ""
        now_ns = self._context.clock.now_ns()
        cursor = request.query_params.get("cursor")
        view = await read_execution(self._store, execution_id, now_ns, cursor=cursor) if execution_id else None
        if view is None:
            if trace_id_from_hex(execution_id) and await self._store.get_trace_by_id(execution_id.lower()):
                return RedirectResponse(f"/traces/{execution_id.lower()}")
            return await self._not_found("execution", execution_id)
        return await self._show(request, view)

    @answer_outage
    async def trace(self, request: Request) -> Response:
        """`/traces/{id}`."""
        trace_id = request.path_params["trace_id"]
        now_ns = self._context.clock.now_ns()
        view = await read_trace(self._store, trace_id.lower(), now_ns, cursor=request.query_params.get("cursor"))
        if view is None:
            return await self._not_found("trace", trace_id)
        return await self._show(request, view)

    async def _show(self, request: Request, view: View) -> Response:
        """Return the part that was asked for: a page, its rows, or the panel of one span."""
        query = request.query_params
        match query.get("part"):
            case "rows":
                return Response(msgspec.json.encode(view.timeline), media_type="application/json")
            case "panel":
                index = view.find_row(query.get("span", ""))
                panel = make_panel(view, index) if index is not None else None
                return self.render(
                    "panel.html",
                    status=200 if panel else 404,
                    panel=panel,
                    view=view,
                    mark_kind=mark_kind,
                    here_url=here_url(view),
                )
        tab = "logs" if query.get("tab") == "logs" else "timeline"
        shared = await self._describe(view)
        if tab == "logs":
            lines = make_lines(view, with_events=view.logs.next is None and "cursor" not in query)
            return self.render(
                "logs.html", **shared, tab=tab, lines=lines, kinds=count_kinds(lines), cursor=query.get("cursor")
            )
        return self.render(
            "timeline.html",
            **shared,
            tab=tab,
            window=first_window(view.timeline),
            island=island(view.timeline),
            failed=failed_keys(view),
        )

    async def _describe(self, view: View) -> dict[str, Any]:
        """Return what the head of a page shows."""
        execution = view.execution
        children: list[Execution] = []
        if execution is not None:
            ids = {span.execution_id for span in view.trace.spans if span.execution_id}
            for child_id in sorted(ids - {execution.execution_id})[:CHILDREN_SHOWN]:
                child = await self._store.get_execution(child_id)
                if child is not None and child.parent_execution_id == execution.execution_id:
                    children.append(child)
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

    async def _empty(self, section: str) -> Response:
        stats = await self._store.stats()
        return self.render("empty.html", section=section, stats=stats)

    async def _not_found(self, kind: str, asked: str) -> Response:
        return self.render("not_found.html", status=404, section=f"{kind}s", kind=kind, asked=asked)

    def render(
        self, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any
    ) -> Response:
        """Return a page. Every template may use the present, the addresses and the store's label."""
        now_ns = self._context.clock.now_ns()
        text = TEMPLATES.get_template(template).render(
            now_ns=now_ns,
            now_second=now_ns // SECOND,
            clock=lambda ns, exact=False: clock_time(ns, now_ns, exact=exact),
            addresses=self._context.addresses,
            store_label=self._context.store_label,
            execution_url=execution_path,
            **values,
        )
        return Response(
            text,
            status,
            {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-store"} | (headers or {}),
            "text/html; charset=utf-8",
        )


def here_url(view: View) -> str:
    """Return the address of a view's own page."""
    if view.execution is not None:
        return execution_path(view.execution.execution_id)
    return trace_path(view.trace.trace_id or "")
