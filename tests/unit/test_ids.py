"""Ids: made, bounded, and turned to text and back."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spane_otel import ids

INT64 = st.integers(-(2**63), 2**63 - 1)


def test_a_new_execution_id_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    text = ids.new_execution_id()
    after = time.time_ns() // 1_000_000
    made = uuid.UUID(text)
    assert str(made) == text
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_ids_made_later_sort_later_and_none_is_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in (1, 2, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1):
        monkeypatch.setattr(time, "time_ns", lambda now=milliseconds: now * 1_000_000)
        made.append(ids.new_execution_id())
    assert made == sorted(made)
    assert len({ids.new_execution_id() for _ in range(1_000)}) == 1_000


@given(INT64)
def test_a_span_id_survives_bytes_and_hex(span_id: int) -> None:
    assert ids.span_id_from_bytes(ids.span_id_to_bytes(span_id)) == span_id
    text = ids.span_id_to_hex(span_id)
    assert len(text) == 16
    assert text == text.lower()
    assert ids.span_id_from_hex(text) == ids.span_id_from_hex(text.upper()) == span_id


@pytest.mark.parametrize(
    ("span_id", "text"), [(1, "0" * 15 + "1"), (-1, "f" * 16), (-(2**63), "8" + "0" * 15), (2**63 - 1, "7" + "f" * 15)]
)
def test_a_span_id_is_big_endian_and_signed(span_id: int, text: str) -> None:
    assert ids.span_id_to_hex(span_id) == text
    assert ids.span_id_to_bytes(span_id) == bytes.fromhex(text)


@pytest.mark.parametrize(
    "text",
    ["", "0", "g" * 16, "0" * 15, "0" * 17, "é" * 16, "00 00 00 00 0001", " " * 16, "0x00000000000001", "\u0661" * 16],
)
def test_what_is_not_16_hex_digits_is_no_span_id(text: str) -> None:
    assert ids.span_id_from_hex(text) is None


@pytest.mark.parametrize(
    "text", ["", "g" * 32, "0" * 31, "0" * 33, "00 " * 10 + "00", " " * 32, "é" * 32, "-" + "0" * 31]
)
def test_what_is_not_32_hex_digits_is_no_trace_id(text: str) -> None:
    assert ids.trace_id_from_hex(text) is None


def test_a_trace_id_is_read_in_either_case() -> None:
    raw = bytes(range(0xA0, 0xB0))
    assert ids.trace_id_from_hex(raw.hex()) == ids.trace_id_from_hex(raw.hex().upper()) == raw


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_two_lists_of_parts_hash_alike_only_if_they_are_equal(one: list[bytes], other: list[bytes]) -> None:
    assert (ids.hash16(*one) == ids.hash16(*other)) == (one == other)
    assert len(ids.hash16(*one)) == 16


def test_hashes_never_change() -> None:
    """They are keys of stored rows: another value would lose them."""
    assert ids.hash16(b"a", b"b").hex() == "4fc56058b4df0ca122be9a2e429541d6"
    assert ids.execution_trace_id("e").hex() == "91ff88b2f8a3cd1daf39da6e7eccfe7b"
    assert ids.added_span_id("e", "step") == 6883645903237435310


def test_half_a_surrogate_pair_does_not_make_them_raise() -> None:
    assert len(ids.execution_trace_id("\ud800")) == 16
    assert ids.added_span_id("\ud800", "\udfff") != ids.added_span_id("\ud800", "")
    assert ids.bounded_execution_id("\ud800" * 257).startswith("\ud800" * 200 + "~")


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_span_added_by_hand_never_has_the_id_0(execution_id: str, text: str) -> None:
    span_id = ids.added_span_id(execution_id, text)
    assert span_id != 0
    assert -(2**63) <= span_id < 2**63


def test_the_id_of_another_engines_run_names_engine_and_scope() -> None:
    assert ids.external_execution_id("bullmq", "mail", "1") == "bullmq:mail:1"


@pytest.mark.parametrize("length", [0, 1, 256])
def test_an_id_of_up_to_256_characters_stays(length: int) -> None:
    assert ids.bounded_execution_id("é" * length) == "é" * length


def test_a_longer_id_keeps_its_beginning_and_is_told_apart_by_its_hash() -> None:
    one, other = ids.bounded_execution_id("é" * 257), ids.bounded_execution_id("é" * 258)
    assert one != other
    for each in (one, other):
        assert each[:201] == "é" * 200 + "~"
        assert len(each) == 233
        int(each[201:], 16)
