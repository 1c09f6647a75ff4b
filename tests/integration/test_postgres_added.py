"""Spans and logs that are added by hand, on a real server: under concurrency, other processes and deletions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from spane_otel.errors import SpanExistsError, UnknownExecutionError, UnknownSpanError
from spane_otel.ids import added_span_id, execution_trace_id, span_id_to_hex
from spane_otel.records import Span
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.rows import batch, ns, root, span_id, trace_id


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
async def other(migrated_postgres_url: str) -> AsyncIterator[PostgresExecutionStore]:
    """A store that knows nothing of what `store` wrote, as another process would."""
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        yield store


async def spans_of(store: PostgresExecutionStore, execution_id: str) -> dict[str, Span]:
    trace = await store.get_trace(execution_id)
    assert trace is not None
    return {each.id or each.span_id: each for each in trace.spans}


async def test_an_added_span_and_its_update_are_read_as_a_span(store: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    await store.add_span(execution_id, name="charge", id="s/1", node_id="pay", metadata={"a": 1, "b": "x"})
    await store.update_span(execution_id, "s/1", status="failed", error="declined", metadata={"b": "y", "c": None})
    (found,) = (await spans_of(store, execution_id)).values()
    assert (found.id, found.name, found.node_id, found.state) == ("s/1", "charge", "pay", "failed")
    assert (found.status, found.status_message) == ("error", "declined")
    assert dict(found.attributes) == {"a": 1, "b": "y", "c": None}
    assert found.end_ns is not None
    assert found.trace_id == execution_trace_id(execution_id).hex()
    assert found.span_id == span_id_to_hex(added_span_id(execution_id, "s/1"))


async def test_another_process_updates_what_it_did_not_write(
    store: PostgresExecutionStore, other: PostgresExecutionStore
) -> None:
    execution_id = await store.create_execution("order")
    await store.add_span(execution_id, name="a", id="a", metadata={"n": 0})
    await other.update_span(execution_id, "a", metadata={"other": 1})
    await store.update_span(execution_id, "a", metadata={"own": 1})
    await other.update_span(execution_id, "a", status="completed")
    (found,) = (await spans_of(store, execution_id)).values()
    assert dict(found.attributes) == {"n": 0, "other": 1, "own": 1}
    assert found.state == "completed"


async def test_no_update_of_many_at_once_is_lost(store: PostgresExecutionStore, other: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    await store.add_span(execution_id, name="a", id="a")
    await asyncio.gather(
        *(each.update_span(execution_id, "a", metadata={f"{name}{n}": n}) for n in range(20)
          for name, each in (("s", store), ("o", other)))
    )  # fmt: skip
    (found,) = (await spans_of(store, execution_id)).values()
    assert dict(found.attributes) == {f"{name}{n}": n for n in range(20) for name in "so"}


async def test_updates_of_one_moment_are_made_in_their_order(store: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    await store.add_span(execution_id, name="a", id="a")
    await asyncio.gather(*(store.update_span(execution_id, "a", metadata={"last": n}) for n in range(30)))
    (found,) = (await spans_of(store, execution_id)).values()
    assert dict(found.attributes) == {"last": 29}


async def test_a_span_is_added_once_whoever_tries(store: PostgresExecutionStore, other: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    start = ns(0)
    await asyncio.gather(
        *(each.add_span(execution_id, name="a", id="a", start_ns=start) for each in (store, other) for _ in range(10))
    )
    assert len(await spans_of(store, execution_id)) == 1
    await other.add_span(execution_id, name="a", id="a")  # without a start: the same content
    for changed in ({"name": "b"}, {"name": "a", "status": "failed"}, {"name": "a", "start_ns": start + 1}):
        with pytest.raises(SpanExistsError):
            await other.add_span(execution_id, id="a", **changed)
    assert len(await spans_of(store, execution_id)) == 1


async def test_processes_that_add_one_id_at_the_same_time_add_it_once(
    store: PostgresExecutionStore, other: PostgresExecutionStore
) -> None:
    """Without a start that is given, each would store the span, or the log record, under a time of its own."""
    execution_id = await store.create_execution("order")
    for number in range(20):
        await asyncio.gather(
            *(each.add_span(execution_id, name="a", id=f"{number}") for each in (store, other)),
            *(each.add_log(execution_id, "m", id=f"{number}") for each in (store, other)),
        )
    trace = await store.get_trace(execution_id)
    assert trace is not None
    assert len(trace.spans) == len(await store.get_logs(execution_id)) == 20


async def test_what_was_changed_since_is_still_the_span_that_was_added(
    store: PostgresExecutionStore, other: PostgresExecutionStore
) -> None:
    execution_id = await store.create_execution("order")
    await store.add_span(execution_id, name="a", id="a", metadata={"n": 1})
    await store.update_span(execution_id, "a", status="completed", metadata={"n": 2})
    await other.add_span(execution_id, name="a", id="a", metadata={"n": 1})
    (found,) = (await spans_of(store, execution_id)).values()
    assert (found.state, dict(found.attributes)) == ("completed", {"n": 2})


async def test_a_span_stands_below_a_parent_of_the_sdk(
    store: PostgresExecutionStore, other: PostgresExecutionStore
) -> None:
    await store.write(batch(root("e", trace="t", name="top")))
    parent = span_id_to_hex(span_id("top"))
    await store.add_span("e", name="below", id="below", parent_id=parent)
    await asyncio.gather(
        store.add_span("e", name="leaf", id="leaf", parent_id="below"),
        other.add_span("e", name="leaf 2", id="leaf 2", parent_id="below"),
        store.add_span("e", name="leaf 3", id="leaf 3", parent_id="leaf"),
    )
    found = await spans_of(store, "e")
    assert {each.trace_id for each in found.values()} == {trace_id("t").hex()}
    assert found["below"].parent_span_id == parent
    assert found["leaf"].parent_span_id == found["leaf 2"].parent_span_id == found["below"].span_id
    assert found["leaf 3"].parent_span_id == found["leaf"].span_id


async def test_an_unknown_parent_may_arrive_later(store: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    await store.add_span(execution_id, name="child", id="child", parent_id="parent")
    await store.add_span(execution_id, name="parent", id="parent")
    found = await spans_of(store, execution_id)
    assert found["child"].parent_span_id == found["parent"].span_id
    assert found["child"].trace_id == found["parent"].trace_id


async def test_an_added_span_leaves_a_derived_execution_as_it_is(store: PostgresExecutionStore) -> None:
    top = root("e", trace="t", name="top", end=9)
    await store.write(batch(top))
    before = await store.get_execution("e")
    await store.add_span("e", name="early", id="early", start_ns=ns(-60), status="failed", error="x")
    await store.write(batch(top, root("e", trace="t", name="top", end=10)))
    after = await store.get_execution("e")
    assert before is not None
    assert after is not None
    assert (after.status, after.started_ns, after.ended_ns) == (before.status, before.started_ns, ns(10))
    assert after.trace_ids == (execution_trace_id("e").hex(), trace_id("t").hex())


async def test_unknown_ids_raise(store: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    with pytest.raises(UnknownExecutionError):
        await store.add_span("nowhere", name="a")
    with pytest.raises(UnknownExecutionError):
        await store.add_log("nowhere", "a")
    with pytest.raises(UnknownExecutionError):
        await store.update_span("nowhere", "a", status="completed")
    with pytest.raises(UnknownSpanError):
        await store.update_span(execution_id, "a", status="completed")
    with pytest.raises(UnknownSpanError):
        await store.update_span(execution_id, "a")


async def test_one_bad_call_of_many_fails_alone(store: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    await store.add_span(execution_id, name="a", id="taken")
    calls = [store.add_span(execution_id, name=f"{n}", id=f"{n}") for n in range(5)]
    calls += [store.add_span("nowhere", name="a"), store.add_span(execution_id, name="b", id="taken")]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[:5] == ["0", "1", "2", "3", "4"]
    assert [type(each) for each in answers[5:]] == [UnknownExecutionError, SpanExistsError]


async def test_a_deleted_execution_is_forgotten(store: PostgresExecutionStore, connection: Any) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="a", id="a")
    await store.add_log("e", "a", id="l")
    assert await store.delete_execution("e")
    assert await connection.fetchval("SELECT count(*) FROM spane.execution_spans") == 0
    assert await connection.fetchval("SELECT count(*) FROM spane.execution_logs") == 0
    with pytest.raises(UnknownExecutionError):
        await store.update_span("e", "a", status="completed")
    await store.create_execution("order", execution_id="e")
    with pytest.raises(UnknownSpanError):
        await store.update_span("e", "a", status="completed")
    await store.add_span("e", name="b", id="a")
    assert [each.name for each in (await spans_of(store, "e")).values()] == ["b"]


async def test_nothing_is_added_to_an_execution_while_it_is_deleted(
    store: PostgresExecutionStore, other: PostgresExecutionStore, connection: Any
) -> None:
    for round_ in range(10):
        await store.create_execution("order", execution_id=f"e{round_}")
        adding = [
            call
            for n in range(8)
            for call in (
                store.add_span(f"e{round_}", name=f"{n}"),
                store.add_log(f"e{round_}", "m"),
            )
        ]
        answers = await asyncio.gather(*adding, other.delete_execution(f"e{round_}"), return_exceptions=True)
        assert answers[-1] is True
        assert all(isinstance(each, str | UnknownExecutionError) for each in answers[:-1])
    assert await connection.fetchval("SELECT count(*) FROM spane.execution_spans") == 0
    assert await connection.fetchval("SELECT count(*) FROM spane.execution_logs") == 0
    assert await connection.fetchval("SELECT count(*) FROM spane.execution_traces") == 0


async def test_logs_are_kept_once_and_stand_beside_their_span(
    store: PostgresExecutionStore, other: PostgresExecutionStore
) -> None:
    await store.write(batch(root("e", trace="t", name="top")))
    parent = span_id_to_hex(span_id("top"))
    await store.add_span("e", name="below", id="below", parent_id=parent)
    await store.add_log("e", "one", id="1", span_id=parent, level="warn", metadata={"k": 2.5})
    await other.add_log("e", "two", id="2", span_id="below", node_id="n")
    await store.add_log("e", "three", id="3")
    await store.add_log("e", "four", id="4", span_id="not yet")
    for each in (store, other):
        for number in "1234":
            assert await each.add_log("e", "again", id=number) == number
    logs = await store.get_logs("e")
    assert [log.message for log in logs] == ["one", "two", "three", "four"]
    one, two, three, four = logs
    assert (one.trace_id, one.span_id, one.level, dict(one.attributes)) == (
        trace_id("t").hex(),
        parent,
        "warn",
        {"k": 2.5},
    )
    assert (two.trace_id, two.span_id, two.node_id) == (
        trace_id("t").hex(),
        span_id_to_hex(added_span_id("e", "below")),
        "n",
    )
    assert (three.trace_id, three.span_id) == (None, None)
    assert (four.trace_id, four.span_id) == (
        execution_trace_id("e").hex(),
        span_id_to_hex(added_span_id("e", "not yet")),
    )


async def test_a_cancelled_caller_cancels_nobody_else(store: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    calls = [asyncio.create_task(store.add_span(execution_id, name=f"{n}", id=f"{n}")) for n in range(20)]
    await asyncio.sleep(0)
    calls[3].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[3], asyncio.CancelledError)
    assert [each for n, each in enumerate(answers) if n != 3] == [f"{n}" for n in range(20) if n != 3]
    assert set(await spans_of(store, execution_id)) >= {f"{n}" for n in range(20) if n != 3}


async def test_a_weak_server_commits_before_it_answers(migrated_postgres_url: str, connection: Any) -> None:
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    async with PostgresExecutionStore(migrated_postgres_url) as store:
        execution_id = await store.create_execution("order")
        await connection.execute(
            "CREATE FUNCTION spane.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF current_setting('synchronous_commit') <> 'on' THEN RAISE EXCEPTION 'weak'; END IF; RETURN NEW; END $$"
        )
        for table in ("execution_spans", "execution_logs"):
            await connection.execute(
                f"CREATE TRIGGER note BEFORE INSERT OR UPDATE ON spane.{table} FOR EACH ROW "
                "EXECUTE FUNCTION spane.note()"
            )
        await store.add_span(execution_id, name="a", id="a")
        await store.update_span(execution_id, "a", status="completed")
        await store.add_log(execution_id, "a")


async def test_changes_are_told(store: PostgresExecutionStore) -> None:
    execution_id = await store.create_execution("order")
    cursor, _ = await store.poll_changes()
    trace = execution_trace_id(execution_id).hex()
    await store.add_span(execution_id, name="a", id="a")
    cursor, changes = await store.poll_changes(cursor)
    assert [(each.kind, each.execution_id, each.trace_id) for each in changes] == [("spans", execution_id, trace)]
    await store.update_span(execution_id, "a", status="completed")
    cursor, changes = await store.poll_changes(cursor)
    assert [(each.kind, each.execution_id, each.trace_id) for each in changes] == [("spans", execution_id, trace)]
    await store.add_log(execution_id, "a", id="l")
    cursor, changes = await store.poll_changes(cursor)
    assert [(each.kind, each.execution_id, each.trace_id) for each in changes] == [("logs", execution_id, None)]
    await store.add_log(execution_id, "a", id="l")
    await store.add_span(execution_id, name="a", id="a")
    _, changes = await store.poll_changes(cursor)
    assert not changes


async def test_callers_who_share_a_read_get_what_each_asked_for(store: PostgresExecutionStore) -> None:
    await store.write(batch(root("e", trace="t", name="top"), root("f", trace="t", name="sub", parent="top")))
    for number in range(5):
        await store.create_execution("order", execution_id=f"x{number}")
        for each in range(number):
            await store.add_span(f"x{number}", name=f"{each}", start_ns=ns(each))
    asked = ["e", "f", "nowhere", *(f"x{number}" for number in range(5))]
    alone = [await store.get_trace(each) for each in asked]
    together = await asyncio.gather(*(store.get_trace(each) for each in (*asked, *asked)))
    assert together == [*alone, *alone]
    assert [len(each.spans) if each is not None else None for each in alone] == [2, 1, None, 0, 1, 2, 3, 4]
    last, same = together[len(asked) - 1], together[-1]
    assert last is not None
    assert same is not None
    last.spans.clear()
    assert len(same.spans) == 4
