"""Inflating is bounded in bytes, and only whole gzip is taken."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spane_otel.errors import DecodeError, TooLargeError
from spane_otel.server.bodies import MAX_BYTES, MAX_GZIP_MEMBERS, inflate

MEMBER = gzip.compress(b"hello")
BOMB = gzip.compress(bytes(20 * MAX_BYTES), 9)


@given(st.lists(st.binary(max_size=2_000), min_size=1, max_size=4))
def test_what_was_compressed_comes_back_member_by_member(parts: list[bytes]) -> None:
    """A gzip file is a series of members (RFC 1952, section 2.2)."""
    assert inflate(b"".join(gzip.compress(part) for part in parts)) == b"".join(parts)


def test_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    assert inflate(gzip.compress(bytes(1_000)), 1_000) == bytes(1_000)
    with pytest.raises(TooLargeError):
        inflate(gzip.compress(bytes(1_001)), 1_000)
    with pytest.raises(TooLargeError):
        inflate(gzip.compress(bytes(600)) + gzip.compress(bytes(401)), 1_000)


def test_a_bomb_is_stopped_at_the_limit_and_not_after_it() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            inflate(BOMB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES + 20 * 1024 * 1024


def test_a_bomb_within_gzip_within_gzip_is_inflated_once() -> None:
    assert inflate(gzip.compress(BOMB)) == BOMB


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        MEMBER[:-1],
        MEMBER[:-8],
        MEMBER[:5],
        MEMBER + b"x",
        MEMBER + MEMBER[:-1],
        MEMBER + bytes(8),
        MEMBER[:-8] + bytes(4) + MEMBER[-4:],
        MEMBER[:-4] + bytes(4),
        zlib.compress(b"hello"),
        MEMBER[:10] + b"\xff" + MEMBER[11:],
        gzip.compress(b"") * (MAX_GZIP_MEMBERS + 1),
    ],
    ids=[
        "empty",
        "plain",
        "cut in trailer",
        "without trailer",
        "cut in header",
        "garbage after",
        "second member cut",
        "zeros after",
        "wrong checksum",
        "wrong length",
        "zlib",
        "damaged",
        "too many members",
    ],
)
def test_what_is_not_gzip_all_through_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        inflate(body)
    assert not isinstance(caught.value, TooLargeError)
