"""Payloads: as large as 2 MiB, exact, never redacted."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from spane_otel.errors import InvalidValueError
from spane_otel.jsontext import PAYLOAD_INLINE_BYTES, PAYLOAD_MAX_BYTES
from spane_otel.state import NewDeadLetter
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution, load_result

OK = {"success": True}

# The JSON text of a string has two quotes.
SIZES = (0, PAYLOAD_INLINE_BYTES - 2, PAYLOAD_INLINE_BYTES - 1, 500_000, PAYLOAD_MAX_BYTES - 2)


async def keep_everywhere(store: Store, execution_id: str, payload: Any) -> None:
    """Create an execution that has a payload at every place where one can be."""
    await store.create_execution("order", execution_id=execution_id, initial_data=payload)
    await store.update_node_result(execution_id, "a", {"success": True, "data": payload}, input=payload)
    failed = {"success": False, "data": payload}
    await store.complete_node(execution_id, "b", failed, dead_letter=NewDeadLetter(job_data=payload))
    await store.set_execution_status(execution_id, "completed", result=payload)


async def read_everywhere(store: Store, execution_id: str) -> list[Any]:
    execution = await load_execution(store, execution_id)
    a, b = await load_result(store, execution_id, "a"), await load_result(store, execution_id, "b")
    (attempt,) = await store.list_node_attempts(execution_id, "a")
    (letter,) = await store.list_dead_letters(execution_id=execution_id)
    return [
        *(execution.initial_data, execution.result),
        *(a.data, a.input, b.data, attempt.data, attempt.input),
        letter.job_data,
    ]


async def test_a_payload_of_any_size_comes_back_from_everywhere(store: Store) -> None:
    for size in SIZES:
        await keep_everywhere(store, f"e{size}", "x" * size)
    for size in SIZES:
        read = await read_everywhere(store, f"e{size}")
        assert {len(each) for each in read} == {size}
        assert set("".join(read)) <= {"x"}


async def test_many_kinds_of_json_come_back_exactly_large_or_not(store: Store) -> None:
    values = {
        "text": "ü €😀 \0 \ud800 \u2028 </script> '\"\\",
        "numbers": [0, -0.0, 2**64 + 1, -(2**63), 0.1, 5e-324, 1.7976931348623157e308, 1.0, 1e22],
        "rest": [None, True, False, "", [], {}, {"": [[[{}]]]}, {"doubleValue": "NaN"}, {"bytesValue": "AP8="}],
    }
    for number, payload in enumerate((values, [values, "x" * 100_000])):
        await keep_everywhere(store, f"e{number}", payload)
        assert {repr(each) for each in await read_everywhere(store, f"e{number}")} == {repr(payload)}


async def test_the_order_of_keys_is_kept(store: Store) -> None:
    payload = dict.fromkeys("zebra")
    await keep_everywhere(store, "e", payload)
    assert [list(each) for each in await read_everywhere(store, "e")] == [list(payload)] * 8


async def test_payloads_are_never_redacted(store: Store) -> None:
    secret = {"password": "hunter2", "authorization": "Bearer eyJhbGciOi.eyJzdWIi.c2ln", "aws": "AKIAIOSFODNN7EXAMPLE"}
    await keep_everywhere(store, "e", secret)
    assert await read_everywhere(store, "e") == [secret] * 8


async def test_a_payload_that_shrinks_and_grows_is_the_last_one_written(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    for size in (100_000, 1, 200_000, 100_000):
        await store.update_node_result("e", "a", {"success": True, "data": "x" * size}, input=size)
        assert len((await load_result(store, "e", "a")).data) == size


async def test_a_large_payload_shared_by_several_places_outlives_each_of_them(store: Store) -> None:
    """What is kept once for many must not go with the first."""
    large = "x" * 100_000
    for execution_id in ("e", "f"):
        await keep_everywhere(store, execution_id, large)
    await store.update_node_result("e", "a", {"success": True, "data": 1}, input=2)
    await store.delete_execution("f")
    assert (await load_execution(store, "e")).initial_data == large
    assert (await load_result(store, "e", "b")).data == large


async def test_completion_takes_a_large_result(store: Store) -> None:
    await store.save_workflow(chain("a"))
    await store.create_execution("order", execution_id="e")
    await store.complete_node("e", "a", {"success": True, "data": "y" * 70_000}, execution_result="x" * 80_000)
    assert (await load_execution(store, "e")).result == "x" * 80_000
    assert (await load_result(store, "e", "a")).data == "y" * 70_000


async def test_a_large_definition_comes_back(store: Store) -> None:
    nodes = [{"id": f"n{number}", "type": "t", "config": {"text": "x" * 1_000}} for number in range(500)]
    assert await store.save_workflow({"id": "order", "nodes": nodes}) == 1
    workflow = await store.get_workflow("order")
    assert workflow is not None
    assert [node.config for node in workflow.nodes] == [{"text": "x" * 1_000}] * 500


async def test_more_than_2_mib_is_refused_before_anything_is_written(store: Store) -> None:
    too_large = "x" * (PAYLOAD_MAX_BYTES - 1)
    await store.create_execution("order", execution_id="e")
    held = await load_execution(store, "e")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.create_execution("order", initial_data=too_large),
        lambda: store.create_execution("order", metadata={"a": too_large}),
        lambda: store.update_execution_metadata("e", {"a": too_large}),
        lambda: store.set_execution_status("e", "completed", result=too_large),
        lambda: store.update_node_result("e", "a", {"success": True, "data": too_large}),
        lambda: store.update_node_result("e", "a", OK, input=too_large),
        lambda: store.complete_node("e", "a", OK, execution_result=too_large),
        lambda: store.complete_node("e", "a", {"success": False}, dead_letter=NewDeadLetter(job_data=too_large)),
        lambda: store.cache_node_result("e", "a", {"success": True, "data": too_large}),
    ]
    for call in calls:
        with pytest.raises(InvalidValueError) as refused:
            await call()
        assert refused.value.reason == "payload_too_large"
        assert "2,097,152" in str(refused.value)
    assert await load_execution(store, "e") == held
    assert await store.get_execution_count() == 1
    assert await store.get_node_results("e") == {}
    assert await store.list_dead_letters() == []
    assert len(await store.list_audit("e")) == 1
