"""Attribute values as storable JSON text, in one pass over the raw attribute.

Whatever arrives (a Python value of user code, a value off the wire) leaves as JSON text for which PostgreSQL's
`text::jsonb` never fails:

* NUL and lone surrogates become U+FFFD.
* A number with `.` or `e` is a double, any other an int. An integer outside int64 is its decimal text.
* What JSON can't say is tagged: `{"bytesValue": base64}`, `{"doubleValue": "NaN" | "Infinity" | "-Infinity"}`. A map
  of one key that could be mistaken for a tag is `{"kvlistValue": {...}}`.
* An empty value is `null`, distinct from an absent key. Of equal keys the last wins.
* A container nested deeper than `Limits.depth` is its JSON text, as a string. A value larger than its limit is a
  string: what fits of its text (bytes: of their base64), then `…[truncated n bytes]`.

Encoding is idempotent: what was cut or repaired once passes unchanged the next time. Nothing here raises or recurses
on any value, cyclic ones and objects whose `__str__` raises included.

`ValueEncoder.encode_attribute` is the one place that sees a key, its raw value and the text made of it. Redaction
belongs there before the value is quoted, hashing into search terms after it, so that both share this pass.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from json.encoder import encode_basestring as quote
from math import isfinite
from typing import Any, Final

from msgspec import Struct

from spane_otel import mapping
from spane_otel.jsontext import TAGS

NAME_CHARACTERS: Final = 1_024
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
REPLACEMENT: Final = "\ufffd"

PAYLOAD_KEYS: Final = frozenset({mapping.INPUT, mapping.OUTPUT})


class Limits(Struct, frozen=True):
    """What one item may hold, and one request. Sizes in bytes of UTF-8 unless they say characters."""

    value_bytes: int = 65_536
    payload_bytes: int = 1_048_576
    """For `spane.input`, `spane.output` and the bodies of log records."""
    key_bytes: int = 512
    name_characters: int = NAME_CHARACTERS
    attributes: int = 256
    events: int = 256
    links: int = 256
    depth: int = 20
    request_items: int = 20_000
    """Spans or log records of one request."""


DEFAULT_LIMITS: Final = Limits()


class ValueEncoder:
    """Encodes values under one set of limits and counts what it had to repair or cut."""

    __slots__ = ("_keys", "_short", "limits", "repairs")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits: Final = limits
        self.repairs = 0
        """Grows with each text that was not storable as it came, or larger than its limit."""
        self._short = min(limits.value_bytes, limits.payload_bytes)
        self._keys: dict[str, tuple[str, str]] = {}

    def encode_attribute(self, key: str, value: Any) -> tuple[str, str]:
        """Return the cleaned key and `"key":value`, a member of a JSON object."""
        prefix = self._keys.get(key)
        if prefix is None:
            prefix = self._encode_key(key)
        kind = type(value)
        if kind is str:
            if len(value) <= self._short and value.isascii() and "\0" not in value:
                return prefix[0], prefix[1] + quote(value)
        elif kind is int:
            if INT64_MIN <= value <= INT64_MAX:
                return prefix[0], f"{prefix[1]}{value}"
        elif kind is float and isfinite(value):
            return prefix[0], f"{prefix[1]}{value!r}"
        return prefix[0], prefix[1] + self.encode_value(value, self.limit_of(key))

    def limit_of(self, key: str) -> int:
        """Return how large the value of this attribute may be."""
        return self.limits.payload_bytes if key in PAYLOAD_KEYS else self.limits.value_bytes

    def encode_value(self, value: Any, max_bytes: int) -> str:
        """Return the JSON text of `value`."""
        try:
            if isinstance(value, str):
                return quote(self.cut(self.clean(value), max_bytes))
            scalar = self.encode_scalar(value, max_bytes)
            return self._encode_container(value, max_bytes) if scalar is None else scalar
        except Exception:  # noqa: BLE001 - a class of user code may raise wherever it is looked at
            self.repairs += 1
            return quote(self.clean(_UNPRINTABLE.format(type(value).__name__)))

    def clean(self, text: str | bytes) -> str:
        """Return `text` without NUL, lone surrogates and what isn't UTF-8: each becomes U+FFFD."""
        if isinstance(text, bytes):
            try:
                decoded = text.decode()
            except UnicodeDecodeError:
                self.repairs += 1
                decoded = text.decode("utf-8", "replace")
        else:
            decoded = text if type(text) is str else str.__str__(text)  # a subclass may say anything of itself
        if "\0" in decoded:
            self.repairs += 1
            decoded = decoded.replace("\0", REPLACEMENT)
        if not decoded.isascii():
            try:
                decoded.encode()
            except UnicodeEncodeError:
                self.repairs += 1
                decoded = decoded.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return decoded

    def cut(self, text: str, max_bytes: int) -> str:
        """Return `text` if its UTF-8 fits, else what fits of it and how many bytes are gone."""
        if len(text) * 4 <= max_bytes or (len(text) <= max_bytes and text.isascii()):
            return text
        raw = text.encode()
        if len(raw) <= max_bytes:
            return text
        mark = _TRUNCATED.search(text[-64:])
        if mark is not None and len(raw) - len(mark.group().encode()) <= max_bytes:
            return text  # it was cut before
        self.repairs += 1
        kept = raw[:max_bytes].decode("utf-8", "ignore")
        return f"{kept}…[truncated {len(raw) - len(kept.encode())} bytes]"

    def name(self, text: str | bytes, max_characters: int | None = None) -> str:
        """Return a name, cleaned and cut at so many characters (default: the limit of names)."""
        cleaned = self.clean(text)
        limit = self.limits.name_characters if max_characters is None else max_characters
        if len(cleaned) > limit:
            self.repairs += 1
            return cleaned[:limit]
        return cleaned

    def clean_key(self, key: Any) -> str:
        """Return a key as text, cleaned and cut."""
        text = self.clean(key if isinstance(key, str | bytes) else printed(key))
        if len(text) * 4 > self.limits.key_bytes:
            raw = text.encode()
            if len(raw) > self.limits.key_bytes:
                self.repairs += 1
                text = raw[: self.limits.key_bytes].decode("utf-8", "ignore")
        return text

    def _encode_key(self, key: str) -> tuple[str, str]:
        before = self.repairs
        text = self.clean_key(key)
        prefix = text, quote(text) + ":"
        if self.repairs == before and type(key) is str:  # a repair counts each time
            if len(self._keys) >= _KEYS_REMEMBERED:
                self._keys.clear()
            self._keys[key] = prefix
        return prefix

    def encode_scalar(self, value: Any, max_bytes: int) -> str | None:
        """Return the JSON text of anything but strings, maps and arrays; of those, None."""
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return self._encode_integer(value, max_bytes)
        if isinstance(value, float):
            text = float.__repr__(value)
            return _NOT_FINITE.get(text, text)
        if isinstance(value, _BINARY):
            return self._encode_bytes(bytes(value), max_bytes)
        if isinstance(value, _CONTAINERS):
            return None
        return quote(self.cut(self.clean(printed(value)), max_bytes))

    def _encode_integer(self, value: int, max_bytes: int) -> str:
        if INT64_MIN <= value <= INT64_MAX:
            return int.__repr__(value)
        self.repairs += 1
        try:
            text = int.__repr__(value)
        except ValueError:  # Python refuses decimal text of more than 4,300 digits
            text = hex(value)
        return quote(self.cut(text, max_bytes))

    def _encode_bytes(self, value: bytes, max_bytes: int) -> str:
        text = b64encode(value).decode()
        if len(text) > max_bytes:
            return quote(self.cut(text, max_bytes))
        return f'{{"bytesValue":"{text}"}}'

    def _encode_container(self, value: Any, max_bytes: int) -> str:
        text, complete = _ContainerWalk(self, max_bytes).run(value)
        if complete and len(text) <= max_bytes and (len(text) * 4 <= max_bytes or len(text.encode()) <= max_bytes):
            return text
        if complete:
            return quote(self.cut(text, max_bytes))
        self.repairs += 1
        raw = text.encode()
        kept = raw[:max_bytes].decode("utf-8", "ignore")
        return quote(f"{kept}…[truncated at least {len(raw) - len(kept.encode())} bytes]")


class _ContainerWalk:
    """Writes one map or array with a stack of its own, so that no nesting and no cycle is too deep.

    The walk ends a little after the limit: a small value that holds itself many times over (a "billion laughs")
    costs no more than a large one.
    """

    def __init__(self, encoder: ValueEncoder, max_bytes: int) -> None:
        self.encoder = encoder
        self.max_bytes = max_bytes
        self.budget = max_bytes + _LOOK_AHEAD
        self.out: list[str] = []
        self.stack: list[tuple[Iterator[tuple[str, Any]], str, int]] = []
        """Of each open container: what is left of it, the text that closes it, its identity."""
        self.on_path: set[int] = set()
        self.deep_from: int | None = None
        """Where in `out` the first container below the depth limit begins."""

    def run(self, value: Any) -> tuple[str, bool]:
        """Return the text, and whether it is all of it."""
        encoder, stack, write = self.encoder, self.stack, self.out.append
        self._open("", value)
        while stack:
            for prefix, item in stack[-1][0]:
                if self.budget < 0:
                    return "".join(self.out), False
                if isinstance(item, str):
                    text = prefix + quote(encoder.clean(item))
                elif (empty := _EMPTY.get(type(item))) is not None and not item:
                    text = prefix + empty
                elif empty is None and (scalar := encoder.encode_scalar(item, self.max_bytes)) is not None:
                    text = prefix + scalar
                else:
                    self._open(prefix, item)
                    break
                self.budget -= len(text)
                write(text)
            else:
                self._close()
        return "".join(self.out), True

    def _open(self, prefix: str, value: Any) -> None:
        self.budget -= len(prefix) + 2
        if id(value) in self.on_path:
            self.out.append(f'{prefix}"[circular]"')
            self.stack.append((iter(()), "", 0))
            return
        self.out.append(prefix)
        if len(self.stack) == self.encoder.limits.depth:
            self.deep_from = len(self.out)
        self.on_path.add(id(value))
        most = max(self.budget, 0) // 2 + 1  # a value and a comma are two characters
        if isinstance(value, list | tuple):
            self.out.append("[")
            self.stack.append((_items(islice(value, most)), "]", id(value)))
            return
        members = self._members(value, most)
        tagged = len(members) == 1 and not members.keys().isdisjoint(TAGS)
        self.out.append('{"kvlistValue":{' if tagged else "{")
        self.stack.append((_pairs(members), "}}" if tagged else "}", id(value)))

    def _members(self, value: Any, most: int) -> dict[str, Any]:
        try:
            return {self.encoder.clean_key(key): item for key, item in list(islice(value.items(), most))}
        except Exception:  # noqa: BLE001 - a mapping of user code may do anything
            return {"": printed(value)}

    def _close(self) -> None:
        _, text, identity = self.stack.pop()
        self.out.append(text)
        self.on_path.discard(identity)
        if self.deep_from is not None and len(self.stack) == self.encoder.limits.depth:
            deep = "".join(self.out[self.deep_from :])
            del self.out[self.deep_from :]
            self.out.append(quote(deep))
            self.deep_from = None
            self.encoder.repairs += 1


def _items(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    separator = ""
    for value in values:
        yield separator, value
        separator = ","


def _pairs(members: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    separator = ""
    for key, value in members.items():
        yield f"{separator}{quote(key)}:", value
        separator = ","


_EMPTY: Final[dict[type, str]] = {list: "[]", tuple: "[]", dict: "{}"}
_CONTAINERS: Final = (list, tuple, Mapping)
_BINARY: Final = (bytes, bytearray, memoryview)
_LOOK_AHEAD: Final = 262_144
"""So far beyond the limit a container is still written, to say exactly how much of it is gone."""
_KEYS_REMEMBERED: Final = 4_096
_UNPRINTABLE: Final = "<unprintable {}>"
_NOT_FINITE: Final = {
    "nan": '{"doubleValue":"NaN"}',
    "inf": '{"doubleValue":"Infinity"}',
    "-inf": '{"doubleValue":"-Infinity"}',
}
_TRUNCATED: Final = re.compile(r"…\[truncated (?:at least )?[0-9]{1,20} bytes\]\Z")


def printed(value: Any) -> str:
    """Return `str(value)`, or a placeholder where that raises."""
    try:
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001 - `__str__` of user code may raise anything
        return _UNPRINTABLE.format(type(value).__name__)
