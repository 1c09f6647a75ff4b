"""How fast the engine is: a linear workflow of five nodes that do nothing, durable, with all spans and logs written.

    python benchmarks/engine.py [--rounds N] [--scale X] [--database-url URL] [--in-memory]

An execution is over when its last node's result is committed in PostgreSQL, the embedded one with the settings that
users get, or the server that is named. A round ends when every span and log of its executions is committed too; then
the store is asked for all of it. SPANE's figures were measured with its engine, its Drizzle store and Redis on node 20
and the same kind of machine; DBOS (Python) runs the same workflow at 65 executions a second.
"""

import argparse
import asyncio
import os
import statistics
import time
from typing import Any, Final

import database
from processes import cpu_seconds

from spane_otel import ExecutionContext, ExecutionResult, NodeRegistry, WorkflowEngine
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.protocols import Store

NODES: Final = 5
_AMOUNTS: Final = {1: 100, 20: 1_500}
"""Executions of a round by number in flight."""
_SPANE: Final = {1: "p50 27 ms", 20: "62 a second"}
_DEFINITION: Final[dict[str, Any]] = {
    "id": "linear",
    "name": "linear",
    "entryNodeId": "n0",
    "nodes": [
        {"id": f"n{place}", "type": "noop", "outputs": [f"n{place + 1}"] if place + 1 < NODES else []}
        for place in range(NODES)
    ],
}


async def _noop(context: ExecutionContext) -> ExecutionResult:
    context.log("done")
    return ExecutionResult(success=True, data=context.input_data)


async def _round(engine: WorkflowEngine, amount: int, in_flight: int) -> tuple[list[float], float, list[str]]:
    """Run executions; return how long each took, how long all took with their telemetry, and their ids."""
    numbers = iter(range(amount))
    took: list[float] = []
    ids: list[str] = []

    async def call() -> None:
        for number in numbers:
            began = time.perf_counter()
            result = await engine.execute("linear", {"number": number})
            took.append(time.perf_counter() - began)
            assert result.data == {"number": number}
            ids.append(result.execution_id or "")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(call())
    assert await engine.aflush(60.0)
    return took, time.perf_counter() - began, ids


async def _check(store: Store, ids: list[str]) -> None:
    for execution_id in ids[:: max(len(ids) // 50, 1)]:
        record = await store.get_execution(execution_id)
        trace = await store.get_trace(execution_id)
        assert record is not None
        assert record.status == "completed"
        assert trace is not None
        assert len(trace.spans) == NODES + 1
        assert len(await store.get_logs(execution_id)) == NODES


async def _measure(store: Store, rounds: int, scale: float, postmaster: int | None) -> None:
    registry = NodeRegistry()
    registry.register("noop", _noop)
    print("| in flight | executions a second (min..max) | p50 | p99 | CPU ms: client | PostgreSQL | SPANE |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    async with WorkflowEngine(registry, store) as engine:
        await engine.register_workflow(_DEFINITION)
        await _round(engine, 50, 10)
        for in_flight, amount in _AMOUNTS.items():
            rates, p50, p99, client, served = [], [], [], [], []
            for _ in range(rounds):
                number = max(int(amount * scale), 10)
                used = time.process_time()
                before = 0.0 if postmaster is None else cpu_seconds(postmaster)
                took, seconds, ids = await _round(engine, number, in_flight)
                client.append((time.process_time() - used) / number * 1e3)
                served.append(0.0 if postmaster is None else (cpu_seconds(postmaster) - before) / number * 1e3)
                await _check(store, ids)
                took.sort()
                rates.append(number / seconds)
                p50.append(took[number // 2] * 1e3)
                p99.append(took[number * 99 // 100] * 1e3)
            middle = statistics.median
            print(
                f"| {in_flight} | {middle(rates):,.0f} ({min(rates):,.0f}..{max(rates):,.0f}) | {middle(p50):.1f} ms "
                f"| {middle(p99):.1f} ms | {middle(client):.1f} | {middle(served):.1f} | {_SPANE[in_flight]} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="so much of each round")
    parser.add_argument("--database-url", default=os.environ.get("TEST_SPANE_DATABASE_URL"))
    parser.add_argument("--in-memory", action="store_true", help="measure the store in memory instead")
    given = parser.parse_args()
    if given.in_memory:
        asyncio.run(_in_memory(given.rounds, given.scale))
        return
    with database.open_database(given.database_url) as url:
        print(f"PostgreSQL: {database.describe_server(url)}\n")
        asyncio.run(_in_postgres(url, given.rounds, given.scale))


async def _in_memory(rounds: int, scale: float) -> None:
    async with InMemoryExecutionStore(max_executions=100_000) as store:
        await _measure(store, rounds, scale, None)


async def _in_postgres(url: str, rounds: int, scale: float) -> None:
    postmaster = await asyncio.to_thread(database.server_pid, url)
    async with PostgresExecutionStore(url) as store:
        await _measure(store, rounds, scale, postmaster)


if __name__ == "__main__":
    main()
