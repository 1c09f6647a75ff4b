"""Attributes for people: each value as exact text, a link only where following it is harmless."""

import json
from typing import Any, Final, Self
from urllib.parse import urlsplit

from msgspec import Struct

from spane_otel.jsontext import JsonList, JsonMap

LINK_SCHEMES: Final = frozenset({"http", "https", "mailto"})


class Attribute(Struct, frozen=True):
    """A key and its value as text."""

    key: str
    text: str
    """A string itself, anything else as JSON; numbers in all their digits."""
    link: str | None = None


def show_attributes(attributes: JsonMap) -> list[Attribute]:
    """Return the attributes in the order of their keys; doubles in the digits they were stored with."""
    return show_values(json.loads(attributes.text, parse_float=_Digits))


def read_items(items: JsonList) -> list[dict[str, Any]]:
    """Return events or links as stored, doubles in their digits, for `show_values`."""
    read: list[dict[str, Any]] = json.loads(items.text, parse_float=_Digits)
    return read


def show_values(values: dict[str, Any]) -> list[Attribute]:
    """Return attributes that were read as stored, in the order of their keys."""
    return [show_attribute(key, value) for key, value in sorted(values.items())]


def show_attribute(key: str, value: Any) -> Attribute:
    """Return one attribute as stored: a tagged value (architecture.md, *Ids and values*) loses its tag."""
    if isinstance(value, dict) and len(value) == 1:
        ((tag, inner),) = value.items()
        if tag == "doubleValue":
            return Attribute(key, str(inner))
        if tag == "bytesValue":
            return Attribute(key, f"base64:{inner}")
        if tag == "kvlistValue":
            value = inner
    if isinstance(value, _Digits):
        return Attribute(key, value.digits)
    if isinstance(value, str):
        return Attribute(key, value, value if is_safe_link(value) else None)
    return Attribute(key, _dump(value))


def is_safe_link(text: str) -> bool:
    """Whether `text` is an address that may be a link: never `javascript:`, `data:` or anything else that runs."""
    if not text.isprintable() or " " in text or len(text) > 2048:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in LINK_SCHEMES and bool(parts.netloc or (parts.scheme == "mailto" and parts.path))


class _Digits(float):
    """A double that remembers how it was written."""

    digits: str

    def __new__(cls, digits: str) -> Self:
        number = super().__new__(cls, digits)
        number.digits = digits
        return number

    def __repr__(self) -> str:
        return self.digits


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
