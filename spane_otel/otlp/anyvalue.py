"""OTLP's KeyValue and AnyValue (common.proto), read from bytes and written to bytes by hand.

Protobuf reads at most 100 levels of messages, about 50 of AnyValue, and refuses the whole request beyond. Here a
value of any depth is walked with a list of what is left to do, in time linear in its size.
"""

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from spane_otel.errors import DecodeError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DOUBLE: Final = Struct("<d")
_SKIPPED: Final = {_FIXED64: 8, _FIXED32: 4}

Text = Callable[[bytes], str]
"""How bytes become text; it repairs what isn't UTF-8."""
_Todo = list[tuple[list[Any] | dict[str, Any], int, int]]
"""Containers that exist already but are still empty, and where in the buffer their content stands."""


def read_value(buffer: bytes, text: Text) -> Any:
    """Return the AnyValue in `buffer` as a Python value: None, bool, int, float, str, bytes, list or dict.

    An empty AnyValue is None. Of equal keys in a map, and of several values in one message, the last wins.

    Raises:
        DecodeError: `buffer` is not protobuf.

    """
    todo: _Todo = []
    value = _read_any(buffer, 0, len(buffer), text, todo)
    _fill(buffer, text, todo)
    return value


def read_attribute(buffer: bytes, text: Text) -> tuple[str, Any]:
    """Return the KeyValue in `buffer` as key and Python value.

    Raises:
        DecodeError: `buffer` is not protobuf.

    """
    todo: _Todo = []
    key, start, stop = _read_pair(buffer, 0, len(buffer), text)
    value = _read_any(buffer, start, stop, text, todo)
    _fill(buffer, text, todo)
    return key, value


def _fill(buffer: bytes, text: Text, todo: _Todo) -> None:
    while todo:
        container, position, end = todo.pop()
        while position < end:
            number, kind, value, position = _read_field(buffer, position, end)
            if number != 1 or kind != _BYTES:
                continue
            if isinstance(container, list):
                container.append(_read_any(buffer, value, position, text, todo))
            else:
                key, start, stop = _read_pair(buffer, value, position, text)
                container[key] = _read_any(buffer, start, stop, text, todo)


def _read_pair(buffer: bytes, position: int, end: int, text: Text) -> tuple[str, int, int]:
    """Return a KeyValue's key and where its value starts and stops."""
    key = b""
    start = stop = 0
    while position < end:
        number, kind, value, position = _read_field(buffer, position, end)
        if kind == _BYTES:
            if number == 1:
                key = buffer[value:position]
            elif number == 2:
                start, stop = value, position
    return text(key), start, stop


def _read_any(buffer: bytes, position: int, end: int, text: Text, todo: _Todo) -> Any:
    result: Any = None
    while position < end:
        number, kind, value, position = _read_field(buffer, position, end)
        if kind == _BYTES:
            if number == 1:
                result = text(buffer[value:position])
            elif number == 5:
                result = []
                todo.append((result, value, position))
            elif number == 6:
                result = {}
                todo.append((result, value, position))
            elif number == 7:
                result = buffer[value:position]
        elif kind == _VARINT:
            if number == 2:
                result = value != 0
            elif number == 3:
                result = value - (1 << 64) if value >> 63 else value
        elif kind == _FIXED64 and number == 4:
            result = _DOUBLE.unpack_from(buffer, value)[0]
    return result


def _read_field(buffer: bytes, position: int, end: int) -> tuple[int, int, int, int]:
    """Return a field's number and wire type, its value, and where it ends.

    The value of a varint is itself, of anything else the position at which it starts.
    """
    tag, position = _read_varint(buffer, position, end)
    kind = tag & 7
    number = tag >> 3
    if number == 0 or number >= 1 << 29:
        raise DecodeError("malformed protobuf: no such field number")
    if kind == _VARINT:
        value, position = _read_varint(buffer, position, end)
        return number, kind, value, position
    if kind == _BYTES:
        length, position = _read_varint(buffer, position, end)
        stop = position + length
    elif kind in _SKIPPED:
        stop = position + _SKIPPED[kind]
    else:
        raise DecodeError("malformed protobuf: groups have no place in OTLP")
    if stop > end:
        raise DecodeError("malformed protobuf: a field is longer than its message")
    return number, kind, position, stop


def _read_varint(buffer: bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise DecodeError("malformed protobuf: a number does not end")


# --- the way back ----------------------------------------------------------------------------------------------


def write_attribute(key: str, value: Any) -> bytes:
    """Return a KeyValue. `value` is plain Python, as `jsontext.untag` returns it."""
    raw = write_value(value)
    return _length_delimited(0x0A, key.encode()) + _length_delimited(0x12, raw)


def write_value(value: Any) -> bytes:
    """Return an AnyValue. Values nest as deep as `values.Limits.depth` lets them, so this may recurse."""
    if value is None:
        return b""
    if isinstance(value, str):
        return _length_delimited(0x0A, value.encode())
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    if isinstance(value, bytes):
        return _length_delimited(0x3A, value)
    if isinstance(value, list):
        return _length_delimited(0x2A, b"".join([_length_delimited(0x0A, write_value(item)) for item in value]))
    pairs = [_length_delimited(0x0A, write_attribute(key, item)) for key, item in value.items()]
    return _length_delimited(0x32, b"".join(pairs))


def _length_delimited(tag: int, raw: bytes) -> bytes:
    size = len(raw)
    return (bytes((tag, size)) if size < 0x80 else bytes((tag,)) + _varint(size)) + raw


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
