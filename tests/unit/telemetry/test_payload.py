"""Inputs and results as JSON text."""

import dataclasses
import datetime as dt
import enum
import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from spane_otel import aflush, execution
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.telemetry.payload import payload_of
from spane_otel.values import PAYLOAD_BYTES


@dataclasses.dataclass
class Order:
    amount: int
    tags: set[str]


class Colour(enum.Enum):
    RED = "red"


class Record(msgspec.Struct):
    name: str


class Model:
    """What pydantic's models look like from outside."""

    def model_dump(self, *, mode: str) -> dict[str, str]:
        return {"mode": mode}


class Unknown:
    def __repr__(self) -> str:
        return "<unknown thing>"


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, None, True, "ü"]}, {"a": [1, 2.5, None, True, "ü"]}),
        (2**63 - 1, 2**63 - 1),
        (Order(3, {"x"}), {"amount": 3, "tags": ["x"]}),
        (Colour.RED, "red"),
        (Record("r"), {"name": "r"}),
        (Model(), {"mode": "json"}),
        (Unknown(), "<unknown thing>"),
        ([Unknown()], ["<unknown thing>"]),
        (dt.date(2026, 11, 24), "2026-11-24"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("/tmp/x"), "PosixPath('/tmp/x')"),
        ({1: "a", (2, 3): "b"}, {"1": "a", "(2, 3)": "b"}),
        (float("nan"), {"doubleValue": "NaN"}),
        ({"a": None, "b": [float("-inf")]}, {"a": None, "b": [{"doubleValue": "-Infinity"}]}),
        ("\ud800", "\ufffd"),
        (Hostile(), "<unprintable Hostile>"),
    ],
)
def test_a_value_becomes_json_text(value: Any, expected: Any) -> None:
    assert json.loads(payload_of(value).text) == expected


def test_a_value_that_holds_itself_ends() -> None:
    assert "circular" in payload_of(CYCLE).text


def test_long_text_is_cut_and_becomes_a_string_that_says_how_long_it_was() -> None:
    value = {"text": "é" * PAYLOAD_BYTES}
    full = msgspec.json.encode(value)
    payload = payload_of(value)
    assert payload.cut_from == len(full)
    kept = json.loads(payload.text)
    assert isinstance(kept, str)
    assert full.decode().startswith(kept)
    assert PAYLOAD_BYTES - 2 < len(kept.encode()) <= PAYLOAD_BYTES


def test_text_of_just_the_limit_is_whole() -> None:
    payload = payload_of("x" * (PAYLOAD_BYTES - 2))
    assert payload.cut_from is None
    assert len(payload.text) == PAYLOAD_BYTES


async def test_a_cut_payload_is_stored_with_its_full_length(store: InMemoryExecutionStore) -> None:
    with execution("order", input="\\" * 100_000) as run:
        pass
    assert await aflush()
    stored = await store.get_execution(run.execution_id)
    found = await store.get_trace(run.execution_id)
    assert stored is not None
    assert found is not None
    assert isinstance(stored.initial_data, str)
    assert stored.initial_data == '"' + "\\" * (PAYLOAD_BYTES - 1)
    assert found.spans[0].attributes["spane.input.truncated"] == 200_002


async def test_a_payload_is_what_it_was_when_it_was_given(store: InMemoryExecutionStore) -> None:
    value = {"step": 1}
    with execution("order", input=value) as run:
        value["step"] = 2
        run.set_result(value)
        value["step"] = 3
    assert await aflush()
    stored = await store.get_execution(run.execution_id)
    assert stored is not None
    assert (stored.initial_data, stored.result) == ({"step": 1}, {"step": 2})
