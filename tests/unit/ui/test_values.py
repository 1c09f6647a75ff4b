"""Payloads and attributes as they are shown: exact, escaped, never followed where that could run something."""

from typing import Any

import pytest

from spane_otel.jsontext import JsonList, JsonMap
from spane_otel.server.ui.attributes import is_safe_link, read_items, show_attributes, show_values
from spane_otel.server.ui.environment import TEMPLATES, execution_path
from spane_otel.server.ui.payload import Payload, show_payload


def brief(payload: Payload) -> str:
    return "".join(text for _, text in payload.brief)


def whole(payload: Payload) -> str:
    return "".join(text for _, text in payload.whole)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
        (0.1, "0.1"),
        (True, "true"),
        (None, "null"),
        ("a\u202eb", '"a\\u202eb"'),
        ({}, "{}"),
        ([], "[]"),
        ({"seed": 2**53 + 1, "ok": True}, '{ "seed": 9007199254740993,\n  "ok": true }'),
        ({"many": [1, 2], "one": {"x": 1}}, '{ "many": [ 2 items ],\n  "one": { 1 key } }'),
        ([1, "x"], '[ 1,\n  "x" ]'),
    ],
)
def test_a_payload_in_brief(value: Any, text: str) -> None:
    assert brief(show_payload(value)) == text


def test_a_long_payload_says_how_much_more_there_is() -> None:
    payload = show_payload({str(number): number for number in range(10)})
    assert brief(payload).endswith("… 5 more }")
    assert whole(payload).count("\n") == 11


def test_what_is_complete_in_brief_has_no_longer_form() -> None:
    assert show_payload({"a": 1}).whole == []
    assert show_payload({"a": [1]}).whole != []


def test_a_payload_nested_without_end_costs_nothing_but_itself() -> None:
    value: Any = 1
    for _ in range(20_000):
        value = [value]
    assert brief(show_payload(value)) == "nested too deeply to be shown"


def test_the_copy_is_the_whole_payload() -> None:
    assert '"seed": 9007199254740993' in show_payload({"seed": 2**53 + 1, "x": [1]}).text


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("9007199254740993", "9007199254740993"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1.50", "1.50"),
        ("1e400", "1e400"),
        ('{"doubleValue":"NaN"}', "NaN"),
        ('{"bytesValue":"AAE="}', "base64:AAE="),
        ('{"kvlistValue":{"doubleValue":"x"}}', '{"doubleValue": "x"}'),
        ('"text"', "text"),
        ('"9007199254740993"', "9007199254740993"),
        ('[1, true, "x"]', '[1, true, "x"]'),
        ("[9007199254740993]", "[9007199254740993]"),
        ("true", "true"),
        ("null", "null"),
    ],
)
def test_an_attribute_is_shown_in_all_its_digits(stored: str, text: str) -> None:
    assert [each.text for each in show_attributes(JsonMap(f'{{"k":{stored}}}'))] == [text]


def test_keys_that_mean_something_to_javascript_are_keys() -> None:
    shown = show_attributes(JsonMap('{"__proto__":1,"constructor":2,"toString":3,"a.b":4,"a":5,"":6}'))
    assert [each.key for each in shown] == ["", "__proto__", "a", "a.b", "constructor", "toString"]


def test_attributes_of_events_keep_their_digits() -> None:
    items = read_items(JsonList('[{"name":"e","time_ns":"1","attributes":{"n":9007199254740993,"d":0.10}}]'))
    assert [(each.key, each.text) for each in show_values(items[0]["attributes"])] == [
        ("d", "0.10"),
        ("n", "9007199254740993"),
    ]


@pytest.mark.parametrize("text", ["https://example.org/a?b=c", "http://127.0.0.1:4318", "mailto:anna@example.org"])
def test_what_may_be_a_link(text: str) -> None:
    assert is_safe_link(text)


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox(1)",
        "file:///etc/passwd",
        "//example.org",
        "/relative",
        "http:",
        "https://[bad",
        "http://exa mple.org",
        "http://example.org/\u202e",
        "mailto:",
        "plain",
        "",
    ],
)
def test_what_is_never_a_link(text: str) -> None:
    assert not is_safe_link(text)


@pytest.mark.parametrize(
    ("execution_id", "path"),
    [
        ("plain", "/executions/plain"),
        ("a/b", "/executions/a%2Fb"),
        ("100%", "/executions/100%25"),
        ("?#&", "/executions/%3F%23%26"),
        ("..", "/execution?id=.."),
        (".", "/execution?id=."),
        ("漢", "/executions/%E6%BC%A2"),
    ],
)
def test_an_execution_has_an_address_whatever_its_id(execution_id: str, path: str) -> None:
    assert execution_path(execution_id) == path


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ v }}", "&lt;b&gt;\\x1b &amp; &#34;"),
        ("{{ v|line }}", "&lt;b&gt;\\x1b &amp; &#34;"),
        ("{{ v|exact }}", "&lt;b&gt;\x1b &amp; &#34;"),
        ('<a title="{{ v }}">', '<a title="&lt;b&gt;\\x1b &amp; &#34;">'),
        ('<a data-copy="{{ v|copyable }}">', '<a data-copy="&#34;&lt;b&gt;\\u001b &amp; \\&#34;&#34;">'),
    ],
)
def test_a_template_escapes_every_value(template: str, text: str) -> None:
    assert TEMPLATES.from_string(template).render(v='<b>\x1b & "') == text
