"""What holds for every address of both ports: host, headers, methods, failures."""

import asyncio
import json
import logging
import re
from typing import Any

import httpx
import pytest
from starlette.routing import BaseRoute, Route

from spane_otel.errors import SchemaError, StoreError, StoreUnavailableError
from spane_otel.server.api.routes import api_routes
from spane_otel.server.context import ServerContext
from spane_otel.server.failures import FailureMiddleware
from spane_otel.server.headers import SECURITY_HEADERS
from spane_otel.server.health import HealthEndpoints
from spane_otel.server.ingest import OtlpEndpoints
from spane_otel.server.problems import problem
from spane_otel.server.rawpath import RawPathRoute
from spane_otel.server.ui.routes import ui_routes
from tests.unit.server.conftest import FailingStore

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TRACE = "/api/v1/traces/" + "a" * 32


def paths_of(routes: list[BaseRoute]) -> list[str]:
    """Return an address of every route; the one of the stream would not end."""
    paths = []
    for route in routes:
        assert isinstance(route, RawPathRoute | Route)
        pattern = route.pattern if isinstance(route, RawPathRoute) else route.path
        paths.append(re.sub(r"\{(\w+)(?::path)?\}", lambda found: "a" * 32 if found[1] == "trace_id" else "e", pattern))
    return [path for path in paths if path != "/api/v1/stream"]


def assert_guarded(answer: httpx.Response) -> None:
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.headers.get_list("content-security-policy")) == 1


async def test_every_answer_of_the_ui_port_carries_the_security_headers(
    api: httpx.AsyncClient, context: ServerContext
) -> None:
    paths = paths_of([*api_routes(context), *HealthEndpoints(context).routes()])
    assert len(paths) > 10
    for path in [*paths, "/api/nothing", "/v1/traces", "/healthz?x=1"]:
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
            answer = await api.request(method, path)
            assert answer.status_code in (200, 400, 404, 405), (method, path)
            assert_guarded(answer)


async def test_every_page_and_file_of_the_ui_carries_them_too(api: httpx.AsyncClient, context: ServerContext) -> None:
    """A page may forbid more than the rest, and a file that never changes may be kept."""
    paths = paths_of(ui_routes(context))
    assert "/" in paths
    for path in [*paths, "/nothing/at/all"]:
        for method in ("GET", "POST"):
            answer = await api.request(method, path)
            assert answer.status_code in (200, 400, 404, 405), (method, path)
            assert answer.headers["content-security-policy"].startswith(CSP), path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "cache-control" in answer.headers


async def test_every_answer_of_the_otlp_port_carries_them_and_says_who_answers(
    otlp: httpx.AsyncClient, context: ServerContext
) -> None:
    for path in [*paths_of(OtlpEndpoints(context).routes()), "/v1/profiles", "/"]:
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            answer = await otlp.request(method, path)
            assert answer.status_code in (404, 405, 415), (method, path)
            assert_guarded(answer)
            assert answer.headers["spane-otel"] == "1"
    answer = await otlp.post("/v1/traces", headers={"host": "evil.example"})
    assert answer.headers["spane-otel"] == "1"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:4380", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:4380", "localhost:"],
)
async def test_the_names_of_loopback_are_answered(api: httpx.AsyncClient, host: str) -> None:
    assert (await api.get("/healthz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:4380",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "0.0.0.0",
        "[::]",
        "::1",
        "localhost:4380@evil.example",
        "localhost:port",
        "localhost:123456",
        "localhost, localhost",
        "localhost\t",
        "",
    ],
)
async def test_every_other_host_is_misdirected_on_both_ports(
    api: httpx.AsyncClient, otlp: httpx.AsyncClient, host: str
) -> None:
    for answer in (
        await api.get("/healthz", headers={"host": host}),
        await api.get("/", headers={"host": host}),
        await otlp.post("/v1/traces", headers={"host": host}),
    ):
        assert answer.status_code == 421
        assert_guarded(answer)


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"localhost"], [b"localhost", b"evil.example"]])
async def test_a_request_without_exactly_one_host_is_refused(context: ServerContext, hosts: list[bytes]) -> None:
    from spane_otel.server.applications import ui_application

    sent = await call(ui_application(context), [(b"host", host) for host in hosts])
    assert sent[0]["status"] == 400


async def test_a_wrong_method_is_refused_and_the_right_ones_are_named(
    api: httpx.AsyncClient, otlp: httpx.AsyncClient
) -> None:
    answer = await api.post("/api/v1/executions")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/v1/traces", "/v1/logs", "/v1/metrics", "/v1/traces/"):
        answer = await otlp.get(path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("failure", "detail"),
    [
        (StoreUnavailableError("connection to 10.0.0.5 refused"), "the store does not answer; try again in a moment"),
        (SchemaError("run spane-otel migrate"), "run spane-otel migrate"),
        (StoreError("secret"), "the store refused; the service's log says why"),
        (RuntimeError("secret"), "the service failed; its log says why"),
    ],
)
async def test_a_failing_store_is_a_problem_without_what_it_said(
    api: httpx.AsyncClient, store: FailingStore, failure: Exception, detail: str
) -> None:
    store.failure = failure
    answer = await api.get(TRACE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert_guarded(answer)
    assert answer.json() == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": detail,
    }


async def test_what_nobody_expected_is_logged_with_its_trace_and_not_shown(
    api: httpx.AsyncClient, store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.failure = ZeroDivisionError("the secret")
    with caplog.at_level(logging.ERROR):
        answer = await api.get(TRACE)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "ZeroDivisionError: the secret" in caplog.text


async def test_a_request_that_a_shutdown_cuts_off_is_answered_to_come_again() -> None:
    began = asyncio.Event()

    async def endless(*_: Any) -> None:
        began.set()
        await asyncio.Event().wait()

    app = FailureMiddleware(endless, lambda _scope, status, detail: problem(status, detail))
    task = asyncio.create_task(call(app, []))
    await began.wait()
    task.cancel()
    sent = await task
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"])["detail"] == "the service is stopping"


async def test_an_answer_that_had_begun_is_broken_off() -> None:
    async def half(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half way")

    app = FailureMiddleware(half, lambda _scope, status, detail: problem(status, detail))
    with pytest.raises(RuntimeError, match="half way"):
        await call(app, [])


def test_no_security_header_stands_twice() -> None:
    assert len({name for name, _ in SECURITY_HEADERS}) == len(SECURITY_HEADERS)


async def call(app: Any, headers: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
    """Send GET /healthz straight to an application; return what it sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "raw_path": b"/healthz",
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    return sent
