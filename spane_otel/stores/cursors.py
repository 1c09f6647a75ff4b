"""Cursors of paged lists: opaque text that carries the key of the last item shown.

Every store uses these, so that a cursor is checked once and means the same everywhere. A cursor is base64url (without
padding) over a JSON array; nobody but a store may rely on that.
"""

import base64
import binascii
import json
from typing import Any, Final

from spane_otel.errors import InvalidValueError
from spane_otel.stores.admission import is_storable

_MAX_LENGTH: Final = 4_096
_INT64: Final = range(-(2**63), 2**63)


def encode_cursor(*parts: int | str | bytes) -> str:
    """Return a cursor that carries `parts`: 64-bit integers, text or bytes."""
    items = [part.hex() if isinstance(part, bytes) else part for part in parts]
    text = json.dumps(items, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(text: str, *kinds: type[int] | type[str] | type[bytes]) -> tuple[Any, ...]:
    """Return the parts of a cursor, one of each kind in `kinds`.

    Raises:
        InvalidValueError: `text` was not made by `encode_cursor` from parts of these kinds; its reason is `cursor`.

    """
    items = _load(text)
    if not isinstance(items, list) or len(items) != len(kinds):
        raise _invalid()
    return tuple(_part(item, kind) for item, kind in zip(items, kinds, strict=True))


def _load(text: str) -> Any:
    if not isinstance(text, str) or len(text) > _MAX_LENGTH or not text.isascii():
        raise _invalid()
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid() from None


def _part(item: Any, kind: type) -> int | str | bytes:
    if kind is int and type(item) is int and item in _INT64:
        return item
    if kind is str and isinstance(item, str) and is_storable(item):
        return item
    if kind is bytes and isinstance(item, str):
        try:
            return bytes.fromhex(item)
        except ValueError:
            raise _invalid() from None
    raise _invalid()


def _invalid() -> InvalidValueError:
    return InvalidValueError("the cursor is not one of ours", reason="cursor")
