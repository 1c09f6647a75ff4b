"""JSON kept as text and decoded when somebody looks."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spane_otel.errors import InvalidValueError
from spane_otel.jsontext import JsonList, JsonMap, encode_payload, untag


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ({"bytesValue": "AP8="}, b"\x00\xff"),
        ({"bytesValue": ""}, b""),
        ({"doubleValue": "Infinity"}, math.inf),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"kvlistValue": {"bytesValue": "AP8="}}, {"bytesValue": "AP8="}),
        ({"kvlistValue": {"inner": {"bytesValue": "AP8="}}}, {"inner": b"\x00\xff"}),
        ({"bytesValue": 1}, {"bytesValue": 1}),
        ({"bytesValue": "AP8=", "more": 1}, {"bytesValue": "AP8=", "more": 1}),
        ({"a": [{"bytesValue": "AP8="}, {"b": {"doubleValue": "Infinity"}}]}, {"a": [b"\x00\xff", {"b": math.inf}]}),
        (5, 5),
        (None, None),
        ("text", "text"),
    ],
    ids=repr,
)
def test_tagged_values_are_read_as_what_they_stand_for(stored: Any, value: Any) -> None:
    assert untag(stored) == value
    assert JsonMap(json.dumps({"key": stored}))["key"] == value


def test_nan_is_read_as_nan() -> None:
    assert math.isnan(JsonMap('{"a":{"doubleValue":"NaN"}}')["a"])


def test_a_map_is_a_mapping_and_keeps_its_text() -> None:
    text = '{"b" : 9007199254740993, "a": 1.0}'
    attributes = JsonMap(text)
    assert attributes.text == text
    assert dict(attributes) == {"b": 2**53 + 1, "a": 1.0}
    assert list(attributes) == ["b", "a"]
    assert (len(attributes), "a" in attributes, attributes.get("c")) == (2, True, None)
    assert type(attributes["a"]) is float
    assert attributes == {"a": 1.0, "b": 2**53 + 1}
    assert attributes != {"a": 1.0}
    assert attributes == JsonMap('{"a":1.0,"b":9007199254740993}')
    assert JsonMap() == {}
    assert repr(attributes) == f"JsonMap({text!r})"


def test_a_text_is_decoded_only_when_somebody_looks() -> None:
    attributes = JsonMap("not JSON")
    assert attributes.text == "not JSON"
    with pytest.raises(ValueError, match="Expecting value"):
        attributes["a"]


def test_a_list_is_a_sequence_of_items_with_attributes() -> None:
    events = JsonList('[{"name":"a","time_ns":"1","attributes":{"raw":{"bytesValue":"AP8="}}},{"name":"b"}]')
    assert len(events) == 2
    assert events[0] == {"name": "a", "time_ns": "1", "attributes": {"raw": b"\x00\xff"}}
    assert events[1]["attributes"] == {}
    assert [each["name"] for each in events] == ["a", "b"]
    assert [each["name"] for each in events[1:]] == ["b"]
    with pytest.raises(IndexError):
        events[2]
    assert JsonList() == []
    assert events == JsonList(events.text)
    assert events == list(events)
    assert events != JsonList()
    assert hash(events) == hash(JsonList(events.text))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_a_payload_comes_back_as_it_was_and_its_text_is_ascii(value: Any) -> None:
    text = encode_payload(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert "\0" not in text


def test_even_half_a_surrogate_pair_comes_back() -> None:
    assert json.loads(encode_payload("\ud800\0")) == "\ud800\0"


@pytest.mark.parametrize("value", [math.nan, [math.inf], b"x", {"a": object()}, {(1, 2): 1}], ids=repr)
def test_what_json_cannot_say_is_refused_with_its_reason(value: Any) -> None:
    with pytest.raises(InvalidValueError) as refused:
        encode_payload(value)
    assert refused.value.reason == "payload"


def test_a_payload_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidValueError):
        encode_payload(value)
