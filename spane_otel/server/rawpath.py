"""Routes that match the path as it was sent, before percent-decoding.

An execution id is free text: `a/b`, `..` and `%` are legal ids, and `a%2Fb` must stay one segment. Servers decode
the path before they route; these routes split the raw path first and decode each segment afterwards.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import URLPath
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound, request_response
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class RawPathRoute(BaseRoute):
    """A route whose `{parameters}` are single raw segments, percent-decoded as UTF-8 once the route matched.

    Parameters are cleaned like every stored text (NUL becomes U+FFFD), so that an id finds what it was stored as. An
    empty segment or one that isn't UTF-8 matches no parameter. GET answers HEAD too; another method gets 405.
    """

    def __init__(
        self, pattern: str, endpoint: Endpoint, methods: Collection[str] = ("GET",), *, name: str | None = None
    ) -> None:
        self.pattern: Final = pattern
        self.path: Final = pattern
        self.endpoint: Final = endpoint
        self.methods: Final = frozenset(methods) | ({"HEAD"} if "GET" in methods else set())
        self.name: Final = name or getattr(endpoint, "__name__", type(endpoint).__name__)
        self._segments: Final = pattern.split("/")
        self._app: Final = request_response(endpoint)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        segments = raw_path_of(scope).split("/")
        if len(segments) != len(self._segments):
            return Match.NONE, {}
        parameters: dict[str, str] = {}
        for wanted, raw in zip(self._segments, segments, strict=True):
            value = _decode(raw)
            if not wanted.startswith("{"):
                if value != wanted:
                    return Match.NONE, {}
            elif value:
                parameters[wanted[1:-1]] = value
            else:
                return Match.NONE, {}
        match = Match.FULL if scope["method"] in self.methods else Match.PARTIAL
        return match, {"endpoint": self.endpoint, "path_params": parameters}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path with every parameter percent-encoded, slashes included."""
        if name != self.name or set(path_params) != {part[1:-1] for part in self._segments if part.startswith("{")}:
            raise NoMatchFound(name, path_params)
        encoded = (
            quote(str(path_params[part[1:-1]]), safe="") if part.startswith("{") else part for part in self._segments
        )
        return URLPath(path="/".join(encoded), protocol="http")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods))})
        await self._app(scope, receive, send)

    def __repr__(self) -> str:
        return f"RawPathRoute({self.pattern!r}, methods={sorted(self.methods)})"


def raw_path_of(scope: Scope) -> str:
    """Return the path of a request as it was sent, still percent-encoded, without the query."""
    raw = scope.get("raw_path")
    if raw is None:  # optional in ASGI
        return quote(scope["path"])
    return str(raw.partition(b"?")[0].decode("latin-1"))


def _decode(raw: str) -> str | None:
    if "%" not in raw and raw.isascii():
        return raw
    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    except UnicodeDecodeError:
        return None
