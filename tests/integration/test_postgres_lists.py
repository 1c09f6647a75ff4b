"""How lists of executions are read: a page is chosen by an index alone, whatever is asked and however far off it is."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest_asyncio

from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.postgres.database import Session

EXECUTIONS = 5_000

FILL = f"""
INSERT INTO spane.executions (execution_id, started_ns, depth, origin, status, workflow_id, process_id)
SELECT 'e' || n, n * 1000, 0, 'spans',
       (ARRAY['completed', 'completed', 'completed', 'failed', 'running'])[1 + n % 5], 'w' || n % 3, 'p' || n % 7
  FROM generate_series(1, {EXECUTIONS}) AS n
"""
KEEP = """
INSERT INTO spane.processes (process_id, last_seen_at)
SELECT 'p' || n, now() - CASE WHEN n = 0 THEN interval '1 hour' ELSE interval '0' END FROM generate_series(0, 6) AS n
"""

CHOICES: dict[str, tuple[dict[str, Any], str]] = {
    "all": ({}, "executions_started"),
    "of a workflow": ({"workflow_id": "w1"}, "executions_workflow"),
    "of a status": ({"status": "failed"}, "executions_status"),
    "running": ({"status": "running", "is_alive": True}, "executions_status"),
    "of a workflow and a status": ({"workflow_id": "w1", "status": "failed"}, "executions_workflow_status"),
    "of a workflow, running": (
        {"workflow_id": "w1", "status": "running", "is_alive": True},
        "executions_workflow_status",
    ),
    "of a time": ({"since": 1_000_000, "until": 4_000_000}, "executions_started"),
    "of a workflow, a status and a time": (
        {"workflow_id": "w1", "status": "completed", "since": 1_000_000, "until": 4_000_000},
        "executions_workflow_status",
    ),
}
"""By what is asked: the parameters of `list_executions`, and the index that has to do."""
PAGES: dict[str, dict[str, Any]] = {
    "the first page": {},
    "a page after a key": {"before_ns": 2_500_000, "before_id": "e2500"},
    "a page far off": {"offset": 1_000},
}


@pytest_asyncio.fixture
async def store(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    connection = await asyncpg.connect(migrated_postgres_url)
    try:
        await connection.execute(FILL)
        await connection.execute(KEEP)
        await connection.execute("VACUUM ANALYZE spane.executions, spane.processes")
    finally:
        await connection.close()
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


async def explain(store: PostgresExecutionStore, choice: dict[str, Any]) -> dict[str, Any]:
    """Return the plan for such a page."""
    values = {"newest_first": True, "limit": 101, "offset": 0, "stale_seconds": 45.0, **choice}

    async def run(session: Session) -> str:
        text, arguments = store._database.statements["list_executions"].bind(values)
        plan: str = await session._connection.fetchval(f"EXPLAIN (FORMAT JSON) {text}", *arguments)
        return plan

    plan: dict[str, Any] = json.loads(await store._database.run("read", run))[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def test_a_page_is_chosen_by_an_index_alone_and_nothing_is_sorted(store: PostgresExecutionStore) -> None:
    for asked, (choice, index) in CHOICES.items():
        for page, place in PAGES.items():
            plan = await explain(store, {**choice, **place})
            (limit,) = [each for each in nodes(plan) if each["Node Type"] == "Limit"]
            chosen = list(nodes(limit))
            scans = [
                (each["Node Type"], each["Index Name"]) for each in chosen if each.get("Relation Name") == "executions"
            ]
            assert scans == [("Index Only Scan", index)], (asked, page)
            assert not any("Sort" in each["Node Type"] for each in chosen), (asked, page)
            assert not any("Gather" in each["Node Type"] for each in nodes(plan)), (asked, page)


async def test_what_a_page_needs_beside_its_keys_is_read_for_that_page(store: PostgresExecutionStore) -> None:
    plan = await explain(store, {"offset": 1_000})
    (limit,) = [each for each in nodes(plan) if each["Node Type"] == "Limit"]
    assert {each.get("Relation Name") for each in nodes(limit)} == {None, "executions"}
    assert {each.get("Relation Name") for each in nodes(plan)} > {
        *("executions", "execution_metadata", "execution_traces", "execution_payloads", "processes")
    }


async def test_the_oldest_that_run_are_found_by_an_index(store: PostgresExecutionStore) -> None:
    choice = {"newest_first": None, "oldest_first": True, "status": "running", "latest_ns": 10**6}
    plan = await explain(store, choice)
    assert any(each.get("Index Name") == "executions_status" for each in nodes(plan))
    assert not any(each["Node Type"] == "Seq Scan" for each in nodes(plan))


async def test_pages_by_key_and_pages_by_offset_are_the_same(store: PostgresExecutionStore) -> None:
    """For each filter, and each execution once."""
    for choice in (
        {},
        {"workflow_id": "w2"},
        {"status": "failed"},
        {"status": "running"},
        {"status": "abandoned"},
        {"workflow_id": "w1", "status": "running"},
        {"workflow_id": "w0", "status": "abandoned", "since": 10**6, "until": 4 * 10**6},
        {"workflow_id": "nobody"},
    ):
        by_key: list[str] = []
        cursor = None
        while True:
            page = await store.list_executions(limit=333, cursor=cursor, **choice)
            by_key += [each.execution_id for each in page]
            cursor = page.next
            if cursor is None:
                break
        by_offset = [
            each.execution_id
            for offset in range(0, EXECUTIONS + 500, 500)
            for each in await store.list_executions(limit=500, offset=offset, **choice)
        ]
        assert by_key == by_offset, choice
        assert len(set(by_key)) == len(by_key)
        assert by_key == sorted(by_key, key=lambda each: -int(each[1:]))
    assert await store.list_executions(offset=2**70) == []


async def test_running_and_abandoned_share_those_whose_status_is_running(store: PostgresExecutionStore) -> None:
    running = {each.execution_id for each in await store.list_executions(limit=1_000, status="running")}
    abandoned = {each.execution_id for each in await store.list_executions(limit=1_000, status="abandoned")}
    assert not running & abandoned
    assert running | abandoned == {f"e{n}" for n in range(1, EXECUTIONS + 1) if n % 5 == 4}
    assert abandoned == {f"e{n}" for n in range(1, EXECUTIONS + 1) if n % 5 == 4 and n % 7 == 0}
