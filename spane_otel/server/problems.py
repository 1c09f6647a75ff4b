"""Errors of the HTTP API as problem documents (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from spane_otel.errors import InvalidValueError, NotFoundError, SchemaError, StoreError, StoreUnavailableError

_log: Final = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = {"Retry-After": "1"}


class ParameterError(Exception):
    """A query parameter is wrong; answered with 400 and the parameter's name."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class Problem(msgspec.Struct):
    """The members of RFC 9457, section 3.1, and `parameter`: which query parameter is wrong."""

    title: str
    status: int
    detail: str
    parameter: str | msgspec.UnsetType = msgspec.UNSET
    type: str = "about:blank"


def problem(
    status: int, detail: str, *, parameter: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem document. Its type is `about:blank`, so the title is HTTP's own phrase (section 4.2.1)."""
    document = Problem(HTTPStatus(status).phrase, status, detail, parameter or msgspec.UNSET)
    return Response(msgspec.json.encode(document), status, headers, MEDIA_TYPE)


async def answer_http_exception(_request: Request, exc: Exception) -> Response:
    """Answer what routing refuses, and what an endpoint raises as `HTTPException`."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for this class only
    phrase = HTTPStatus(exc.status_code).phrase
    detail = exc.detail if exc.detail != phrase else _DETAILS.get(exc.status_code, phrase)
    return problem(exc.status_code, detail, headers=exc.headers)


async def answer_parameter_error(_request: Request, exc: Exception) -> Response:
    return problem(400, str(exc), parameter=getattr(exc, "parameter", None))


async def answer_invalid_value(request: Request, exc: Exception) -> Response:
    """Answer a value that the store refuses; where its reason is the name of a parameter, that one is named."""
    reason = getattr(exc, "reason", None)
    return problem(400, str(exc), parameter=reason if reason in request.query_params else None)


async def answer_not_found(_request: Request, exc: Exception) -> Response:
    return problem(404, str(exc))


async def answer_store_error(_request: Request, exc: Exception) -> Response:
    """Answer for a store that fails. What a driver says stays in the log: it may hold addresses or data."""
    if isinstance(exc, StoreUnavailableError):
        _log.warning("the store does not answer: %s", exc)
        return problem(503, "the store does not answer; try again in a moment", headers=RETRY_AFTER)
    if isinstance(exc, SchemaError):
        return problem(503, str(exc), headers=RETRY_AFTER)
    _log.error("the store failed", exc_info=exc)
    return problem(503, "the store refused; the service's log says why", headers=RETRY_AFTER)


EXCEPTION_HANDLERS: Final[Mapping[Any, Any]] = {
    HTTPException: answer_http_exception,
    ParameterError: answer_parameter_error,
    InvalidValueError: answer_invalid_value,
    NotFoundError: answer_not_found,
    StoreError: answer_store_error,
}

_DETAILS: Final = {
    404: "there is nothing at this address",
    405: "this address does not take this method",
}
