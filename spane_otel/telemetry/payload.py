"""Inputs and results as JSON text, bounded (names.md, *Span attributes*)."""

import json
from typing import Any

import msgspec

from spane_otel.values import PAYLOAD_BYTES, encode_value


class Payload(msgspec.Struct, frozen=True):
    """JSON text, and the length in bytes that it had if it was cut."""

    text: str
    cut_from: int | None = None


def payload_of(value: Any) -> Payload:
    """Return `value` as it is now. What JSON doesn't know is shown as its `repr`; nothing raises."""
    raw = _encode(value)
    if len(raw) <= PAYLOAD_BYTES:
        return Payload(raw.decode())
    return Payload(json.dumps(raw[:PAYLOAD_BYTES].decode("utf-8", "ignore"), ensure_ascii=False), cut_from=len(raw))


def _encode(value: Any) -> bytes:
    try:
        raw = msgspec.json.encode(value, enc_hook=_represent)
        if b"null" not in raw:
            return raw
        # It may stand for NaN or an infinity, which msgspec does not tell from None.
        plain = msgspec.to_builtins(value, enc_hook=_represent, str_keys=True)
        return raw if _is_finite(plain) else encode_value(plain, max_bytes=16 * PAYLOAD_BYTES).encode()
    except Exception:  # noqa: BLE001 - objects of user code may raise anything when looked at
        return encode_value(value, max_bytes=16 * PAYLOAD_BYTES).encode()


def _is_finite(plain: Any) -> bool:
    try:
        json.dumps(plain, allow_nan=False)
    except ValueError:
        return False
    return True


def _represent(value: Any) -> Any:
    """Return something for JSON to hold in place of an object that it doesn't know."""
    dump = getattr(value, "model_dump", None)  # pydantic's own way
    return dump(mode="json") if callable(dump) else repr(value)
