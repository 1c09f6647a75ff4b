"""A database read through Redis answers as without it; and it is Redis that answers."""

import inspect
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from spane_otel.clock import SECOND, ManualClock, SystemClock
from spane_otel.errors import ConfigurationError, StoreUnavailableError
from spane_otel.settings import Settings
from spane_otel.state import Lease, NewDeadLetter
from spane_otel.stores.cached.store import SETTLE_SECONDS, CachedStore
from spane_otel.stores.opening import open_store
from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.protocols import Store
from spane_otel.telemetry.destination import destination_of
from tests.redis_servers import RedisProcess, silent_server
from tests.rows import batch, root, span

WORKFLOW = {
    "id": "w",
    "nodes": [{"id": "a", "type": "t", "outputs": ["b"]}, {"id": "b", "type": "t", "inputs": ["a"]}],
}
READERS = {
    "count_telemetry",
    "get_child_executions",
    "get_execution",
    "get_execution_count",
    "get_execution_family",
    "get_logs",
    "get_node_results",
    "get_parent_execution",
    "get_pending_node_count",
    "get_trace",
    "get_trace_by_id",
    "get_workflow",
    "get_workflow_count",
    "get_workflow_version",
    "get_workflow_version_id",
    "list_audit",
    "list_dead_letters",
    "list_executions",
    "list_logs",
    "list_long_running_executions",
    "list_node_attempts",
    "list_stuck_executions",
    "list_traces",
    "list_workflow_versions",
    "list_workflows",
    "ping",
    "poll_changes",
    "read_execution",
    "read_telemetry",
    "read_workflow",
    "stats",
}
HARMLESS = {
    "add_log",  # an execution's record says nothing of its logs
    "deactivate_workflow",
    "save_workflow",  # a new version; those that are there stay
    "set_execution_status",  # of what is over none changes
    "sweep_timeouts",  # fails what runs
    "update_span",
    "write_workflow",  # versions that are there stay
}
"""Writers that change nothing of what may be kept."""


@asynccontextmanager
async def cached(url: str, redis_url: str, **options: Any) -> AsyncIterator[Any]:
    inner = PostgresExecutionStore(url)
    options = {"identify": inner.identify, "settle_seconds": 0, "timeout_seconds": 2, **options}
    async with CachedStore(inner, redis_url, **options) as store:
        yield store


async def finish(store: Any, execution_id: str, status: Literal["completed", "failed"] = "completed") -> str:
    """Make an execution that is over, and have it kept."""
    await store.create_execution("w", execution_id=execution_id, initial_data={"n": 1})
    await store.set_execution_status(execution_id, status, result=[1.0, None])
    assert await store.get_execution(execution_id) is not None
    return execution_id


def hits(store: Any) -> int:
    return int(store._entries.counts["hit"])


@pytest.mark.parametrize("name", [name for name, _ in inspect.getmembers(Store, inspect.isfunction) if name[0] != "_"])
def test_every_method_of_a_store_has_its_place_in_the_cache(name: str) -> None:
    """Of a new writer one must say whether it changes what may be kept."""
    assert (name in READERS) + (name in HARMLESS) + (name in vars(CachedStore) and name not in READERS) == 1


async def test_a_finished_execution_is_read_once(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await finish(store, "e")
        plain = await store.inner.get_execution("e")
        assert await other.get_execution("e") == plain
        assert hits(other) == 1
        await store.inner.delete_execution("e")  # behind the back of the cache, to see who answers
        assert await other.get_execution("e") == plain


async def test_what_is_not_over_is_read_from_the_store(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store:
        await store.create_execution("w", execution_id="e")
        for status in ("paused", "running", "cancelled"):
            assert (await store.get_execution("e")).status != status
            await store.inner.set_execution_status("e", status)
            assert (await store.get_execution("e")).status == status


async def test_an_execution_is_kept_some_time_after_its_end(migrated_postgres_url: str, redis_url: str) -> None:
    """Its last spans come from processes that may know nothing of the cache."""
    clock = ManualClock(SystemClock().now_ns())
    async with cached(migrated_postgres_url, redis_url, settle_seconds=SETTLE_SECONDS, clock=clock) as store:
        await finish(store, "e")
        await store.get_execution("e")
        assert hits(store) == 0
        clock.advance(SETTLE_SECONDS + 1)
        await store.get_execution("e")
        await store.get_execution("e")
        assert hits(store) == 1


async def test_what_one_deletes_the_other_does_not_see(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await finish(store, "e")
        await store.complete_node("e", "a", {"success": True})
        assert set(await other.get_node_results("e", ["a"])) == set(await other.get_node_results("e")) == {"a"}
        assert await store.delete_execution("e")
        assert await other.get_execution("e") is None
        assert await other.get_node_results("e") == await other.get_node_results("e", ["a"]) == {}


async def test_a_reading_begun_before_a_deletion_is_not_kept_after_it(
    migrated_postgres_url: str, redis_url: str
) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await store.create_execution("w", execution_id="e")
        await store.set_execution_status("e", "completed")
        read = other.inner.get_execution

        async def read_slowly(execution_id: str) -> Any:
            execution = await read(execution_id)
            await store.delete_execution(execution_id)
            return execution

        other.inner.get_execution = read_slowly
        assert await other.get_execution("e") is not None  # as it was when it was asked for
        other.inner.get_execution = read
        assert await other.get_execution("e") is None


async def test_a_deletion_that_was_executed_and_raised_is_seen(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await finish(store, "e")
        delete = store.inner.delete_execution

        async def delete_and_raise(execution_id: str) -> None:
            await delete(execution_id)
            raise StoreUnavailableError("the answer was lost")

        store.inner.delete_execution = delete_and_raise
        with pytest.raises(StoreUnavailableError):
            await store.delete_execution("e")
        assert await other.get_execution("e") is None


async def test_a_result_that_was_written_and_raised_is_seen(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await store.create_execution("w", execution_id="e")
        await store.complete_node("e", "a", {"success": True, "data": 1})
        assert (await other.get_node_results("e", ["a"]))["a"].data == 1
        complete = store.inner.complete_node

        async def complete_and_raise(*arguments: Any, **options: Any) -> None:
            await complete(*arguments, **options)
            raise StoreUnavailableError("the answer was lost")

        store.inner.complete_node = complete_and_raise
        with pytest.raises(StoreUnavailableError):
            await store.complete_node("e", "a", {"success": True, "data": 2}, iteration=1)
        assert (await other.get_node_results("e", ["a"]))["a"].data == 2


async def test_a_process_that_dies_in_the_middle_of_a_deletion_leaves_nothing_to_read(
    migrated_postgres_url: str, redis_url: str
) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await finish(store, "e")
        delete = store.inner.delete_execution

        async def delete_and_die(execution_id: str) -> None:
            assert await other.get_execution(execution_id) is not None  # read, and not to be kept
            await delete(execution_id)
            store._entries.forget = die
            raise KeyboardInterrupt

        async def die(*_arguments: Any, **_options: Any) -> None:
            raise KeyboardInterrupt

        store.inner.delete_execution = delete_and_die
        with pytest.raises(KeyboardInterrupt):
            await store.delete_execution("e")
        assert await other.get_execution("e") is None


async def test_a_change_of_what_is_over_is_seen_at_once(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await finish(store, "e")
        await store.update_execution_metadata("e", {"k": 1})
        assert (await other.get_execution("e")).metadata == {"k": 1}
        at_ns = SystemClock().now_ns() + 60 * SECOND
        await store.set_execution_timeout("e", at_ns)
        assert (await other.get_execution("e")).timeout_ns == at_ns
        await store.add_span("e", name="late")
        assert len((await other.get_execution("e")).trace_ids) == 1
        row = span("later", trace="later", execution="e")
        await store.write(batch(row))
        assert row.trace_id.hex() in (await other.get_execution("e")).trace_ids


async def test_an_execution_that_runs_again_is_seen_at_once(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await store.save_workflow(WORKFLOW)
        await store.create_execution("w", execution_id="e")
        await store.complete_node("e", "a", {"success": False, "error": "no"}, dead_letter=NewDeadLetter())
        await store.complete_node("e", "b", {"success": True})
        assert (await other.get_execution("e")).status == "failed"
        assert (await other.get_node_results("e"))["a"].is_final
        (letter,) = await store.list_dead_letters(execution_id="e")
        assert await store.retry_dead_letter("e", letter.dead_letter_id)
        assert (await other.get_execution("e")).status == "running"
        assert not (await other.get_node_results("e", ["a"]))["a"].is_final


async def test_an_execution_that_is_written_anew_is_seen_at_once(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await finish(store, "e")
        archive = await store.read_execution("e")
        assert archive is not None
        await store.update_execution_metadata("e", {"k": 1})
        assert (await other.get_execution("e")).metadata == {"k": 1}
        await store.write_execution(archive)
        assert (await other.get_execution("e")).metadata == {}


async def test_executions_made_from_spans_are_not_kept(migrated_postgres_url: str, redis_url: str) -> None:
    """Their record and their results follow the spans, which may come from anywhere."""
    async with cached(migrated_postgres_url, redis_url) as store:
        await store.write(batch(root("e"), span("a", trace="e", parent="root of e", execution="e", node="a")))
        for _ in range(2):
            assert (await store.get_execution("e")).status == "completed"
            assert set(await store.get_node_results("e")) == set(await store.get_node_results("e", ["a"])) == {"a"}
        assert hits(store) == 0


async def test_final_results_are_kept_while_the_execution_runs(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await store.create_execution("w", execution_id="e")
        await store.cache_node_result("e", "a", {"success": True, "data": [1, 1.0, None]})
        await store.update_node_result("e", "b", {"success": False, "error": "once more"})
        plain = await store.inner.get_node_results("e")
        assert await other.get_node_results("e", ["a", "b", "c"]) == plain
        assert hits(other) == 1
        await store.inner.update_node_result(
            "e", "b", {"success": False, "error": "twice"}
        )  # what is not final is read
        assert (await other.get_node_results("e", ["b"]))["b"].error == "twice"
        await store.complete_node("e", "a", {"success": True, "data": 2}, iteration=1)
        assert (await other.get_node_results("e", ["a"]))["a"].data == 2
        await store.update_node_result("e", "b", {"success": True}, attempt=2)
        assert (await other.get_node_results("e", ["a", "b"]))["b"].success


async def test_a_result_that_comes_after_the_end_is_seen_at_once(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        await finish(store, "e")
        assert await other.get_node_results("e") == await other.get_node_results("e") == {}
        assert hits(other) == 1
        await store.update_node_result("e", "a", {"success": True})
        assert set(await other.get_node_results("e")) == {"a"}


async def test_who_runs_an_execution_reads_the_store(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url) as store:
        lease = Lease("me", 30)
        await store.create_execution("w", execution_id="e", lease=lease)
        await store.complete_node("e", "a", {"success": True, "data": 1})
        for data in (2, 3):
            assert (await store.get_node_results("e", ["a"]))["a"].data == data - 1
            await store.inner.complete_node("e", "a", {"success": True, "data": data})
        assert await store.renew_leases(lease) == ["e"]
        assert "e" in store._run_here
        await store.release_lease("e", "me")
        assert not store._run_here


async def test_versions_of_workflows_are_read_once_and_the_current_one_each_time(
    migrated_postgres_url: str, redis_url: str
) -> None:
    async with cached(migrated_postgres_url, redis_url) as store, cached(migrated_postgres_url, redis_url) as other:
        assert await store.save_workflow(WORKFLOW) == 1
        first = await store.get_workflow("w", 1)
        assert await other.get_workflow("w", 1) == first == await other.inner.get_workflow("w", 1)
        assert hits(other) == 1
        assert await other.get_workflow("w", 2) is None
        assert await store.save_workflow({**WORKFLOW, "name": "second"}) == 2
        assert (await other.get_workflow("w")).version == (await other.get_workflow("w", 2)).version == 2
        assert await other.get_workflow_version("w") == 2


async def test_a_link_is_told_once_in_a_while(migrated_postgres_url: str, redis_url: str) -> None:
    """A long trace comes in many batches; the first says all that concerns the execution's record."""
    async with cached(migrated_postgres_url, redis_url, settle_seconds=60) as store:
        await store.create_execution("w", execution_id="e")
        forgotten: list[list[str]] = []
        forget = store._entries.forget

        async def note(execution_ids: list[str], *fields: str, **options: Any) -> None:
            forgotten.append(list(execution_ids))
            await forget(execution_ids, *fields, **options)

        store._entries.forget = note
        for name in ("one", "two", "three"):
            await store.write(batch(span(name, execution="e")))
        assert forgotten == [["e"], [], []]


async def test_two_schemas_and_two_databases_share_nothing(
    migrated_postgres_url: str, redis_url: str, postgres_server: Any
) -> None:
    from spane_otel.stores.postgres.migrate import migrate

    other_url = postgres_server.create_database(template=migrated_postgres_url)
    try:
        await migrate(migrated_postgres_url, "second")
        identities = []
        for url, schema in ((migrated_postgres_url, "spane"), (migrated_postgres_url, "second"), (other_url, "spane")):
            async with PostgresExecutionStore(url, schema=schema) as store:
                identities.append(await store.identify())
        assert len(set(identities)) == 3
    finally:
        postgres_server.drop_database(other_url)


async def test_without_a_name_of_the_data_nothing_is_shared(migrated_postgres_url: str, redis_url: str) -> None:
    async with cached(migrated_postgres_url, redis_url, identify=None) as store:
        await finish(store, "e")
        async with cached(migrated_postgres_url, redis_url, identify=None) as other:
            await other.get_execution("e")
            assert hits(other) == 0


async def test_a_silent_redis_costs_a_bounded_time_and_changes_nothing(migrated_postgres_url: str) -> None:
    async with silent_server() as redis_url, cached(migrated_postgres_url, redis_url, timeout_seconds=0.05) as store:
        await finish(store, "e")
        assert await store.get_execution("e") == await store.inner.get_execution("e")
        await store.delete_execution("e")
        assert await store.get_execution("e") is None
        assert store._entries.counts["failed"] == 1


async def test_answers_are_the_stores_while_redis_comes_and_goes(migrated_postgres_url: str) -> None:
    """Whatever is written and read through two caches, with Redis killed and started again in between."""
    chosen = random.Random(7)
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as redis:
        async with (
            cached(migrated_postgres_url, redis.url, rest_seconds=0) as first,
            cached(migrated_postgres_url, redis.url, rest_seconds=0) as second,
        ):
            for step in range(150):
                store, execution_id, node_id = chosen.choice((first, second)), f"e{chosen.randrange(3)}", "ab"[step % 2]
                match chosen.randrange(7):
                    case 0:
                        if await store.inner.get_execution(execution_id) is None:
                            await finish(store, execution_id)
                    case 1:
                        await store.delete_execution(execution_id)
                    case 2 if await store.inner.get_execution(execution_id) is not None:
                        await store.update_execution_metadata(execution_id, {"step": step})
                    case 3 if await store.inner.get_execution(execution_id) is not None:
                        await store.complete_node(execution_id, node_id, {"success": True, "data": step})
                    case 4 if step % 3 == 0:
                        redis.restart()
                for each in (first, second):
                    plain = each.inner
                    assert await each.get_execution(execution_id) == await plain.get_execution(execution_id)
                    assert await each.get_node_results(execution_id) == await plain.get_node_results(execution_id)
                    assert await each.get_node_results(execution_id, ["a"]) == await plain.get_node_results(
                        execution_id, ["a"]
                    )
            assert min(hits(first), hits(second)) > 10


@pytest.mark.parametrize(
    "options", [{"ttl_seconds": 0}, {"timeout_seconds": 0}, {"settle_seconds": -1}], ids=lambda each: next(iter(each))
)
def test_times_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        CachedStore(PostgresExecutionStore("postgresql://127.0.0.1/none"), "redis://127.0.0.1", **options)  # type: ignore[arg-type]  # keywords


async def test_a_url_of_a_redis_beside_that_of_a_database_opens_the_cache(
    migrated_postgres_url: str, redis_url: str
) -> None:
    async with open_store(migrated_postgres_url, redis_url=redis_url) as store:
        assert isinstance(store, CachedStore)
        await store.ping()
        assert store.address == store.inner.address
    with pytest.raises(ConfigurationError, match="Redis"):
        open_store(migrated_postgres_url, redis_url="http://127.0.0.1")


async def test_a_traced_process_that_writes_to_the_database_tells_the_same_redis(
    migrated_postgres_url: str, redis_url: str
) -> None:
    settings = Settings(database_url=migrated_postgres_url, redis_url=redis_url)
    async with cached(migrated_postgres_url, redis_url) as store:
        await finish(store, "e")
        sink = destination_of(None, None, (), settings, None).source.open()
        row = span("late", trace="late", execution="e")
        assert (await sink.write(batch(row))).spans_stored == 1
        await sink.aclose()
        assert (await store.get_execution("e")).trace_ids == (row.trace_id.hex(),)
