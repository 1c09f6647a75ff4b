"""What workflows promise in PostgreSQL alone; what every store promises of them is in tests/conformance."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.errors import InvalidValueError
from spane_otel.graph import load_workflow, workflow_text
from spane_otel.stores.postgres import PostgresExecutionStore

ORDER = {
    "id": "order",
    "name": "Order",
    "nodes": [
        {"id": "b", "type": "http", "config": {"retryPolicy": {"continueOnFail": True}}, "inputs": ["a"]},
        {"id": "a", "type": "noop", "outputs": ["b"], "position": {"x": 1.50}},
    ],
    "entryNodeId": "a",
}


@pytest_asyncio.fixture
async def connection(migrated_postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


def variant(number: int) -> dict[str, Any]:
    return {**ORDER, "description": f"no. {number}"}


async def test_a_definition_is_stored_as_it_is_written(connection: Any, store: PostgresExecutionStore) -> None:
    await store.save_workflow({**ORDER, "note": "NUL \0, half \ud800, 2^53+1 = ", "big": 2**53 + 1, "float": 1.0})
    (text,) = await connection.fetchrow("SELECT definition::text FROM spane.workflow_versions")
    held = await store.get_workflow("order")
    assert held is not None
    assert held.extra == {"note": "NUL \0, half \ud800, 2^53+1 = ", "big": 2**53 + 1, "float": 1.0}
    assert workflow_text(held) == text
    assert json.loads(text)["nodes"][1]["position"] == {"x": 1.5}


async def test_each_version_has_its_nodes_with_what_completion_needs(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await store.save_workflow(ORDER)
    await store.save_workflow({**ORDER, "nodes": [{"id": "a", "type": "t"}]})
    rows = await connection.fetch(
        "SELECT version, node_id, type, continue_on_fail FROM spane.workflow_nodes ORDER BY version, node_id"
    )
    assert [tuple(row) for row in rows] == [
        (1, "a", "noop", False),
        (1, "b", "http", True),
        (2, "a", "t", False),
    ]


async def test_many_who_save_at_once_get_numbers_without_a_gap(migrated_postgres_url: str) -> None:
    async with (
        PostgresExecutionStore(migrated_postgres_url) as one,
        PostgresExecutionStore(migrated_postgres_url) as two,
    ):
        numbers = await asyncio.gather(*(store.save_workflow(variant(n)) for n in range(20) for store in (one, two)))
        assert set(numbers) <= set(range(1, 41))
        assert len(numbers[::2]) == 20
        versions = await two.list_workflow_versions("order")
    assert [version.version for version in versions] == list(range(1, len(versions) + 1))
    assert 20 <= len(versions) <= 40
    assert all(one.content_hash != other.content_hash for one, other in pairwise(versions))


async def test_many_who_save_the_same_at_once_make_one_version(migrated_postgres_url: str) -> None:
    async with (
        PostgresExecutionStore(migrated_postgres_url) as one,
        PostgresExecutionStore(migrated_postgres_url) as two,
    ):
        assert set(await asyncio.gather(*(store.save_workflow(ORDER) for store in [one, two] * 10))) == {1}


async def test_a_version_that_an_execution_ran_can_not_be_deleted(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await store.save_workflow(ORDER)
    await store.save_workflow(variant(2))
    await store.create_execution("order", execution_id="e")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await connection.execute("DELETE FROM spane.workflow_versions WHERE version = 2")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await connection.execute("DELETE FROM spane.workflows")
    assert await connection.execute("DELETE FROM spane.workflow_versions WHERE version = 1") == "DELETE 1"
    await store.delete_execution("e")
    assert await connection.execute("DELETE FROM spane.workflow_versions WHERE version = 2") == "DELETE 1"


async def test_what_one_process_saves_the_other_reads_at_once(migrated_postgres_url: str) -> None:
    async with (
        PostgresExecutionStore(migrated_postgres_url) as one,
        PostgresExecutionStore(migrated_postgres_url) as two,
    ):
        for number in range(1, 6):
            assert await one.save_workflow(variant(number)) == number
            held = await two.get_workflow("order")
            assert held is not None
            assert (held.version, held.description) == (number, f"no. {number}")
            execution = await two.get_execution(await two.create_execution("order"))
            assert execution is not None
            assert execution.workflow_version == number


async def test_what_no_column_holds_is_refused_or_mended_before_anything_is_written(
    store: PostgresExecutionStore,
) -> None:
    for bad in (
        {**ORDER, "id": "a\0"},
        {**ORDER, "id": "x" * 257},
        {**ORDER, "nodes": [{"id": "\ud800", "type": "t"}]},
    ):
        with pytest.raises(InvalidValueError):
            await store.save_workflow(bad)
    with pytest.raises(InvalidValueError) as raised:
        await store.save_workflow({**ORDER, "blob": "x" * 2_097_152})
    assert raised.value.reason == "payload_too_large"
    assert await store.get_workflow_count(active_only=False) == 0
    strange = {**ORDER, "name": "a\0b", "description": "\ud800", "nodes": [{"id": "a", "type": "\0"}]}
    assert await store.save_workflow(strange, change_notes="\0", created_by="\ud800") == 1
    held = await store.get_workflow("order")
    assert held is not None
    assert (held.name, held.description, held.nodes[0].type) == ("a\0b", "\ud800", "\0")
    (listed,) = await store.list_workflows()
    assert (listed.name, listed.description) == ("a\0b", "\ud800")
    (version,) = await store.list_workflow_versions("order")
    assert (version.change_notes, version.created_by) == ("\ufffd", "\ufffd")


async def test_ids_that_no_database_holds_are_unknown(store: PostgresExecutionStore) -> None:
    await store.save_workflow(ORDER)
    assert await store.get_workflow("\0") is None
    assert await store.get_workflow_version("\ud800") is None
    assert await store.list_workflow_versions("\0") == []
    for version in (0, -1, 2, 2**31, 2**70):
        assert await store.get_workflow("order", version) is None
        assert await store.get_workflow_version_id("order", version) is None


def test_the_definition_of_these_tests_is_a_workflow() -> None:
    assert [node.id for node in load_workflow(ORDER).nodes] == ["b", "a"]
