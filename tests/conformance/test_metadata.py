"""Metadata: merged key by key, in whatever status, kept exactly."""

import asyncio
from typing import Any

import pytest

from spane_otel.errors import InvalidValueError, UnknownExecutionError
from spane_otel.stores.protocols import Store
from tests.conformance.loading import load_execution
from tests.rows import batch, root


async def test_metadata_is_merged_by_its_top_level_keys(store: Store) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": {"x": 1, "y": 2}, "b": 1})
    await store.update_execution_metadata("e", {"a": {"x": 3}, "c": [1]})
    assert (await load_execution(store, "e")).metadata == {"a": {"x": 3}, "b": 1, "c": [1]}
    await store.update_execution_metadata("e", {"b": None})
    assert (await load_execution(store, "e")).metadata == {"a": {"x": 3}, "b": None, "c": [1]}


async def test_nothing_given_changes_nothing(store: Store) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": 1})
    held = await load_execution(store, "e")
    await store.update_execution_metadata("e", {})
    assert await load_execution(store, "e") == held


async def test_any_key_and_value_that_json_can_say_comes_back(store: Store) -> None:
    metadata: dict[str, Any] = {
        "": "empty key",
        "ü😀\0\ud800": "any key",
        "int": 2**64 + 1,
        "float": 0.1,
        "minus zero": -0.0,
        "text": "ü\0\ud800",
        "nested": {"a": [[], {}, None, False, 0, ""]},
        "__proto__": {"doubleValue": "NaN"},
    }
    await store.create_execution("order", execution_id="e")
    await store.update_execution_metadata("e", metadata)
    assert repr((await load_execution(store, "e")).metadata) == repr(metadata)


async def test_metadata_that_is_no_json_object_is_refused_and_changes_nothing(store: Store) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": 1})
    wrong: list[Any] = [[1], "text", 5, None, {"a": float("nan")}, {"a": b""}, {"a": object()}]
    for metadata in wrong:
        with pytest.raises(InvalidValueError):
            await store.update_execution_metadata("e", metadata)
    assert (await load_execution(store, "e")).metadata == {"a": 1}


async def test_an_unknown_execution_has_no_metadata_to_change(store: Store) -> None:
    for metadata in ({"a": 1}, {}):
        with pytest.raises(UnknownExecutionError):
            await store.update_execution_metadata("nobody", metadata)


async def test_many_who_add_keys_at_once_lose_none(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(*(store.update_execution_metadata("e", {f"k{number}": number}) for number in range(16)))
    assert (await load_execution(store, "e")).metadata == {f"k{number}": number for number in range(16)}


async def test_what_a_writer_holds_is_its_own(store: Store) -> None:
    tags = ["a"]
    await store.create_execution("order", execution_id="e")
    await store.update_execution_metadata("e", {"tags": tags})
    tags.append("b")
    assert (await load_execution(store, "e")).metadata == {"tags": ["a"]}


async def test_metadata_grows_over_64_kib_and_shrinks_again(store: Store) -> None:
    await store.create_execution("order", execution_id="e", metadata={"keep": 1})
    for size in (100_000, 10, 100_000):
        await store.update_execution_metadata("e", {"text": "x" * size})
        assert (await load_execution(store, "e")).metadata == {"keep": 1, "text": "x" * size}


async def test_metadata_that_grew_over_2_mib_is_refused_and_stays_as_it_was(store: Store) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": "x" * 1_500_000})
    with pytest.raises(InvalidValueError) as refused:
        await store.update_execution_metadata("e", {"b": "x" * 1_500_000})
    assert refused.value.reason == "payload_too_large"
    assert set((await load_execution(store, "e")).metadata) == {"a"}


async def test_an_execution_made_from_spans_takes_metadata_and_keeps_it(store: Store) -> None:
    await store.write(batch(root("e", end=None)))
    await store.update_execution_metadata("e", {"a": 1})
    await store.write(batch(root("e", end=2)))
    assert (await load_execution(store, "e")).metadata == {"a": 1}
