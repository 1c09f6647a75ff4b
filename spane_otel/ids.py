"""Ids: how they are made, and how they turn from bytes to text and back.

A trace id is 16 bytes, shown as 32 hex digits. A span id is a signed 64-bit integer, big-endian, shown as 16 hex
digits; every order by span id is the signed one, in each store. An execution id is free text.
"""

import hashlib
import os
import time
from functools import lru_cache

TRACE_ID_LENGTH = 16
SPAN_ID_LENGTH = 8
ZERO_TRACE_ID = bytes(TRACE_ID_LENGTH)

_FIXED_BITS = 0x7 << 76 | 0b10 << 62
"""Version and variant of a UUIDv7."""
_RANDOM_BITS = (1 << 76) - 1 & ~(0b11 << 62)


def new_execution_id() -> str:
    """Return a new UUIDv7 (RFC 9562, section 5.7) as text: ids made later sort later, to the millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    text = f"{milliseconds << 80 | int.from_bytes(os.urandom(10), 'big') & _RANDOM_BITS | _FIXED_BITS:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_process_id() -> str:
    """Return an id for this process; a forked child makes its own."""
    return new_execution_id()


def span_id_from_bytes(raw: bytes) -> int:
    """Return the signed integer that stands for eight bytes."""
    return int.from_bytes(raw, "big", signed=True)


def span_id_to_bytes(span_id: int) -> bytes:
    """Return the eight bytes of a signed span id."""
    return span_id.to_bytes(SPAN_ID_LENGTH, "big", signed=True)


def span_id_to_hex(span_id: int) -> str:
    """Return 16 hex digits."""
    return f"{span_id & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def span_id_from_hex(text: str) -> int | None:
    """Return the signed integer of 16 hex digits, None if `text` is anything else."""
    raw = _from_hex(text, SPAN_ID_LENGTH)
    return None if raw is None else span_id_from_bytes(raw)


def trace_id_from_hex(text: str) -> bytes | None:
    """Return the 16 bytes of 32 hex digits, None if `text` is anything else."""
    return _from_hex(text, TRACE_ID_LENGTH)


def _from_hex(text: str, length: int) -> bytes | None:
    try:
        raw = bytes.fromhex(text)
    except (TypeError, ValueError):
        return None
    return raw if len(text) == 2 * length and len(raw) == length else None  # fromhex skips spaces


def hash16(*parts: bytes) -> bytes:
    """Return 16 bytes of blake2b over `parts`, each preceded by its length so that no two lists collide."""
    content = b"".join([piece for part in parts for piece in (len(part).to_bytes(8, "big"), part)])
    return hashlib.blake2b(content, digest_size=16).digest()


@lru_cache(maxsize=10_000)
def execution_trace_id(execution_id: str) -> bytes:
    """Return the trace id of spans that are added by hand: 16 bytes of blake2b over the execution id."""
    return hashlib.blake2b(_encode(execution_id), digest_size=16).digest()


def added_span_id(execution_id: str, text: str) -> int:
    """Return the span id of a span added by hand: 8 bytes of blake2b(execution id, NUL, text), never 0."""
    raw = hashlib.blake2b(_encode(f"{execution_id}\0{text}"), digest_size=8).digest()
    return span_id_from_bytes(raw) or 1


def external_execution_id(engine: str, scope: str, raw: str) -> str:
    """Return the execution id of another engine's run: `engine:scope:raw`, at most 256 characters.

    Longer ones keep their first 200 characters, then `~` and 32 hex digits of blake2b.
    """
    return bounded_execution_id(f"{engine}:{scope}:{raw}")


def bounded_execution_id(text: str) -> str:
    """Return `text` if it has at most 256 characters, else its first 200, `~` and 32 hex digits of blake2b."""
    if len(text) <= 256:
        return text
    return f"{text[:200]}~{hashlib.blake2b(_encode(text), digest_size=16).hexdigest()}"


def _encode(text: str) -> bytes:
    """Return UTF-8 of any text: an id that no store takes must not raise where it is only looked up."""
    return text.encode(errors="surrogatepass")
