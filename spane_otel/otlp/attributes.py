"""A request's attributes, from the wire to JSON text, through a memo of what repeats.

Most attributes of a service repeat: the same method, route, host and status in the same bytes. A KeyValue that was
seen before costs one look-up; the rest is walked. The memo is bounded in bytes, and a key whose values do not repeat
(a URL, a user id) soon stops being remembered, so that it can't push out the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from struct import Struct as Packing
from typing import Any, Final

from msgspec import Struct

from spane_otel.otlp.anyvalue import read_attribute, read_value
from spane_otel.values import DEFAULT_LIMITS, OWN_KEYS, Limits, ValueEncoder

MEMO_BYTES: Final = 8 * 1_048_576
REMEMBERED_BYTES: Final = 256
"""A longer attribute is not remembered: it costs more to keep and repeats less."""
REMEMBERED_VALUES: Final = 1_024
"""Of one key; beyond, its values count as not repeating."""
TEXT_CHARACTERS: Final = 16_384
_HEADS_REMEMBERED: Final = 4_096
_TEXTS_REMEMBERED: Final = 4_096
_ENTRY_BYTES: Final = 300
"""What an entry costs beside its bytes: two objects' heads, a tuple, a place in a dict."""

_DOUBLE: Final = Packing("<d")


class _Head(Struct):
    """The key that begins a KeyValue, and how many of its values are remembered."""

    key: str
    count: int = 0


class AttributeMemo(dict[bytes, tuple[str, str]]):
    """KeyValue's bytes → (key, `"key":value`). Asked for an unknown one it decodes it.

    Raises:
        DecodeError: (on look-up) the bytes are not protobuf.

    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, max_bytes: int = MEMO_BYTES) -> None:
        super().__init__()
        self.encoder: Final = ValueEncoder(limits)
        self.names: Final = TextMemo(self.encoder, limits.name_characters)
        self.texts: Final = TextMemo(self.encoder, TEXT_CHARACTERS)
        """For what is no name: trace states, schema URLs."""
        self.max_bytes: Final = max_bytes
        self.bytes = 0
        self._heads: dict[bytes, _Head] = {}

    def __missing__(self, raw: bytes) -> tuple[str, str]:
        encoder = self.encoder
        repairs = encoder.repairs
        head = self._heads.get(raw[: 2 + raw[1]]) if len(raw) > 1 else None
        key, value = (head is not None and _read_simple(raw, head.key)) or read_attribute(raw, encoder.clean)
        member = encoder.encode_attribute(key, value)
        if head is None:
            head = self._remember_head(raw, key)
        if head.count < REMEMBERED_VALUES and len(raw) <= REMEMBERED_BYTES and encoder.repairs == repairs:
            # What was repaired is not remembered: a repair counts each time.
            if self.bytes > self.max_bytes:
                self.clear()
            head.count += 1
            self.bytes += 2 * len(raw) + _ENTRY_BYTES
            self[raw] = member
        return member

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._heads.clear()
        self.bytes = 0

    def _remember_head(self, raw: bytes, key: str) -> "_Head":
        head = _Head(key)
        if len(self._heads) >= _HEADS_REMEMBERED:
            self._heads.clear()
        start = raw[: 2 + raw[1]] if len(raw) > 1 else b""
        if start[:1] == b"\x0a" and start[1] < 0x80 and start[2:] == key.encode():
            self._heads[start] = head
        return head

    def members(self, raws: Any) -> tuple[dict[str, str], int]:
        """Return the members of an object by key, the last of equal keys, and how many were too many.

        `raws` is a repeated field of KeyValue's bytes.

        Raises:
            DecodeError: one of them is not protobuf.

        """
        limit = self.encoder.limits.attributes
        if len(raws) <= limit:
            return dict(map(self.__getitem__, raws[:])), 0
        return self._bounded_members(raws, limit)

    def _bounded_members(self, raws: Any, limit: int) -> tuple[dict[str, str], int]:
        """Return the first `limit` distinct keys and what else means something to us, of at most four times as many."""
        looked_at = raws[: 4 * limit]
        dropped = len(raws) - len(looked_at)
        members: dict[str, str] = {}
        beyond: set[str] = set()
        for raw in looked_at:
            key, member = self[raw]
            if len(members) < limit or key in members or key in OWN_KEYS:
                members[key] = member
            else:
                beyond.add(key)
        dropped += len(beyond)
        if dropped:
            self.encoder.repairs += 1
        return members, dropped

    def body(self, raw: bytes) -> str:
        """Return the JSON text of a log record's body, an AnyValue's bytes.

        Raises:
            DecodeError: `raw` is not protobuf.

        """
        if not raw:
            return "null"
        return self.encoder.encode_value(read_value(raw, self.encoder.clean), self.encoder.limits.payload_bytes)


class TextMemo(dict[bytes, str]):
    """Text on the wire → text cleaned and cut; what repeats is remembered."""

    def __init__(self, encoder: ValueEncoder, max_characters: int) -> None:
        super().__init__()
        self.encoder: Final = encoder
        self.max_characters: Final = max_characters

    def __missing__(self, raw: bytes) -> str:
        repairs = self.encoder.repairs
        text = self.encoder.name(raw, self.max_characters)
        if len(raw) <= REMEMBERED_BYTES and self.encoder.repairs == repairs:
            if len(self) >= _TEXTS_REMEMBERED:
                self.clear()
            self[raw] = text
        return text


def _read_simple(raw: bytes, key: str) -> tuple[str, Any] | None:
    """Return key and value of the usual shape: a short string, int or double follows the key. Else None."""
    at = 2 + raw[1]
    left = len(raw) - at
    if not 4 <= left < 128 or raw[at] != 0x12 or raw[at + 1] != left - 2:
        return None
    kind = raw[at + 2]
    if kind == 0x0A and raw[at + 3] == left - 4:
        try:
            return key, raw[at + 4 :].decode()
        except UnicodeDecodeError:
            return None
    if kind == 0x21 and left == 11:
        return key, _DOUBLE.unpack_from(raw, at + 3)[0]
    if kind == 0x18:
        if left == 4 and raw[at + 3] < 0x80:
            return key, raw[at + 3]
        if left == 5 and raw[at + 4] < 0x80 <= raw[at + 3]:
            return key, raw[at + 3] & 0x7F | raw[at + 4] << 7
    return None


_free: Final[list[AttributeMemo]] = []
"""Memos that no request uses now. Each request has one to itself, so threads don't share one."""


@contextmanager
def borrow_memo(limits: Limits) -> Iterator[AttributeMemo]:
    """Lend a memo for one request: one that has seen requests before, if there is one under these limits."""
    try:
        memo = _free.pop()
    except IndexError:
        memo = AttributeMemo(limits)
    if memo.encoder.limits != limits:
        memo = AttributeMemo(limits)
    try:
        yield memo
    finally:
        if len(_free) < 2:
            _free.append(memo)
