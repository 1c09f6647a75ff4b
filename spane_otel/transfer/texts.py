"""JSON text in pieces: objects and arrays are put together from texts and taken apart into texts, which never change.

A parser that makes values of them would lose how a number was written, and most refuse what payloads may hold.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from spane_otel.errors import DecodeError

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


def join_object(members: Mapping[str, str]) -> str:
    """Return an object of these texts."""
    return "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in members.items()) + "}"


def join_array(items: Iterable[str], *, lines: bool = False) -> str:
    """Return an array of these texts; with `lines` each on a line of its own."""
    between = ",\n" if lines else ","
    return f"[{between.join(items)}]"


def split_object(text: str, path: str) -> dict[str, str]:
    """Return the members of an object as texts; the last of a name wins.

    Raises:
        DecodeError: it is no object, which is said of `path`.

    """
    members: dict[str, str] = {}
    for item in _split(text, "{", "}", path):
        name, end = _scan(item, 0, path)
        at = _skip(item, end)
        if not isinstance(name, str) or item[at : at + 1] != ":":
            raise DecodeError(f"{path} is no JSON object")
        members[name] = item[_skip(item, at + 1) :]
    return members


def split_array(text: str, path: str) -> list[str]:
    """Return the items of an array as texts.

    Raises:
        DecodeError: it is no array, which is said of `path`.

    """
    return _split(text, "[", "]", path)


def _split(text: str, opening: str, closing: str, path: str) -> list[str]:
    """Return what stands between the commas of an object or an array."""
    at = _skip(text, 0)
    if text[at : at + 1] != opening:
        raise DecodeError(f"{path} is no JSON {'object' if opening == '{' else 'array'}")
    at = _skip(text, at + 1)
    items: list[str] = []
    while text[at : at + 1] != closing:
        if items:
            if text[at : at + 1] != ",":
                raise DecodeError(f"{path} breaks off, or is not JSON")
            at = _skip(text, at + 1)
        start = at
        _, at = _scan(text, at, path)
        colon = _skip(text, at)
        if opening == "{" and text[colon : colon + 1] == ":":
            _, at = _scan(text, _skip(text, colon + 1), path)
        items.append(text[start:at])
        at = _skip(text, at)
    if text[_skip(text, at + 1) :]:
        raise DecodeError(f"something follows {path}")
    return items


def _scan(text: str, at: int, path: str) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"{path} breaks off, or is not JSON") from error


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
