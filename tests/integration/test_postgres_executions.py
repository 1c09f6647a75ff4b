"""What executions promise in PostgreSQL alone; what every store promises of them is in tests/conformance."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.clock import SECOND, ManualClock
from spane_otel.errors import InvalidTransitionError, InvalidValueError, UnknownExecutionError
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.rows import BASE_NS, batch, root, span

LARGE = "x" * 100_000


@pytest_asyncio.fixture
async def connection(migrated_postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(migrated_postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(BASE_NS + 3_600 * SECOND)


@pytest_asyncio.fixture
async def store(migrated_postgres_url: str, clock: ManualClock) -> AsyncIterator[PostgresExecutionStore]:
    async with PostgresExecutionStore(migrated_postgres_url, clock=clock, actor="tester") as store:
        yield store


async def read_audit(connection: Any, execution_id: str) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        "SELECT change, old_value, new_value, detail, actor FROM spane.state_change_audit"
        " WHERE execution_id = $1 AND change <> 'created' ORDER BY seq",
        execution_id,
    )
    return [tuple(row) for row in rows]


async def count_payloads(connection: Any) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM spane.execution_payloads"))


async def test_a_change_of_status_is_audited_in_its_transaction(connection: Any, store: PostgresExecutionStore) -> None:
    await store.create_execution("order", execution_id="e")
    assert await store.set_execution_status("e", "paused")
    assert not await store.set_execution_status("e", "paused")
    assert await store.set_execution_status("e", "failed", error="no\0 stock", result={"left": 0})
    with pytest.raises(InvalidTransitionError):
        await store.set_execution_status("e", "completed")
    assert await read_audit(connection, "e") == [
        ("status", "running", "paused", None, "tester"),
        ("status", "paused", "failed", "no\ufffd stock", "tester"),
    ]
    seqs = await connection.fetch("SELECT seq FROM spane.state_change_audit ORDER BY seq")
    assert [row["seq"] for row in seqs] == list(range(1, len(seqs) + 1))
    held = await store.get_execution("e")
    assert held is not None
    assert (held.status, held.error, held.result) == ("failed", "no\ufffd stock", {"left": 0})


async def test_an_operation_that_was_done_is_not_done_again(connection: Any, store: PostgresExecutionStore) -> None:
    """The first answer was lost, and somebody resumed the execution before the call was repeated."""
    await store.create_execution("order", execution_id="e")
    assert await store.set_execution_status("e", "paused", operation="pause 1")
    assert await store.set_execution_status("e", "running")
    assert await store.set_execution_status("e", "paused", operation="pause 1")
    held = await store.get_execution("e")
    assert held is not None
    assert held.status == "running"
    assert await store.set_execution_status("e", "paused", operation="pause 2")
    assert len(await read_audit(connection, "e")) == 3


async def test_of_many_who_end_an_execution_one_does(store: PostgresExecutionStore, connection: Any) -> None:
    await store.create_execution("order", execution_id="e")
    wanted = ["completed", "failed", "cancelled"] * 5
    outcomes = await asyncio.gather(
        *(store.set_execution_status("e", status) for status in wanted),  # type: ignore[arg-type]  # a list of str
        return_exceptions=True,
    )
    assert outcomes.count(True) == 1
    winner = wanted[outcomes.index(True)]
    for status, outcome in zip(wanted, outcomes, strict=True):
        assert outcome in (True, False) if status == winner else isinstance(outcome, InvalidTransitionError)
    assert [row[:3] for row in await read_audit(connection, "e")] == [("status", "running", winner)]


async def test_an_execution_made_from_spans_becomes_the_callers_with_its_first_change(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await store.write(batch(root("e", end=None)))
    assert await store.set_execution_status("e", "cancelled")
    await store.write(batch(root("e", end=5)))
    held = await store.get_execution("e")
    assert held is not None
    assert (held.origin, held.status) == ("api", "cancelled")
    assert [row[:3] for row in await read_audit(connection, "e")] == [
        ("adopted", "running", "running"),
        ("status", "running", "cancelled"),
    ]


async def test_a_large_result_and_large_metadata_are_kept_apart_and_read_whole(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": 1, "b": 2})
    await store.update_execution_metadata("e", {"b": LARGE, "c": None})
    await store.set_execution_status("e", "completed", result=[LARGE, 1])
    assert await connection.fetchval("SELECT result IS NULL AND result_payload IS NOT NULL FROM spane.executions")
    assert await count_payloads(connection) == 2
    expected = ({"a": 1, "b": LARGE, "c": None}, [LARGE, 1])
    held = await store.get_execution("e")
    assert held is not None
    assert (held.metadata, held.result) == expected
    (listed,) = await store.list_executions()
    assert (listed.metadata, listed.result) == expected


async def test_a_payload_that_nobody_points_to_any_more_is_deleted(
    connection: Any, store: PostgresExecutionStore
) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_execution_metadata("e", {"a": LARGE})
    await store.update_execution_metadata("e", {"a": LARGE + "y"})
    assert await count_payloads(connection) == 1
    await store.update_execution_metadata("e", {"a": 1})
    assert await count_payloads(connection) == 0
    held = await store.get_execution("e")
    assert held is not None
    assert held.metadata == {"a": 1}


async def test_a_payload_that_another_column_points_to_stays(connection: Any, store: PostgresExecutionStore) -> None:
    await store.create_execution("order", execution_id="e")
    await store.set_execution_status("e", "completed", result={"a": LARGE})
    await store.update_execution_metadata("e", {"a": LARGE})
    assert await count_payloads(connection) == 1
    await store.update_execution_metadata("e", {"a": 0})
    assert await count_payloads(connection) == 1
    held = await store.get_execution("e")
    assert held is not None
    assert held.result == {"a": LARGE}


async def test_metadata_that_does_not_change_leaves_no_trace(connection: Any, store: PostgresExecutionStore) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": [1, {"b": 0}]})
    cursor, _ = await store.poll_changes()
    await store.update_execution_metadata("e", {"a": [1, {"b": 0}]})
    await store.update_execution_metadata("e", {})
    assert (await store.poll_changes(cursor))[1] == []
    assert await read_audit(connection, "e") == []
    await store.update_execution_metadata("e", {"a": [1, {"b": False}]})
    assert [row[0] for row in await read_audit(connection, "e")] == ["metadata"]
    assert len((await store.poll_changes(cursor))[1]) == 1


async def test_many_who_merge_metadata_at_once_lose_nothing(store: PostgresExecutionStore) -> None:
    await store.create_execution("order", execution_id="e")
    await asyncio.gather(*(store.update_execution_metadata("e", {f"k{n}": n}) for n in range(40)))
    held = await store.get_execution("e")
    assert held is not None
    assert held.metadata == {f"k{n}": n for n in range(40)}


async def test_merged_metadata_that_grew_too_large_is_refused_and_nothing_changes(
    store: PostgresExecutionStore,
) -> None:
    await store.create_execution("order", execution_id="e", metadata={"a": "x" * 1_200_000})
    with pytest.raises(InvalidValueError) as raised:
        await store.update_execution_metadata("e", {"b": "y" * 1_200_000})
    assert raised.value.reason == "payload_too_large"
    held = await store.get_execution("e")
    assert held is not None
    assert set(held.metadata) == {"a"}


async def test_deleting_an_execution_leaves_nothing_behind(connection: Any, store: PostgresExecutionStore) -> None:
    await store.save_workflow({"id": "order", "nodes": [{"id": "a", "type": "t"}]})
    for execution_id in ("e", "stays"):
        await store.create_execution("order", execution_id=execution_id, metadata={"a": LARGE})
        await store.set_execution_status(execution_id, "completed", result=LARGE)
        await store.write(batch(span(f"span of {execution_id}", trace=execution_id, execution=execution_id)))
    tables = [
        row["table_name"]
        for row in await connection.fetch(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'spane' AND column_name = 'execution_id'"
        )
    ]
    assert {"executions", "execution_payloads", "state_change_audit", "execution_leases", "dead_letters"} < set(tables)
    assert await store.delete_execution("e")
    assert not await store.delete_execution("e")
    for table in set(tables) - {"changes"}:
        assert await connection.fetchval(f"SELECT count(*) FROM spane.{table} WHERE execution_id = 'e'") == 0, table
    held = await store.get_execution("stays")
    assert held is not None
    assert held.metadata == {"a": LARGE}
    assert await store.get_execution_count() == 1


async def count_by_hand(connection: Any) -> dict[str | None, int]:
    rows = await connection.fetch("SELECT workflow_id, count(*) AS count FROM spane.executions GROUP BY 1")
    return {row["workflow_id"]: row["count"] for row in rows}


async def test_counts_are_what_counting_finds(connection: Any, store: PostgresExecutionStore) -> None:
    await asyncio.gather(*(store.create_execution("order", execution_id=f"a{n}") for n in range(10)))
    await asyncio.gather(
        *(store.write(batch(root(f"s{n}"), span(f"linked {n}", trace=f"l{n}", execution=f"l{n}"))) for n in range(10))
    )
    await store.write(batch(root("l0", workflow="late", start=1)))
    await store.write(batch(root("s1", workflow="other", name="second", start=50)))
    await store.create_execution("taken", execution_id="s2")
    await store.create_execution("taken", execution_id="l3")
    await store.write(batch(root("a1", workflow="ignored")))
    await asyncio.gather(*(store.delete_execution(each) for each in ("a0", "s3", "l4", "nobody")))
    by_hand = await count_by_hand(connection)
    assert by_hand == {"order": 9 + 7, None: 7, "late": 1, "other": 1, "taken": 2}
    for workflow_id, count in by_hand.items():
        if workflow_id is not None:
            assert await store.get_execution_count(workflow_id) == count, workflow_id
    assert await store.get_execution_count() == sum(by_hand.values())
    assert await store.get_execution_count("ignored") == 0
    assert await store.get_execution_count("") == 0


async def test_what_is_written_many_times_counts_once(connection: Any, migrated_postgres_url: str) -> None:
    """By writers that know nothing of each other."""
    rows = batch(*(root(f"e{n}", workflow=f"w{n % 3}") for n in range(9)))
    async with (
        PostgresExecutionStore(migrated_postgres_url) as one,
        PostgresExecutionStore(migrated_postgres_url) as two,
    ):
        await asyncio.gather(*(store.write(rows) for store in (one, two) for _ in range(5)))
        assert [await one.get_execution_count(f"w{n}") for n in range(3)] == [3, 3, 3]
        assert await two.get_execution_count() == 9
    assert sum((await count_by_hand(connection)).values()) == 9


async def test_sweepers_at_the_same_time_fail_each_execution_once(
    connection: Any, store: PostgresExecutionStore, clock: ManualClock
) -> None:
    ids = [f"e{n}" for n in range(30)]
    for execution_id in ids:
        await store.create_execution("order", execution_id=execution_id)
        await store.set_execution_timeout(execution_id, clock.now_ns() + SECOND)
    await store.set_execution_status("e0", "completed")
    await store.set_execution_status("e1", "paused")
    await store.set_execution_timeout("e2", None)
    assert await store.sweep_timeouts() == []
    clock.advance(1)
    swept = await asyncio.gather(*(store.sweep_timeouts(limit=7) for _ in range(6)))
    while more := await store.sweep_timeouts(limit=7):
        swept.append(more)
    assert sorted(each for part in swept for each in part) == sorted(set(ids) - {"e0", "e2"})
    held = await store.get_execution("e1")
    assert held is not None
    assert (held.status, held.error, held.ended_ns) == ("failed", "timeout", clock.now_ns())
    assert await read_audit(connection, "e3") == [
        ("timeout", None, None, None, "tester"),
        ("status", "running", "failed", "timeout", "tester"),
    ]
    assert (await read_audit(connection, "e1"))[-1] == ("status", "paused", "failed", "timeout", "tester")


async def test_a_sweeper_does_not_wait_for_an_execution_that_is_being_changed(
    connection: Any, store: PostgresExecutionStore, clock: ManualClock
) -> None:
    for execution_id in ("busy", "idle"):
        await store.create_execution("order", execution_id=execution_id)
        await store.set_execution_timeout(execution_id, clock.now_ns())
    async with connection.transaction():
        await connection.execute("SELECT FROM spane.executions WHERE execution_id = 'busy' FOR NO KEY UPDATE")
        assert await asyncio.wait_for(store.sweep_timeouts(), 5) == ["idle"]
    assert await store.sweep_timeouts() == ["busy"]


async def test_an_execution_of_spans_that_timed_out_stays_failed(
    connection: Any, store: PostgresExecutionStore, clock: ManualClock
) -> None:
    await store.write(batch(root("e", end=None)))
    await store.set_execution_timeout("e", clock.now_ns())
    held = await store.get_execution("e")
    assert held is not None
    assert (held.origin, held.timeout_ns) == ("spans", clock.now_ns())
    assert await store.sweep_timeouts() == ["e"]
    await store.write(batch(root("e", end=9)))
    held = await store.get_execution("e")
    assert held is not None
    assert (held.origin, held.status, held.error) == ("api", "failed", "timeout")
    assert [row[0] for row in await read_audit(connection, "e")] == ["adopted", "status"]


async def test_a_family_whose_root_no_row_names_is_followed_up(connection: Any, store: PostgresExecutionStore) -> None:
    for name, parent in (("c", "b"), ("b", "a"), ("a", None)):  # the root is made last
        await store.create_execution("w", parent, {"c": 2, "b": 1}.get(name, 0), execution_id=name)
    await connection.execute("UPDATE spane.executions SET root_execution_id = NULL")
    family = await store.get_execution_family("c")
    assert (family.root, family.parent) == (await store.get_execution("a"), await store.get_execution("b"))
    await connection.execute("UPDATE spane.executions SET parent_execution_id = 'c' WHERE execution_id = 'a'")
    assert (await asyncio.wait_for(store.get_execution_family("c"), 5)).root is None
    await store.delete_execution("b")
    family = await store.get_execution_family("c")
    assert (family.root, family.parent) == (None, None)


async def test_stuck_executions_are_those_whose_state_stands_still(
    store: PostgresExecutionStore, clock: ManualClock
) -> None:
    for execution_id in ("quiet", "noted", "paused", "done"):
        await store.create_execution("order", execution_id=execution_id)
        clock.advance(1)
    await store.set_execution_status("paused", "paused")
    await store.set_execution_status("done", "completed")
    clock.advance(60)
    await store.update_execution_metadata("noted", {"step": 2})
    clock.advance(30)
    assert [each.execution_id for each in await store.list_stuck_executions(30 * SECOND)] == ["quiet", "noted"]
    assert [each.execution_id for each in await store.list_stuck_executions(31 * SECOND)] == ["quiet"]
    assert [each.execution_id for each in await store.list_long_running_executions(90 * SECOND)] == [
        "quiet",
        "noted",
        "paused",
    ]
    assert [each.execution_id for each in await store.list_long_running_executions(93 * SECOND, limit=1)] == ["quiet"]
    assert await store.list_stuck_executions(0, workflow_id="other") == []
    assert await store.list_long_running_executions(0, workflow_id="other") == []
    assert await store.list_long_running_executions(10**30) == []


async def test_writers_of_what_is_not_there_say_so(store: PostgresExecutionStore) -> None:
    for call in (
        store.set_execution_status("nobody", "paused"),
        store.update_execution_metadata("nobody", {}),
        store.set_execution_timeout("nobody", 1),
        store.set_execution_status("\0", "paused"),
        store.update_execution_metadata("\ud800", {}),
        store.set_execution_timeout("\0", None),
    ):
        with pytest.raises(UnknownExecutionError):
            await call


async def test_metadata_is_stored_as_it_is_written(connection: Any, store: PostgresExecutionStore) -> None:
    await store.create_execution("order", execution_id="e")
    given: dict[str, Any] = {
        "zero": 0,
        "no": False,
        "null": None,
        "": "",
        "list": [],
        "big": 2**70,
        "half": "\ud800\0",
        "f": 1.0,
    }
    await store.update_execution_metadata("e", given)
    text = await connection.fetchval("SELECT metadata::text FROM spane.execution_metadata")
    assert json.dumps(json.loads(text)) == json.dumps(given)
    held = await store.get_execution("e")
    assert held is not None
    assert json.dumps(held.metadata) == json.dumps(given)
