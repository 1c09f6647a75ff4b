"""The invariant of stored values, asked of PostgreSQL itself: `text::jsonb` never fails."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spane_otel import mapping
from spane_otel.values import Limits, encode_attributes, encode_body, encode_value, payload_text

ANY_TEXT = st.text(max_size=12) | st.text(st.characters(categories=("Cs", "Cc")), max_size=4)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**62, max_value=2**70)
    | st.floats()
    | ANY_TEXT
    | st.binary(max_size=8)
)
KEYS = ANY_TEXT | st.sampled_from(["bytesValue", "doubleValue", "kvlistValue", mapping.INPUT]) | st.integers()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
SMALL = Limits(value_bytes=16, payload_bytes=24, key_bytes=4, attributes=3, depth=2)
FUZZ = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))

Refused = Callable[[list[str]], list[str]]


@pytest.fixture
def refused(postgres_url: str) -> Iterator[Refused]:
    """Give a function that returns which of the texts PostgreSQL refuses as jsonb."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(postgres_url))

        async def ask(texts: list[str]) -> list[str]:
            try:
                await connection.fetchval("SELECT count(text::jsonb) FROM unnest($1::text[]) AS text", texts)
            except asyncpg.PostgresError:
                if len(texts) == 1:
                    return texts
                return [bad for text in texts for bad in await ask([text])]
            return []

        yield lambda texts: runner.run(ask(texts))
        runner.run(connection.close())


def test_postgresql_takes_every_value_as_jsonb(refused: Refused) -> None:
    """Values, attributes, bodies and payloads, whole and cut by small limits."""

    @FUZZ
    @given(st.lists(VALUES, min_size=1, max_size=20))
    def check(values: list[Any]) -> None:
        texts = []
        for limits in (Limits(), SMALL):
            texts += [encode_value(value, limits) for value in values]
            texts += [encode_body(value, limits) for value in values]
            attributes = [encode_attributes([("k", value), (mapping.INPUT, value)], limits) for value in values]
            texts += [each.text for each in attributes]
            stamps = [mapping.read_span({mapping.EXECUTION_ID: "e", **each.spane}).stamp for each in attributes]
            texts += [stamp.input for stamp in stamps if stamp is not None and stamp.input is not None]
        assert refused(texts) == []

    check()


@pytest.mark.parametrize(
    "payload",
    [
        '"\\u0000"',
        '{"\\ud800": ["\\udfff"]}',
        "NaN",
        "[Infinity]",
        "1e400",
        "1e200000",
        "-1E+131073",
        "0.1e-99999",
        "0e-99999",
        "0." + "0" * 20_000 + "1",
        "9" * 4_000,
        "9" * 400_000,
        "x\\u0000",
        "[" * 20_000 + "]" * 20_000,
    ],
    ids=lambda payload: payload[:12],
)
def test_postgresql_takes_every_payload_as_json(refused: Refused, payload: str) -> None:
    """What a span gives as input is JSON for PostgreSQL, whatever Python's parser thinks of it."""
    stamp = mapping.read_span({mapping.EXECUTION_ID: "e", mapping.INPUT: payload_text(payload)}).stamp
    assert stamp is not None
    assert stamp.input is not None
    assert refused([stamp.input]) == []


def test_the_question_can_be_answered_with_no(refused: Refused) -> None:
    """The same question about texts that values never makes: PostgreSQL does refuse them."""
    bad = ['"\\u0000"', '"\\ud800"', "NaN", json.dumps("ok")]
    assert refused(bad) == bad[:3]
