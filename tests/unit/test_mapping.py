"""What `spane.*` attributes say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spane_otel.mapping import NOTHING, SpanMeaning, read_span
from spane_otel.records import Stamp


def test_all_attributes_of_a_root_are_read() -> None:
    values = {
        "spane.execution.id": "e",
        "spane.workflow.id": "order",
        "spane.workflow.version": 3,
        "spane.workflow.version_label": "v3",
        "spane.execution.parent_id": "p",
        "spane.execution.root_id": "r",
        "spane.execution.depth": 2,
        "spane.state": "cancelled",
        "spane.input": '{"a": 1}',
        "spane.output": "null",
        "spane.span.revision": 4,
        "service.name": "ignored",
    }
    assert read_span(values) == SpanMeaning(
        execution_id="e",
        state="cancelled",
        revision=4,
        stamp=Stamp("order", 3, "v3", "p", "r", 2, None, '{"a": 1}', "null"),
    )


def test_a_foreign_span_says_nothing() -> None:
    assert read_span({}) == read_span({"http.method": "GET"}) == NOTHING


def test_without_an_execution_id_a_span_carries_no_stamp() -> None:
    assert read_span({"spane.workflow.id": "order", "spane.node.id": "n", "spane.state": "failed"}) == SpanMeaning(
        node_id="n", state="failed"
    )


@pytest.mark.parametrize("value", [None, "", 1, True, b"e", ["e"], {"a": "b"}, 1.5], ids=repr)
def test_an_execution_id_that_is_no_text_says_nothing(value: Any) -> None:
    assert read_span({"spane.execution.id": value}) == NOTHING


def test_ids_are_bounded_to_256_characters() -> None:
    long = "x" * 257
    meaning = read_span(
        {"spane.execution.id": long, "spane.execution.parent_id": long, "spane.execution.root_id": "y" * 256}
    )
    assert meaning.stamp is not None
    assert meaning.execution_id == meaning.stamp.parent_execution_id
    assert meaning.execution_id is not None
    assert meaning.execution_id.startswith("x" * 200 + "~")
    assert meaning.stamp.root_execution_id == "y" * 256


@pytest.mark.parametrize(
    ("version", "label", "expected"),
    [
        (3, None, (3, None)),
        (3, "v3", (3, "v3")),
        ("2024.1", None, (None, "2024.1")),
        ("2024.1", "label", (None, "label")),
        (True, None, (None, None)),
        (-1, None, (None, None)),
        (2**31, None, (None, None)),
        (1.0, None, (None, None)),
    ],
)
def test_a_version_is_a_number_and_a_text_counts_as_its_label(
    version: Any, label: Any, expected: tuple[int | None, str | None]
) -> None:
    stamp = read_span(
        {"spane.execution.id": "e", "spane.workflow.version": version, "spane.workflow.version_label": label}
    ).stamp
    assert stamp is not None
    assert (stamp.workflow_version, stamp.version_label) == expected


@pytest.mark.parametrize("state", ["running", "abandoned", "open", "COMPLETED", "", None, 1, ["failed"]], ids=repr)
def test_only_four_states_may_be_given(state: Any) -> None:
    assert read_span({"spane.state": state}).state is None


@pytest.mark.parametrize(
    ("revision", "expected"), [(None, 0), (-1, 0), (7, 7), (2**40, 2**31 - 1), ("7", 0), (True, 0), (7.0, 0)]
)
def test_a_revision_fits_its_column(revision: Any, expected: int) -> None:
    assert read_span({"spane.span.revision": revision}).revision == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('{"a":1}', '{"a":1}'),
        (" 1 ", " 1 "),
        ("plain text", '"plain text"'),
        ("", '""'),
        ('{"cut":', '"{\\"cut\\":"'),
        ("NaN", '"NaN"'),
        ("[Infinity]", '"[Infinity]"'),
        ("[" * 100_000, json.dumps("[" * 100_000)),
        ("9" * 5_000, json.dumps("9" * 5_000)),
        (5, "5"),
        (True, "true"),
        (float("nan"), '"nan"'),
        ([1, "a"], '[1,"a"]'),
        ({"a": b"x"}, json.dumps(str({"a": b"x"}))),
        (None, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_payload_is_json_and_other_text_counts_as_a_string(value: Any, text: str | None) -> None:
    stamp = read_span({"spane.execution.id": "e", "spane.input": value}).stamp
    assert stamp is not None
    assert stamp.input == text


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [f"spane.{name}" for name in ("execution.id", "execution.depth", "execution.parent_id", "workflow.id")]
    + [f"spane.{name}" for name in ("workflow.version", "node.id", "state", "input", "output", "span.revision")]
)


@given(st.dictionaries(KEYS, ANY_VALUE))
def test_no_value_makes_it_raise_and_payloads_are_always_json(values: dict[str, Any]) -> None:
    meaning = read_span(values)
    assert (meaning.stamp is None) == (meaning.execution_id is None)
    for text in (meaning.stamp.input, meaning.stamp.output) if meaning.stamp else ():
        if text is not None:
            json.loads(text, parse_constant=pytest.fail)
