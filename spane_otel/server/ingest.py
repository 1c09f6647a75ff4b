"""OTLP over HTTP: requests in, committed rows out (opentelemetry-proto, docs/specification.md, *OTLP/HTTP*).

200 is answered only after the store has committed. What is wrong with the request is the client's to know (4xx, not
sent again), what is wrong here is 503 (sent again); there is no 500.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from spane_otel.counters import Signal
from spane_otel.errors import DecodeError, StoreError, StoreUnavailableError, TooLargeError
from spane_otel.otlp.decode import Decoded, decode_logs, decode_traces
from spane_otel.otlp.response import logs_response, metrics_response, status, traces_response
from spane_otel.records import TIME_SOURCES, Rejection, WriteResult
from spane_otel.server.bodies import read_body
from spane_otel.server.context import ServerContext
from spane_otel.server.intake import OverloadedError
from spane_otel.server.problems import RETRY_AFTER
from spane_otel.server.rawpath import RawPathRoute

_log: Final = logging.getLogger(__name__)

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

INLINE_BYTES: Final = 1024 * 1024
"""About 15 ms of decoding; beside the loop, 10,000 spans hold up other answers by at most some milliseconds, not 80."""

_MESSAGE_LIMIT: Final = 1_000
_CODES: Final = {400: 3, 404: 12, 405: 12, 408: 4, 413: 8, 415: 3, 421: 3, 503: 14}
"""google.rpc.Code by HTTP status: invalid argument, unimplemented, deadline, exhausted, unavailable."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """A request that is answered with `status` and a google.rpc.Status."""

    def __init__(self, status_code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.headers = headers


class OtlpEndpoints:
    """`/v1/traces`, `/v1/logs` and `/v1/metrics`."""

    def __init__(self, context: ServerContext) -> None:
        self._store: Final = context.store
        self._clock: Final = context.clock
        self._counters: Final = context.counters
        self._intake: Final = context.intake
        self._large: Final = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        """Return the routes; a slash at the end, as some base URLs leave it, makes no difference."""
        routes: list[BaseRoute] = []
        for path, take in (
            ("/v1/traces", partial(self._take, "spans", decode_traces, traces_response)),
            ("/v1/logs", partial(self._take, "logs", decode_logs, logs_response)),
            ("/v1/metrics", _take_metrics),
        ):
            endpoint = partial(self._answer, path, take)
            routes += [RawPathRoute(path, endpoint, ["POST"]), RawPathRoute(f"{path}/", endpoint, ["POST"])]
        return routes

    async def _answer(self, path: str, take: Callable[[bytes], Awaitable[bytes]], request: Request) -> Response:
        try:
            with self._intake.lease() as lease:
                _check_media_type(request)
                body = await read_body(request, lease, gzip=_is_gzip(request))
                response = Response(await take(body), media_type=PROTOBUF)
        except Refusal as exc:
            response = refuse(request.scope, exc.status_code, str(exc), exc.headers)
        except TooLargeError as exc:
            response = refuse(request.scope, 413, str(exc))
        except DecodeError as exc:
            response = refuse(request.scope, 400, str(exc))
        except TimeoutError:
            response = refuse(request.scope, 408, "the request took too long to arrive", {"Connection": "close"})
        except OverloadedError:
            response = refuse(request.scope, 503, "the service holds as much as it may", RETRY_AFTER)
        except ClientDisconnect:
            response = refuse(request.scope, 400, "the client went away")
        self._intake.count_request(path, response.status_code)
        return response

    async def _take(
        self,
        signal: Signal,
        decode: Callable[..., Decoded],
        respond: Callable[[int, str], bytes],
        body: bytes,
    ) -> bytes:
        """Store what `body` carries and return the response once it is committed."""
        decoded = await self._digest(decode, body)
        counters = self._counters
        total = decoded.accepted + len(decoded.rejected)
        counters.add(signal, "accepted", total)
        counters.add(signal, "repaired", decoded.repaired)
        counters.add(signal, "untimed", sum(TIME_SOURCES[log.time_source] == "receipt" for log in decoded.batch.logs))
        for reason, count in Counter(each.reason for each in decoded.rejected).items():
            counters.add(signal, "rejected", count, reason)
        result = await self._write(signal, decoded)
        stored, duplicates = (
            (result.spans_stored, result.spans_duplicate)
            if signal == "spans"
            else (result.logs_stored, result.logs_duplicate)
        )
        counters.add(signal, "stored", stored)
        counters.add(signal, "duplicates", duplicates)
        for reason, count in Counter(each.reason for each in result.rejected).items():
            counters.add(signal, "rejected", count, reason)
        rejected = [*decoded.rejected, *result.rejected]
        return respond(len(rejected), describe(signal, total, rejected, decoded.repaired))

    async def _digest(self, decode: Callable[..., Decoded], body: bytes) -> Decoded:
        """Decode a small request at once; a large one beside the event loop, so that others are answered meanwhile."""
        if len(body) <= INLINE_BYTES:
            return self._decode(decode, body)
        async with self._large:  # one at a time: more would only take turns, and hold their rows meanwhile
            return await asyncio.to_thread(self._decode, decode, body)

    def _decode(self, decode: Callable[..., Decoded], body: bytes) -> Decoded:
        try:
            return decode(body, now_ns=self._clock.now_ns())
        except DecodeError:
            raise
        except Exception:  # noqa: BLE001 - no input may end in anything else
            # A bug of ours, but this input's alone: sent again it would fail again.
            _log.exception("a request of %d bytes could not be decoded", len(body))
            raise Refusal(400, "the request could not be decoded") from None

    async def _write(self, signal: Signal, decoded: Decoded) -> WriteResult:
        batch = decoded.batch
        if not (batch.spans or batch.logs or batch.heartbeats):
            return WriteResult()
        try:
            return await self._store.write(batch)
        except BaseException as exc:
            self._counters.add(signal, "rejected", decoded.accepted, "store_unavailable")
            if isinstance(exc, StoreUnavailableError):
                raise Refusal(503, "the store does not answer; send again", RETRY_AFTER) from exc
            if isinstance(exc, StoreError):
                # Not the client's fault as far as anybody knows, and what is sent again later may be taken.
                _log.exception("the store refused a batch")
                raise Refusal(503, "the store refused; the service's log says why", RETRY_AFTER) from exc
            raise


def describe(signal: Signal, total: int, rejected: list[Rejection], repaired: int) -> str:
    """Return what a client should know of a request that was not stored as it came; empty if there is nothing."""
    parts: list[str] = []
    if rejected:
        parts.append(f"{len(rejected)} of {total} {signal} rejected")
        details = {each.reason: each.detail for each in reversed(rejected)}
        for reason, count in Counter(each.reason for each in rejected).most_common():
            parts.append(f"{count} x {reason}" + (f" ({details[reason]})" if details[reason] else ""))
    if repaired:
        parts.append(f"{repaired} {signal} repaired")
    text = "; ".join(parts)
    return text if len(text) <= _MESSAGE_LIMIT else f"{text[: _MESSAGE_LIMIT - 1]}…"


def refuse(scope: Scope, status_code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as google.rpc.Status in the media type of the request, as text if that is neither of OTLP's."""
    code = _CODES.get(status_code, 2)
    media_type = _media_type(scope)
    if media_type == PROTOBUF:
        return Response(status(code, message), status_code, headers, PROTOBUF)
    if media_type == JSON:
        return Response(msgspec.json.encode({"code": code, "message": message}), status_code, headers, JSON)
    return Response(message + "\n", status_code, headers, "text/plain")


async def refuse_http_exception(request: Request, exc: Exception) -> Response:
    """Answer what routing refuses on the OTLP port."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this class only
    messages = {404: "OTLP is taken at /v1/traces, /v1/logs and /v1/metrics", 405: "OTLP requests are sent with POST"}
    message = messages.get(exc.status_code, exc.detail)
    return refuse(request.scope, exc.status_code, message, exc.headers)


async def _take_metrics(_body: bytes) -> bytes:
    """Answer a request with metrics: none is stored, and an error would be logged at every interval."""
    return metrics_response(0, "metrics are not stored")


def _media_type(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return str(value.decode("latin-1").partition(";")[0].strip().lower())
    return ""


def _check_media_type(request: Request) -> None:
    media_type = _media_type(request.scope)
    if media_type == JSON:
        raise Refusal(415, "OTLP as JSON is not supported yet: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
    if media_type != PROTOBUF:
        raise Refusal(415, f"the media type must be {PROTOBUF}")


def _is_gzip(request: Request) -> bool:
    encodings = [
        token
        for value in request.headers.getlist("content-encoding")
        for token in value.lower().replace(" ", "").split(",")
        if token not in ("", "identity")
    ]
    if encodings in ([], ["gzip"], ["x-gzip"]):
        return bool(encodings)
    raise Refusal(415, "the content encoding must be gzip or none", {"Accept-Encoding": "gzip, identity"})
