"""Payloads: short JSON text stands in its row's own column, long text is compressed and kept apart.

What is kept apart lies in `execution_payloads` under a hash of its content, so that what one node hands to the next is
kept once per execution. Of a pair of columns `x` and `x_payload` exactly one is not null where there is a value.
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID
from msgspec import Struct

from spane_otel.ids import hash16
from spane_otel.jsontext import PAYLOAD_INLINE_BYTES

_LEVEL: Final = 1
"""Of zlib: JSON shrinks nearly as much as at 6, in a third of the time, during which the event loop stands still."""


class Payload(Struct, frozen=True):
    """A text that is kept apart."""

    payload_id: UUID
    size_bytes: int
    data: bytes
    """The text, compressed."""


class Payloads:
    """The long texts of some rows, on their way into the database."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, UUID], Payload] = {}

    def split(self, execution_id: str, text: str | None) -> tuple[str | None, UUID | None]:
        """Return what stands in the columns `x` and `x_payload` of a row of this execution for `text`."""
        if text is None or len(text) <= PAYLOAD_INLINE_BYTES:
            return text, None
        payload = pack(text)
        self._held[execution_id, payload.payload_id] = payload
        return None, payload.payload_id

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the arrays of `execution_payloads`."""
        return {
            "payload_execution_id": [execution_id for execution_id, _ in self._held],
            "payload_id": [payload_id for _, payload_id in self._held],
            "payload_size": [payload.size_bytes for payload in self._held.values()],
            "payload_data": [payload.data for payload in self._held.values()],
        }


class CallPayloads:
    """The long texts of calls that are committed together. A call is its position among them, from 1 as in SQL."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, UUID], Payload] = {}

    def split(self, texts: Sequence[str | None]) -> tuple[Sequence[str | None], Sequence[UUID | None]]:
        """Return the arrays of the columns `x` and `x_payload`, given each call's text; an empty one is all null."""
        longest = max((len(text) for text in texts if text is not None), default=None)
        if longest is None:
            return (), ()
        if longest <= PAYLOAD_INLINE_BYTES:
            return texts, ()
        inline = list(texts)
        payload_ids: list[UUID | None] = [None] * len(texts)
        for place, text in enumerate(texts):
            if text is not None and len(text) > PAYLOAD_INLINE_BYTES:
                payload = pack(text)
                self._held[place + 1, payload.payload_id] = payload
                inline[place], payload_ids[place] = None, payload.payload_id
        return inline, payload_ids

    def columns(self) -> dict[str, Sequence[Any]]:
        """Return the arrays of `execution_payloads`."""
        if not self._held:
            return _NO_PAYLOADS
        return {
            "payload_calls": [call for call, _ in self._held],
            "payload_ids": [payload_id for _, payload_id in self._held],
            "payload_sizes": [payload.size_bytes for payload in self._held.values()],
            "payloads": [payload.data for payload in self._held.values()],
        }


_NO_PAYLOADS: Final[dict[str, Sequence[Any]]] = dict.fromkeys(
    ("payload_calls", "payload_ids", "payload_sizes", "payloads"), ()
)


def pack(text: str) -> Payload:
    """Return a text, compressed, under the hash of its content. Payloads' JSON text is ASCII."""
    raw = text.encode()
    return Payload(UUID(hash16(raw)), len(raw), zlib.compress(raw, _LEVEL))


def unpack(data: bytes) -> str:
    """Return the text that `pack` made `data` of."""
    return zlib.decompress(data).decode()


def load_payload(text: str | None, data: bytes | None) -> Any:
    """Return the value of a payload, from its column or from `execution_payloads.data`; None if there is none."""
    if data is not None:
        text = unpack(data)
    return None if text is None else json.loads(text)
