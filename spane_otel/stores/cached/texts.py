"""Records as the bytes that Redis keeps, and back: exactly, whatever JSON can say."""

import json
import zlib
from typing import Any, Final, TypeVar

import msgspec

from spane_otel.ids import hash16
from spane_otel.records import Execution
from spane_otel.state import Node, NodeResult, Workflow

COMPRESSED_FROM: Final = 16 * 1024
"""Bytes of JSON from which on it is compressed."""

SHAPE: Final = hash16(
    *(repr((kind.__name__, kind.__struct_fields__)).encode() for kind in (Execution, NodeResult, Node, Workflow))
).hex()[:8]
"""Tells versions of this package apart that would not understand each other's records."""

_PLAIN: Final = b"j"
_COMPRESSED: Final = b"z"

T = TypeVar("T")


def encode_record(record: Any) -> bytes:
    """Return a record, or a mapping of records, as bytes.

    Not msgspec's JSON: payloads may hold integers of any size and strings that are no UTF-8.
    """
    text = json.dumps(msgspec.to_builtins(record), separators=(",", ":")).encode()
    return _PLAIN + text if len(text) < COMPRESSED_FROM else _COMPRESSED + zlib.compress(text, 1)


def decode_record(data: bytes, kind: type[T]) -> T:
    """Return what `encode_record` was given.

    Raises:
        ValueError: it is nothing of ours.

    """
    text = data[1:]
    try:
        return msgspec.convert(json.loads(zlib.decompress(text) if data[:1] == _COMPRESSED else text), kind)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(str(error)) from error
