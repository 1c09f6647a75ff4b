"""JSON kept as the text it was stored as, decoded when somebody looks.

Attributes are stored as JSON text and pass through to responses unparsed. A library user sees a mapping or a
sequence all the same.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, overload

from spane_otel.errors import InvalidValueError

TAGS: Final = ("bytesValue", "doubleValue", "kvlistValue")
"""A one-key map with one of these keys is a tagged value: what JSON can't say otherwise (architecture.md)."""

PAYLOAD_INLINE_BYTES: Final = 64 * 1024
"""JSON text of a payload that is longer than this is compressed and kept apart."""
PAYLOAD_MAX_BYTES: Final = 2 * 1024 * 1024
"""Longer text is refused before anything is written."""


def untag(value: Any) -> Any:
    """Return `value` with tagged values replaced by bytes, floats and plain maps."""
    if isinstance(value, list):
        return [untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "bytesValue" and isinstance(inner, str):
            return base64.b64decode(inner)
        if key == "doubleValue" and isinstance(inner, str):
            return float(inner)
        if key == "kvlistValue" and isinstance(inner, dict):
            return {name: untag(item) for name, item in inner.items()}
    return {name: untag(item) for name, item in value.items()}


def encode_payload(value: Any) -> str:
    """Return the JSON text of a state payload (initial data, result, metadata), which stays opaque to a store.

    Escapes all but ASCII, so any string, with NUL or lone surrogates too, comes back as it was.

    Raises:
        InvalidValueError: JSON can't say it (NaN, bytes, an object of the caller's), with the reason `payload`; or it
            is longer than 2 MiB, with the reason `payload_too_large`.

    """
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"the payload is not JSON: {error}", reason="payload") from error
    if len(text) > PAYLOAD_MAX_BYTES:
        raise InvalidValueError(
            f"the payload is {len(text):,} bytes of JSON, more than {PAYLOAD_MAX_BYTES:,}: keep it elsewhere and "
            "hand on a reference",
            reason="payload_too_large",
        )
    return text


_ENCODER: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class JsonMap(Mapping[str, Any]):
    """An immutable mapping over the JSON text of an object, e.g. a span's attributes."""

    def __init__(self, text: str = "{}") -> None:
        self.text: Final = text

    @cached_property
    def _values(self) -> dict[str, Any]:
        return {key: untag(value) for key, value in json.loads(self.text).items()}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"JsonMap({self.text!r})"


class JsonList(Sequence[Mapping[str, Any]]):
    """An immutable sequence over the JSON text of an array of objects, e.g. a span's events or links.

    Items have the shape of the HTTP API. Times inside are decimal strings, as in every JSON of ours.
    """

    def __init__(self, text: str = "[]") -> None:
        self.text: Final = text

    @cached_property
    def _items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.text)
        for item in items:
            item["attributes"] = {key: untag(value) for key, value in item.get("attributes", {}).items()}
        return items

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, JsonList):
            return self._items == other._items
        return self._items == other if isinstance(other, list) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"JsonList({self.text!r})"
