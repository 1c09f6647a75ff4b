"""Cursors: opaque, exact, and never trusted."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spane_otel.errors import InvalidValueError
from spane_otel.stores.cursors import decode_cursor, encode_cursor

TEXT = st.text().filter(lambda text: "\0" not in text)


@given(st.integers(-(2**63), 2**63 - 1), TEXT, st.binary(max_size=40))
def test_a_cursor_carries_its_parts_exactly_in_characters_that_urls_take(number: int, text: str, raw: bytes) -> None:
    cursor = encode_cursor(number, text, raw)
    assert decode_cursor(cursor, int, str, bytes) == (number, text, raw)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.text() | st.text("ABCabc012-_="))
def test_no_text_makes_anything_but_parts_or_a_refusal(text: str) -> None:
    try:
        number, name = decode_cursor(text, int, str)
    except InvalidValueError as refused:
        assert refused.reason == "cursor"  # noqa: PT017 - the other outcome is checked below
    else:
        assert (type(number), type(name)) == (int, str)


def forge(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        forge([1]),
        forge([1, "a", 2]),
        forge({"0": 1, "1": "a"}),
        forge("1a"),
        forge(["1", "a"]),
        forge([True, "a"]),
        forge([1.0, "a"]),
        forge([2**63, "a"]),
        forge([-(2**63) - 1, "a"]),
        forge([1, None]),
        forge([1, "a\0"]),
        forge([1, "\ud800"]),
        forge([1, "a"]) + "!",
        forge([1, "a"])[:-1],
        forge([1, "x" * 4_096]),
        forge(["[" * 900, 1]),
        base64.urlsafe_b64encode(b"[" * 3_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b"9" * 3_000).decode(),
    ],
)
def test_a_forged_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        decode_cursor(cursor, int, str)
    assert refused.value.reason == "cursor"


@pytest.mark.parametrize("part", ["x", "zz", 1, None])
def test_bytes_that_are_no_hex_are_refused(part: object) -> None:
    with pytest.raises(InvalidValueError):
        decode_cursor(forge([part]), bytes)
