"""JSON is taken apart and put together without a change of what is inside."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spane_otel.errors import DecodeError
from spane_otel.transfer.texts import join_array, join_object, split_array, split_object

TEXTS = [
    "1E5",
    "-0.0",
    "1.0",
    "12345678901234567890",
    '"\\ud800\\u0000"',
    '"é 😀"',
    '{"a":1, "a" : 2}',
    "[1, [2 ]]",
    "null",
]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_texts_come_back_as_they_were() -> None:
    assert split_array(join_array(TEXTS), "it") == split_array(join_array(TEXTS, lines=True), "it") == TEXTS
    members = {f'name "{place}"': text for place, text in enumerate(TEXTS)}
    assert split_object(join_object(members), "it") == members
    assert split_object("{}", "it") == {}
    assert split_array(" [ ] ", "it") == []


@given(VALUES, st.sampled_from([None, 2]))
def test_pieces_are_those_that_a_parser_finds(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    if isinstance(value, dict):
        assert {name: json.loads(each) for name, each in split_object(text, "it").items()} == value
    elif isinstance(value, list):
        assert [json.loads(each) for each in split_array(text, "it")] == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "[]",
        "{",
        '{"a"',
        '{"a":',
        '{"a":1',
        '{"a":1,',
        '{"a":1,}',
        "{1:2}",
        '{"a":1}x',
        '{"a" 1}',
        '{"a":1 "b":2}',
        "{,}",
        "[" * 100_000,
    ],
)
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="it"):
        split_object(text, "it")


@pytest.mark.parametrize(
    "text", ["", "{}", "[", "[1", "[1,", "[1,]", "[1 2]", "[1]]", "[,1]", '["a":1]', "[" * 100_000]
)
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="it"):
        split_array(text, "it")
