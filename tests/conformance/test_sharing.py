"""One store, several event loops and threads, and writers who meet on the same rows."""

import asyncio
import threading

from spane_otel.stores.protocols import Store
from tests.rows import batch, log, ns, root, span, trace_id


async def test_concurrent_writers_of_the_same_rows_leave_each_once(store: Store) -> None:
    rows = [root("e", trace="t", end=5)] + [
        span(f"{number}", start=number, parent="root of e") for number in range(1, 30)
    ]
    logs = [log(f"{number}", trace="t", seq=number) for number in range(30)]

    async def write(step: int) -> None:
        for first in range(0, 30, 10):
            chunk = slice(first, first + 10)
            await store.write(batch(*rows[chunk][::step], *logs[chunk][::step]))

    await asyncio.gather(*(write(step) for step in (1, -1, 1, -1)))
    trace = await store.get_trace_by_id(trace_id("t").hex())
    assert trace is not None
    assert [each.start_ns for each in trace.spans] == [ns(number) for number in range(30)]
    assert [each.body for each in await store.list_logs()] == [f"{number}" for number in range(30)]


async def test_concurrent_deliveries_of_one_execution_fold_to_the_same(store: Store) -> None:
    """Many roots of the same executions in many batches at once: the last root of each decides."""

    async def write(number: int) -> None:
        rows = [
            root(f"e{each}", name=f"{each}/{number}", start=number, end=number + 1, workflow=f"w{number}")
            for each in range(4)
        ]
        await store.write(batch(*(rows if number % 2 else rows[::-1])))

    await asyncio.gather(*(write(number) for number in range(16)))
    for each in range(4):
        execution = await store.get_execution(f"e{each}")
        assert execution is not None
        assert (execution.workflow_id, execution.started_ns, execution.ended_ns) == ("w15", ns(0), ns(16))


async def test_concurrent_creators_of_one_execution_make_one(store: Store) -> None:
    async def create() -> str:
        return await store.create_execution("order", execution_id="e", initial_data=1)

    assert set(await asyncio.gather(*(create() for _ in range(8)))) == {"e"}
    assert await store.get_execution_count() == 1


async def test_several_threads_with_loops_of_their_own_use_one_store(store: Store) -> None:
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        for step in range(5):
            await store.write(batch(span(f"{number}/{step}", start=number), log(f"{number}/{step}", trace="t")))
            assert await store.get_trace_by_id(trace_id("t").hex()) is not None

    def run(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as failure:  # noqa: BLE001 - shown by the test
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    await work(3)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert failures == []
    stats = await store.stats()
    assert (stats.spans, stats.logs) == (20, 20)


async def test_a_store_answers_and_names_itself(store: Store) -> None:
    await store.ping()
    assert store.address
    assert "password" not in store.address
