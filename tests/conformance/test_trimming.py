"""What a bounded store lets go: never what runs, leaves before roots, and it says so."""

from spane_otel.stores.memory import InMemoryExecutionStore
from tests.conformance.loading import load_spans
from tests.conformance.subjects import MemorySubject


async def fill(store: InMemoryExecutionStore, execution_id: str) -> None:
    await store.create_execution("order", execution_id=execution_id, initial_data=execution_id)
    await store.update_node_result(execution_id, "a", {"success": True, "data": execution_id})
    await store.add_span(execution_id, name="n", id="s")
    await store.add_log(execution_id, "m", id="l")


async def test_what_runs_or_is_paused_is_never_let_go_and_keeps_all_of_it() -> None:
    subject = MemorySubject(max_executions=5)
    async with subject.memory as store:
        alive = [f"alive {number}" for number in range(10)]
        for number, execution_id in enumerate(alive):
            await fill(store, execution_id)
            if number % 2:
                await store.set_execution_status(execution_id, "paused")
        for number in range(20):
            await fill(store, f"over {number}")
            await store.set_execution_status(f"over {number}", "completed")
            await subject.wait(1)
        await fill(store, "newest")
        for execution_id in (*alive, "newest"):
            execution = await store.get_execution(execution_id)
            assert execution is not None, execution_id
            assert execution.initial_data == execution_id
            assert (await store.get_node_results(execution_id))["a"].data == execution_id
            assert set(await load_spans(store, execution_id)) == {"s"}
            assert [each.id for each in await store.get_logs(execution_id)] == ["l"]
        assert (await store.stats()).trimmed >= 3 * 19
        assert await store.get_execution("over 0") is None


async def test_of_spans_that_are_too_many_leaves_go_before_their_parents_and_the_root_stays() -> None:
    subject = MemorySubject(max_spans_per_execution=20)
    async with subject.memory as store:
        await store.create_execution("order", execution_id="e")
        await store.add_span("e", name="root", id="root")
        for node in range(10):
            await store.add_span("e", name="node", id=f"node {node}", parent_id="root")
            for leaf in range(10):
                await store.add_span("e", name="leaf", id=f"leaf {node}/{leaf}", parent_id=f"node {node}")
                await store.update_span("e", f"leaf {node}/{leaf}", status="completed")
                await subject.wait(0.001)
        spans = await load_spans(store, "e")
        assert len(spans) <= 20
        assert {"root", *(f"node {node}" for node in range(10))} <= set(spans)
        held = {each.span_id for each in spans.values()}
        assert all(each.parent_span_id is None or each.parent_span_id in held for each in spans.values())
        trace = await store.get_trace("e")
        assert trace is not None
        assert trace.truncated
        assert (await store.stats()).trimmed == 111 - len(spans)


async def test_of_logs_that_are_too_many_the_latest_stay() -> None:
    subject = MemorySubject(max_logs_per_execution=10)
    async with subject.memory as store:
        await store.create_execution("order", execution_id="e")
        for number in range(50):
            await store.add_log("e", f"m{number}")
            await subject.wait(0.001)
        messages = [each.message for each in await store.get_logs("e")]
        assert len(messages) <= 10
        assert messages == [f"m{number}" for number in range(50 - len(messages), 50)]
        assert (await store.stats()).trimmed == 50 - len(messages)
