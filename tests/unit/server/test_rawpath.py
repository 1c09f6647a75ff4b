"""Any text may be an execution id, and its address leads to it and to nothing else."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, NoMatchFound
from starlette.types import Scope

from spane_otel.server.rawpath import RawPathRoute


async def show(request: Request) -> Response:
    return Response(request.path_params["execution_id"])


ROUTE = RawPathRoute("/executions/{execution_id}/logs", show)


def scope_of(raw_path: str, method: str = "GET") -> Scope:
    return {"type": "http", "method": method, "path": raw_path, "raw_path": raw_path.encode("latin-1")}


def matched_id(raw_path: str) -> str | None:
    match, child = ROUTE.matches(scope_of(raw_path))
    return child["path_params"]["execution_id"] if match is Match.FULL else None


@pytest.mark.parametrize(
    ("segment", "execution_id"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("..", ".."),
        ("%2E%2E", ".."),
        ("%25", "%"),
        ("%", "%"),
        ("%zz", "%zz"),
        ("%252F", "%2F"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("caf%C3%A9", "café"),
        ("%F0%9F%98%80", "😀"),
        ("%3Fx%23y", "?x#y"),
        ("bullmq:orders:1", "bullmq:orders:1"),
        ("%00", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_segment_is_decoded_once_after_it_was_matched(segment: str, execution_id: str) -> None:
    assert matched_id(f"/executions/{segment}/logs") == execution_id


@pytest.mark.parametrize(
    "raw_path",
    [
        "/executions//logs",
        "/executions/a/b/logs",
        "/executions/a/logs/",
        "/executions/a",
        "/executions/%FF/logs",
        "/executions/%ED%A0%80/logs",
        "/executions/\xff/logs",
        "/other/a/logs",
        "/executions/a%2Flogs",
    ],
)
def test_no_other_path_matches(raw_path: str) -> None:
    """Not an empty segment, not one that is no UTF-8, not an encoded slash taken for a real one."""
    assert ROUTE.matches(scope_of(raw_path))[0] is Match.NONE


@given(st.text(min_size=1).filter(lambda text: "\0" not in text and text.isprintable()))
def test_every_id_is_found_at_its_own_address(execution_id: str) -> None:
    path = ROUTE.url_path_for("show", execution_id=execution_id)
    assert matched_id(str(path)) == execution_id


def test_a_name_or_parameter_that_is_not_the_routes_gives_no_address() -> None:
    with pytest.raises(NoMatchFound):
        ROUTE.url_path_for("show", other="a")
    with pytest.raises(NoMatchFound):
        ROUTE.url_path_for("list", execution_id="a")


def test_a_literal_segment_may_be_sent_percent_encoded() -> None:
    assert matched_id("/%65xecutions/a/logs") == "a"


def test_a_path_without_its_raw_form_is_matched_too() -> None:
    """`raw_path` is optional in ASGI; an encoded slash is then lost to everybody."""
    scope: Scope = {"type": "http", "method": "GET", "path": "/executions/a b/logs"}
    assert ROUTE.matches(scope)[1]["path_params"] == {"execution_id": "a b"}


async def test_another_method_is_refused_and_the_right_ones_are_named() -> None:
    match, _ = ROUTE.matches(scope_of("/executions/a/logs", "DELETE"))
    assert match is Match.PARTIAL

    async def unused(*_: object) -> None: ...

    with pytest.raises(HTTPException) as caught:
        await ROUTE.handle(scope_of("/executions/a/logs", "DELETE"), unused, unused)  # type: ignore[arg-type]  # never called
    assert caught.value.status_code == 405
    assert caught.value.headers == {"Allow": "GET, HEAD"}


def test_only_http_requests_match() -> None:
    assert ROUTE.matches({"type": "websocket", "path": quote("/executions/a/logs")})[0] is Match.NONE
