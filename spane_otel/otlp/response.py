"""OTLP's answers: partial success, and google.rpc.Status for failures."""

from typing import Any, Final

from msgspec import Struct

from spane_otel.otlp import wire
from spane_otel.values import clean_text

INVALID_ARGUMENT: Final = 3
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
"""Codes of google/rpc/code.proto that an OTLP receiver answers with."""

MESSAGE_CHARACTERS: Final = 2_048


class PartialSuccess(Struct, frozen=True):
    """What a receiver says of a request that it took: how many items it did not, and why."""

    rejected: int = 0
    message: str = ""


class Failure(Struct, frozen=True):
    """What a receiver says of a request that it did not take."""

    code: int = 0
    message: str = ""


def traces_response(rejected: int = 0, message: str = "") -> bytes:
    """Return an ExportTraceServiceResponse. Without rejections and message it is empty: full success."""
    return _response(rejected, message)


def logs_response(rejected: int = 0, message: str = "") -> bytes:
    """Return an ExportLogsServiceResponse; its fields have the numbers of the one for traces."""
    return _response(rejected, message)


def metrics_response(rejected: int = 0, message: str = "") -> bytes:
    """Return an ExportMetricsServiceResponse; its fields have the numbers of the one for traces."""
    return _response(rejected, message)


def status(code: int, message: str) -> bytes:
    """Return a google.rpc.Status."""
    return _serialize(wire.Status(code=code, message=_text(message)))


def parse_response(raw: bytes) -> PartialSuccess:
    """Return what an Export*ServiceResponse says.

    Raises:
        DecodeError: `raw` is not such a response.

    """
    partial = wire.parse(wire.Response, raw).partial_success
    return PartialSuccess(max(partial.rejected, 0), clean_text(partial.error_message, MESSAGE_CHARACTERS))


def parse_status(raw: bytes) -> Failure:
    """Return what a google.rpc.Status says.

    Raises:
        DecodeError: `raw` is not one.

    """
    message = wire.parse(wire.Status, raw)
    return Failure(message.code, clean_text(message.message, MESSAGE_CHARACTERS))


def _response(rejected: int, message: str) -> bytes:
    if not rejected and not message:
        return b""
    partial = wire.PartialSuccess(rejected=rejected, error_message=_text(message))
    return _serialize(wire.Response(partial_success=partial))


def _text(message: str) -> bytes:
    return clean_text(message, MESSAGE_CHARACTERS).encode()


def _serialize(message: Any) -> bytes:
    raw: bytes = message.SerializeToString()
    return raw
