"""The tables of values: what arrives, and the JSON text that is stored (reliability.md sections 4, 5, 8 and 10)."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest

from spane_otel import mapping
from spane_otel.jsontext import JsonMap
from spane_otel.values import (
    DEFAULT_LIMITS,
    Limits,
    clean_text,
    encode_attributes,
    encode_body,
    encode_events,
    encode_links,
    encode_value,
    payload_text,
    service_of,
)

REPLACED = "\ufffd"


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Plain(Enum):
    A = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (2**53 + 1, "9007199254740993"),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"),
        (2**63, '"9223372036854775808"'),
        (-(2**63) - 1, '"-9223372036854775809"'),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e22, "1e+22"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.nan, '{"doubleValue":"NaN"}'),
        (math.inf, '{"doubleValue":"Infinity"}'),
        (-math.inf, '{"doubleValue":"-Infinity"}'),
        ("", '""'),
        ("a\0b", f'"a{REPLACED}b"'),
        (r"literal \u0000", r'"literal \\u0000"'),
        ("\ud800", f'"{REPLACED}"'),
        ("x\udfff", f'"x{REPLACED}"'),
        ("\ud83d\ude00", '"😀"'),
        ("naïve ☃ 😀", '"naïve ☃ 😀"'),
        ("\x1f\x7f\u2028\ufeff", '"\\u001f\x7f\u2028\ufeff"'),
        (b"", '{"bytesValue":""}'),
        (b"\0\xff", '{"bytesValue":"AP8="}'),
        (bytearray(b"a"), '{"bytesValue":"YQ=="}'),
        ([], "[]"),
        ((), "[]"),
        ({}, "{}"),
        ([1, 2.0, "a", None, True, b"x", [[]], {}], '[1,2.0,"a",null,true,{"bytesValue":"eA=="},[[]],{}]'),
        ({"": 1, "a.b": {"a": "b"}}, '{"":1,"a.b":{"a":"b"}}'),
        ({"__proto__": 1, "constructor": 2}, '{"__proto__":1,"constructor":2}'),
        ({1: "a", None: "b"}, '{"1":"a","None":"b"}'),
        ({1: "a", "1": "b"}, '{"1":"b"}'),
        ({"a\0": 1, "a\ufffd": 2}, '{"a\ufffd":2}'),
        ({"bytesValue": "AA=="}, '{"kvlistValue":{"bytesValue":"AA=="}}'),
        ({"doubleValue": "NaN"}, '{"kvlistValue":{"doubleValue":"NaN"}}'),
        ({"kvlistValue": {"kvlistValue": 1}}, '{"kvlistValue":{"kvlistValue":{"kvlistValue":{"kvlistValue":1}}}}'),
        ({"bytesValue": 1, "other": 2}, '{"bytesValue":1,"other":2}'),
        ({"stringValue": "x"}, '{"stringValue":"x"}'),
        (Colour.RED, '"red"'),
        (Number.ONE, "1"),
        (Plain.A, '"Plain.A"'),
        (range(3), '"range(0, 3)"'),
    ],
)
def test_each_value_has_one_text(value: Any, text: str) -> None:
    """What JSON can't say is tagged, what PostgreSQL refuses is replaced, everything else is exact."""
    assert encode_value(value) == text
    json.loads(text)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        3.0,
        -0.0,
        math.inf,
        "x",
        b"\0",
        [1, [b"a", None]],
        {"bytesValue": {"doubleValue": "x"}},
        {"a": {}},
    ],
)
def test_a_tagged_value_reads_back_as_itself(value: Any) -> None:
    """Reading undoes tagging, with the types kept."""
    read = JsonMap(encode_attributes([("key", value)]).text)["key"]
    assert read == value
    assert type(read) is type(value)
    assert repr(read) == repr(value)


def test_nan_reads_back_as_nan() -> None:
    """NaN is no number that JSON knows, and still a double after reading."""
    assert math.isnan(JsonMap(encode_attributes([("key", math.nan)]).text)["key"])


class RaisingText:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class RaisingClass:
    @property  # type: ignore[misc]  # it is a property that makes isinstance() raise
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class RaisingMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        return 3


class Endless(list[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


def circular_list() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def circular_map() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def laughs() -> Any:
    value: Any = "ha"
    for _ in range(100):
        value = [value] * 10
    return value


HOSTILE: dict[str, Callable[[], Any]] = {
    "circular list": circular_list,
    "circular map": circular_map,
    "1,000 deep": lambda: nested(1_000),
    "100,000 deep": lambda: nested(100_000),
    "billion laughs": laughs,
    "raising __str__": RaisingText,
    "raising __class__": RaisingClass,
    "a list of those": lambda: [RaisingText(), 1],
    "raising __class__ inside": lambda: {"a": [RaisingClass()]},
    "raising mapping": RaisingMapping,
    "endless": lambda: Endless([1]),
    "5,000 digits": lambda: 10**5_000,
    "surrogate key": lambda: {"\ud800": "\0"},
    "memory view": lambda: memoryview(b"abcd")[::2],
    "not a key": lambda: {RaisingText(): 1},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_of_user_code_raises(name: str) -> None:
    """A value that can't be shown becomes a placeholder or its beginning, quickly, and is valid JSON."""
    value = HOSTILE[name]()
    attributes = encode_attributes([("before", 1), ("value", value), (mapping.INPUT, value), ("service.name", value)])
    assert json.loads(attributes.text)["before"] == 1
    assert_storable(attributes.text)
    assert_storable(encode_body(value))
    mapping.read_span({mapping.EXECUTION_ID: "e", **attributes.spane})
    assert service_of(attributes.spane)


@pytest.mark.parametrize(
    "key", [None, 1, b"\xff", "\ud800\0", RaisingText()], ids=["none", "int", "bytes", "surrogate", "raising"]
)
def test_no_key_of_user_code_raises(key: Any) -> None:
    """A key of any type becomes text."""
    assert_storable(encode_attributes([(key, 1)]).text)


def assert_storable(text: str) -> None:
    assert "\0" not in text
    text.encode()
    json.loads(text, parse_constant=pytest.fail)
    assert "\\u0000" not in text.replace("\\\\", "")


def test_circular_values_say_so() -> None:
    """A cycle ends where it closes."""
    assert encode_value(circular_list()) == '[1,"[circular]"]'
    assert encode_value(circular_map()) == '{"self":["[circular]"]}'


def test_a_value_that_is_shared_is_no_cycle() -> None:
    """The same list twice is written twice."""
    shared = [1]
    assert encode_value([shared, shared]) == "[[1],[1]]"


@pytest.mark.parametrize("depth", [20, 21, 50, 1_000])
def test_deeper_than_twenty_levels_is_json_text(depth: int) -> None:
    """Twenty containers are kept; the one below them is its JSON text, as a string."""
    text = encode_value(nested(depth))
    value = json.loads(text)
    levels = 0
    while isinstance(value, list):
        value = value[0]
        levels += 1
    assert levels == 20
    assert value == (1 if depth == 20 else "[" * (depth - 20) + "1" + "]" * (depth - 20))
    assert encode_value(json.loads(text)) == text


@pytest.mark.parametrize(
    ("value", "kept", "lost"),
    [
        ("a" * 65_536, 65_536, 0),
        ("a" * 65_537, 65_536, 1),
        ("a" * 10_000_000, 65_536, 9_934_464),
        ("é" * 40_000, 65_536, 14_464),
    ],
)
def test_a_value_is_cut_at_64_kib(value: str, kept: int, lost: int) -> None:
    """The cut is counted in bytes of UTF-8, falls between characters, and says how many bytes are gone."""
    read = json.loads(encode_value(value))
    beginning = read.split("…[truncated")[0]
    assert len(beginning.encode()) == kept
    assert value.startswith(beginning)
    assert read == beginning + (f"…[truncated {lost} bytes]" if lost else "")


def test_a_cut_falls_between_characters() -> None:
    """A character of three bytes that does not fit whole is gone whole."""
    assert json.loads(encode_value("☃☃", max_bytes=4)) == "☃…[truncated 3 bytes]"


@pytest.mark.parametrize("value", ["a" * 100_000, ["b" * 70_000], {"k": list(range(50_000))}, b"c" * 60_000, laughs()])
def test_cutting_again_changes_nothing(value: Any) -> None:
    """What was cut by one service passes the next one unchanged."""
    text = encode_value(value)
    assert encode_value(json.loads(text)) == text


def test_a_large_container_is_a_cut_string() -> None:
    """Half an array is no array: its text is kept as far as it fits."""
    items = list(range(30_000))
    whole = encode_value(items, max_bytes=10**9)
    assert json.loads(whole) == items
    assert json.loads(encode_value(items)) == whole[:65_536] + f"…[truncated {len(whole) - 65_536} bytes]"


@pytest.mark.parametrize(
    ("key", "mark"), [(mapping.INPUT, mapping.INPUT_TRUNCATED), (mapping.OUTPUT, mapping.OUTPUT_TRUNCATED)]
)
def test_a_payload_above_64_kib_keeps_its_beginning_as_a_json_string_and_says_how_long_it_was(
    key: str, mark: str
) -> None:
    text = json.dumps({"a": "ü" * 100_000}, ensure_ascii=False)
    first = encode_attributes([(key, text)])
    attributes = json.loads(first.text)
    kept = json.loads(attributes[key])
    assert text.startswith(kept)
    assert 65_536 - 2 < len(kept.encode()) <= 65_536
    assert attributes[mark] == len(text.encode())
    assert first.spane[key] == attributes[key]
    again = encode_attributes(list(attributes.items()))
    assert again.text == first.text, "what was cut passes the next collector unchanged"
    assert json.loads(encode_attributes([(key, "x" * 65_536)]).text) == {key: "x" * 65_536}


def test_a_key_is_cut_at_512_bytes() -> None:
    """Keys go into indexes one day; theirs is the only limit without a mark."""
    text = encode_attributes([("k" * 1_000_000, 1), ("é" * 300, 2)]).text
    assert json.loads(text) == {"k" * 512: 1, "é" * 256: 2}


def test_the_256th_attribute_is_the_last() -> None:
    """The rest is counted; equal keys are one, and the last value wins even then."""
    items: list[tuple[str | bytes, Any]] = [(f"k{number}", number) for number in range(300)]
    attributes = encode_attributes([*items, ("k0", "again"), ("k299", "again")])
    read = json.loads(attributes.text)
    assert attributes.dropped == 44
    assert len(read) == 256
    assert read["k0"] == "again"
    assert "k256" not in read


def test_what_has_meaning_for_us_is_never_too_much() -> None:
    """State and output are set last; 256 attributes before them don't cost an execution its end."""
    items: list[tuple[str | bytes, Any]] = [(f"k{number}", number) for number in range(256)]
    attributes = encode_attributes([*items, (mapping.STATE, "failed"), ("spane.unknown", 1)])
    assert json.loads(attributes.text)[mapping.STATE] == "failed"
    assert attributes.spane == {mapping.STATE: "failed"}
    assert attributes.dropped == 1


def test_own_values_stand_beside_the_text() -> None:
    """What mapping reads comes sanitised; containers where none belongs say nothing."""
    attributes = encode_attributes(
        [
            (mapping.EXECUTION_ID, "e\0"),
            (mapping.WORKFLOW_VERSION, 3),
            (mapping.NODE_ID, ["no"]),
            (mapping.INPUT, {"a": math.nan}),
            (mapping.SPAN_REVISION, 2),
            ("service.name", "shop"),
            ("log.record.uid", "u"),
            ("other", "x"),
        ],
        drop=frozenset({mapping.SPAN_REVISION}),
    )
    assert attributes.spane == {
        mapping.EXECUTION_ID: "e\ufffd",
        mapping.WORKFLOW_VERSION: 3,
        mapping.INPUT: '{"a":{"doubleValue":"NaN"}}',
        mapping.SPAN_REVISION: 2,
        "service.name": "shop",
        "log.record.uid": "u",
    }
    assert mapping.SPAN_REVISION not in json.loads(attributes.text)
    assert attributes.dropped == 0


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ('{"a": [1, 2.50]}', '{"a": [1, 2.50]}'),
        (r'"\u0000"', '"\ufffd"'),
        (r'{"\ud800": "\\u0000"}', r'{"�": "\\u0000"}'.replace(": ", ":")),
        (r'"\ud83d\ude00"', '"😀"'),
        ("NaN", '"NaN"'),
        ('{"a": -Infinity}', '"{\\"a\\": -Infinity}"'),
        ('["NaN"]', '["NaN"]'),
        ("1e999", '"1e999"'),
        ("1e308", "1e308"),
        ("9" * 5_000, '"' + "9" * 5_000 + '"'),
        ("not json \\u0000", '"not json \\\\u0000"'),
        ("plain", "plain"),
    ],
)
def test_a_payload_is_json_for_postgresql_if_it_is_json_for_python(text: str, stored: str) -> None:
    """Python's parser takes more than PostgreSQL's; such text is mended or counts as the string that it is."""
    assert payload_text(text) == stored
    assert mapping.read_span({mapping.EXECUTION_ID: "e", mapping.INPUT: payload_text(text)}).stamp is not None


@pytest.mark.parametrize(
    ("value", "service"),
    [
        ("shop", "shop"),
        ("", "unknown_service"),
        (None, "unknown_service"),
        (["a", 1], '["a",1]'),
        (7, "7"),
        ("null", "null"),
        ("x" * 10_000, "x" * 256),
    ],
)
def test_a_service_has_a_name_whatever_was_sent(value: Any, service: str) -> None:
    """Nothing, an array and 10,000 characters all give a name that fits an index (B21)."""
    assert service_of(encode_attributes([("service.name", value)]).spane) == service


def test_a_resource_without_service_is_unknown() -> None:
    assert service_of(encode_attributes([("other", 1)]).spane) == "unknown_service"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b"ok", "ok"),
        (b"\xff\xfe", REPLACED * 2),
        (b"a\0", "a" + REPLACED),
        ("\udc80", REPLACED),
        (b"\xed\xa0\x80", REPLACED * 3),
    ],
)
def test_text_is_cleaned_the_same_from_bytes_and_from_python(text: str | bytes, clean: str) -> None:
    assert clean_text(text) == clean
    assert clean_text(text, 1) == clean[:1]


def test_events_and_links_have_the_shape_of_the_api() -> None:
    """Their limits count what is beyond; an attribute too many is counted in its own event."""
    events, dropped = encode_events(
        [("e" * 2_000, 2**63, [(f"k{n}", n) for n in range(257)], 3), *[("x", 0, [], 0)] * 300], DEFAULT_LIMITS
    )
    assert events is not None
    read = json.loads(events)
    assert dropped == 45
    assert len(read) == 256
    assert read[0] | {"attributes": len(read[0]["attributes"])} == {
        "name": "e" * 1_024,
        "time_ns": str(2**63),
        "attributes": 256,
        "dropped_attributes_count": 4,
    }
    links, dropped = encode_links([("0" * 31 + "1", "0" * 15 + "2", "a=b", 257, [("k", 1)], 0)] * 2, Limits(links=1))
    assert links is not None
    assert dropped == 1
    assert json.loads(links) == [
        {
            "trace_id": "0" * 31 + "1",
            "span_id": "0" * 15 + "2",
            "trace_state": "a=b",
            "flags": 257,
            "attributes": {"k": 1},
            "dropped_attributes_count": 0,
        }
    ]
    assert encode_events([]) == (None, 0)
    assert encode_links([]) == (None, 0)


def test_small_limits_hold_for_every_kind_of_value() -> None:
    """The fast path of short strings asks the limit too."""
    text = encode_attributes([("s", "abcdef"), ("l", ["abcdef"]), ("b", b"abcdef")], Limits(value_bytes=4)).text
    assert json.loads(text) == {
        "s": "abcd…[truncated 2 bytes]",
        "l": '["ab…[truncated 6 bytes]',
        "b": "YWJj…[truncated 4 bytes]",
    }


def test_ids_that_go_into_indexes_are_bounded() -> None:
    """A workflow's name of 60,000 characters must not cost its span: a B-tree entry ends at 2,704 bytes."""
    long = "".join(chr(0x4E00 + number % 20_000) for number in range(20_000))
    keys = (mapping.EXECUTION_ID, mapping.WORKFLOW_ID, mapping.EXECUTION_PARENT_ID, mapping.EXECUTION_ROOT_ID)
    meaning = mapping.read_span(encode_attributes([(key, long) for key in keys]).spane)
    assert meaning.stamp is not None
    stamp = meaning.stamp
    for text in (meaning.execution_id, stamp.workflow_id, stamp.parent_execution_id, stamp.root_execution_id):
        assert text is not None
        assert len(text) <= 256
