"""Node results on a real server: completion under concurrency, large payloads, repeated calls, what is locked."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.errors import ExecutionExistsError, InvalidValueError, LeaseLostError, UnknownExecutionError
from spane_otel.jsontext import PAYLOAD_INLINE_BYTES, PAYLOAD_MAX_BYTES
from spane_otel.state import ExecutionResult, Lease, NewDeadLetter
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.rows import batch, root

WRITERS = 64
ROUNDS = 200


def workflow(*node_ids: str, tolerant: tuple[str, ...] = ()) -> dict[str, Any]:
    nodes = [{"id": each, "type": "t", "config": {"continueOnFail": each in tolerant}} for each in node_ids]
    return {"id": "w", "nodes": nodes}


@pytest_asyncio.fixture
async def connection(migrated_postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


@pytest_asyncio.fixture
async def stores(migrated_postgres_url: str) -> AsyncIterator[list[PostgresExecutionStore]]:
    """Four stores, as in four processes: each with its own groups and connections."""
    stores = [PostgresExecutionStore(migrated_postgres_url) for _ in range(4)]
    yield stores
    for each in stores:
        await each.aclose()


async def test_64_writers_finish_the_last_nodes_of_an_execution_and_it_completes_once_200_times(
    stores: list[PostgresExecutionStore], connection: Any
) -> None:
    node_ids = [f"n{number}" for number in range(WRITERS)]
    await stores[0].save_workflow(workflow(*node_ids))
    ids = [await stores[0].create_execution("w") for _ in range(ROUNDS)]

    async def finish(execution_id: str, place: int) -> str:
        store = stores[place % len(stores)]
        return await store.complete_node(execution_id, node_ids[place], {"success": True, "data": place})

    for execution_id in ids:
        statuses = Counter(await asyncio.gather(*(finish(execution_id, place) for place in range(WRITERS))))
        assert set(statuses) <= {"running", "completed"}
        assert statuses["completed"] >= 1
    rows = await connection.fetch(
        """SELECT e.status, e.nodes_done, e.audit_seq, e.ended_ns IS NOT NULL AS has_end,
                  count(*) FILTER (WHERE change = 'status') AS completions,
                  count(*) FILTER (WHERE change = 'node_result') AS results, max(seq) AS last, count(*) AS changes
             FROM spane.executions AS e JOIN spane.state_change_audit USING (execution_id)
            GROUP BY e.execution_id"""
    )
    assert len(rows) == ROUNDS
    assert {tuple(row) for row in rows} == {
        ("completed", WRITERS, WRITERS + 2, True, 1, WRITERS, WRITERS + 2, WRITERS + 2)
    }


async def test_of_two_nodes_that_are_last_at_the_same_time_one_completes(
    stores: list[PostgresExecutionStore],
) -> None:
    await stores[0].save_workflow(workflow("a", "b"))
    for _ in range(50):
        execution_id = await stores[0].create_execution("w")
        statuses = await asyncio.gather(
            stores[0].complete_node(execution_id, "a", {"success": True}),
            stores[1].complete_node(execution_id, "b", {"success": True}),
        )
        assert sorted(statuses) == ["completed", "running"]
        audit = await stores[2].list_audit(execution_id)
        assert [entry.change for entry in audit] == ["created", "node_result", "node_result", "status"]
        assert [entry.seq for entry in audit] == [1, 2, 3, 4]


async def test_writers_of_many_executions_in_any_order_never_wait_in_a_circle(
    stores: list[PostgresExecutionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadlock would be repeated after a second; here an attempt is the only one."""
    attempts = Counter[str]()
    for store in stores:
        run = store._database.run

        async def count(use: Any, operation: Any, run: Any = run) -> Any:
            async def once(session: Any) -> Any:
                attempts[use] += 1
                return await operation(session)

            attempts["runs"] += 1
            return await run(use, once)

        monkeypatch.setattr(store._database, "run", count)
    await stores[0].save_workflow(workflow(*(f"n{number}" for number in range(20))))
    ids = [await stores[0].create_execution("w") for _ in range(20)]

    async def write(place: int) -> None:
        order = ids if place % 2 else ids[::-1]
        store = stores[place % len(stores)]
        await asyncio.gather(*(store.complete_node(each, f"n{place}", {"success": True}) for each in order))

    await asyncio.gather(*(write(place) for place in range(20)))
    assert {each.status for each in await stores[0].list_executions()} == {"completed"}
    assert attempts["write"] + attempts["read"] == attempts["runs"]


async def test_a_version_saved_during_a_run_does_not_disturb_its_completion(store: PostgresExecutionStore) -> None:
    await store.save_workflow(workflow("a", "b"))
    execution_id = await store.create_execution("w")
    assert await store.complete_node(execution_id, "a", {"success": True}) == "running"
    assert await store.save_workflow(workflow("a", "b", "c")) == 2
    assert await store.complete_node(execution_id, "b", {"success": True}) == "completed"
    later = await store.create_execution("w")
    await store.complete_node(later, "a", {"success": True})
    assert await store.complete_node(later, "b", {"success": True}) == "running"
    assert await store.get_pending_node_count(later) == 1


async def test_what_one_process_saves_the_other_pins_at_once(stores: list[PostgresExecutionStore]) -> None:
    for version in range(1, 6):
        assert await stores[0].save_workflow(workflow(*(f"n{number}" for number in range(version)))) == version
        execution = await stores[1].get_execution(await stores[1].create_execution("w"))
        assert execution is not None
        assert execution.workflow_version == version


@pytest.mark.parametrize("value", [0, False, "", [], {}, None, 0.0, "\0", "\ud800", 2**70])
async def test_every_value_comes_back_and_is_told_from_none_at_all(store: PostgresExecutionStore, value: Any) -> None:
    execution_id = await store.create_execution("w")
    await store.update_node_result(execution_id, "given", {"success": True, "data": value}, input=value)
    await store.update_node_result(execution_id, "absent", ExecutionResult(True))
    results = await store.get_node_results(execution_id)
    given, absent = results["given"], results["absent"]
    assert (json.dumps(given.data), given.has_data) == (json.dumps(value), True)
    assert (json.dumps(given.input), given.has_input) == (json.dumps(value), True)
    assert (absent.data, absent.has_data, absent.input, absent.has_input) == (None, False, None, False)


async def test_a_payload_above_64_kib_is_compressed_and_comes_back(
    store: PostgresExecutionStore, connection: Any
) -> None:
    """Kept once in an execution, though its node's output is the next one's input and the execution's result."""
    await store.save_workflow(workflow("a", "b"))
    large = {"text": "x" * PAYLOAD_INLINE_BYTES}
    execution_id = await store.create_execution("w", initial_data=large, metadata={"m": [large]})
    await store.complete_node(execution_id, "a", {"success": True, "data": large}, input=large)
    await store.complete_node(execution_id, "b", {"success": True}, input=large, execution_result=large)
    execution = await store.get_execution(execution_id)
    assert execution is not None
    assert (execution.initial_data, execution.result, execution.metadata) == (large, large, {"m": [large]})
    (attempt,) = await store.list_node_attempts(execution_id, "a")
    assert (attempt.data, attempt.input) == (large, large)
    rows = await connection.fetch("SELECT size_bytes, length(data) AS length FROM spane.execution_payloads")
    assert len(rows) == 2
    assert all(row["size_bytes"] > PAYLOAD_INLINE_BYTES > 50 * row["length"] for row in rows)
    inline = await connection.fetchval("SELECT count(*) FROM spane.node_results WHERE data IS NOT NULL")
    assert inline == 0


async def test_of_a_payload_above_2_mib_nothing_is_written(store: PostgresExecutionStore, connection: Any) -> None:
    execution_id = await store.create_execution("w")
    huge = "x" * PAYLOAD_MAX_BYTES
    with pytest.raises(InvalidValueError) as caught:
        await store.complete_node(execution_id, "a", {"success": True, "data": huge})
    assert caught.value.reason == "payload_too_large"
    with pytest.raises(InvalidValueError):
        await store.create_execution("w", initial_data=huge, execution_id="huge")
    assert await store.get_node_results(execution_id) == {}
    assert [entry.change for entry in await store.list_audit(execution_id)] == ["created"]
    assert await store.get_execution("huge") is None


async def test_a_repeated_call_writes_nothing_but_still_decides(store: PostgresExecutionStore, connection: Any) -> None:
    await store.save_workflow(workflow("a", "b"))
    execution_id = await store.create_execution("w")
    for _ in range(3):
        await store.update_node_result(execution_id, "a", {"success": True, "data": 1})
        await store.update_node_result(execution_id, "b", {"success": True, "data": 1})
    assert [entry.seq for entry in await store.list_audit(execution_id)] == [1, 2, 3]
    for _ in range(3):
        assert await store.complete_node(execution_id, "b", {"success": True, "data": 1}) == "completed"
    assert [entry.change for entry in await store.list_audit(execution_id)][3:] == ["status"]


async def test_one_of_many_calls_that_the_database_refuses_costs_only_itself(
    store: PostgresExecutionStore, connection: Any
) -> None:
    """No value that passes the checks is known to be refused: the test makes the database refuse one."""
    await connection.execute("ALTER TABLE spane.node_results ADD CONSTRAINT of_the_test CHECK (node_id <> 'n3')")
    execution_id = await store.create_execution("w")
    answers = await asyncio.gather(
        *(store.complete_node(execution_id, f"n{number}", {"success": True}) for number in range(8)),
        return_exceptions=True,
    )
    assert [isinstance(answer, InvalidValueError) for answer in answers] == [number == 3 for number in range(8)]
    assert len(await store.get_node_results(execution_id)) == 7


async def test_calls_of_one_commit_are_answered_one_by_one(store: PostgresExecutionStore) -> None:
    await store.save_workflow(workflow("a"))
    mine = await store.create_execution("w", lease=Lease("me"))
    answers = await asyncio.gather(
        store.complete_node(mine, "a", {"success": True}, holder="you"),
        store.complete_node("nowhere", "a", {"success": True}),
        store.complete_node(mine, "b", {"success": True}, holder="me"),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [LeaseLostError, UnknownExecutionError, str]
    assert list(await store.get_node_results(mine)) == ["b"]
    assert await store.complete_node(mine, "a", {"success": True}, holder="me") == "completed"


async def test_a_failure_that_is_not_tolerated_fails_the_execution_and_its_retry_makes_it_run(
    store: PostgresExecutionStore,
) -> None:
    await store.save_workflow(workflow("a", "b", tolerant=("b",)))
    execution_id = await store.create_execution("w", lease=Lease("me"))
    letter = NewDeadLetter(job_id="j", job_data=None)
    await store.complete_node(execution_id, "b", {"success": False, "error": "tolerated"})
    assert await store.complete_node(execution_id, "a", {"success": False, "error": "boom"}, dead_letter=letter) == (
        "failed"
    )
    failed = await store.get_execution(execution_id)
    assert failed is not None
    assert (failed.status, failed.error) == ("failed", "boom")
    (held,) = await store.list_dead_letters(execution_id=execution_id)
    assert (held.node_id, held.job_id, held.job_data, held.has_job_data) == ("a", "j", None, True)
    assert await store.retry_dead_letter(execution_id, held.dead_letter_id)
    assert not await store.retry_dead_letter(execution_id, held.dead_letter_id)
    again = await store.get_execution(execution_id)
    assert again is not None
    assert (again.status, again.error, again.ended_ns) == ("running", None, None)
    assert await store.list_dead_letters() == []
    assert await store.claim_executions(Lease("you")) == [execution_id]
    assert await store.complete_node(execution_id, "a", {"success": True}, attempt=2) == "completed"


async def test_an_execution_is_made_once_whoever_asks_at_the_same_time(
    stores: list[PostgresExecutionStore], connection: Any
) -> None:
    answers = await asyncio.gather(
        *(
            stores[place % 4].create_execution("w", initial_data=place % 2, execution_id=f"e{place // 8}")
            for place in range(160)
        ),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if not isinstance(answer, str)]
    assert all(isinstance(answer, ExecutionExistsError) for answer in refused)
    assert len(refused) == 80
    assert await stores[0].get_execution_count("w") == 20
    assert await connection.fetchval("SELECT count(*) FROM spane.state_change_audit") == 20


async def test_an_execution_that_spans_made_is_adopted_and_counted_where_it_belongs(
    store: PostgresExecutionStore,
) -> None:
    await store.write(batch(root("e", workflow="theirs")))
    assert (await store.get_execution_count("theirs"), await store.get_execution_count("mine")) == (1, 0)
    await store.create_execution("mine", execution_id="e", metadata={"a": 1})
    assert (await store.get_execution_count("theirs"), await store.get_execution_count("mine")) == (0, 1)
    execution = await store.get_execution("e")
    assert execution is not None
    assert (execution.origin, execution.status, execution.metadata) == ("api", "running", {"a": 1})
    assert [entry.change for entry in await store.list_audit("e")] == ["adopted"]
