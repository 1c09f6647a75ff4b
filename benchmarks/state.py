"""How fast the state store is: each operation with 1, 8 and 64 callers, in PostgreSQL and in memory.

    make bench        or        python benchmarks/state.py [--rounds N] [--scale X] [--database-url URL]

A caller waits for its answer before it calls again; PostgreSQL has committed by then. PostgreSQL is the embedded one
with the settings that users get, or the server that is named; the callers are one process on the same machine. After
each round the store is asked whether what should be there is. Beside it, in the same run: single rows by INSERT, each
in a transaction of its own, over as many connections as the store has at most, and COPY in batches of 512 rows over
two, both into a table of the shape of `node_results`. SPANE's figures were measured with its Drizzle store (in memory:
with its in-memory store) on node 20 and the same kind of machine, with one caller and with eight.
"""

import argparse
import asyncio
import os
import time
from typing import Any, Final

import asyncpg
import database
import operations
from msgspec import Struct
from operations import Prepare
from rounds import Line, measure, print_lines

from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.protocols import Store

_AMOUNTS: Final = {1: 1_500, 8: 10_000, 64: 30_000}
"""Operations of a round by number of callers: about a second."""
_CONNECTIONS: Final = 20
_COPY_CONNECTIONS: Final = 2
_COPY_ROWS: Final = 512


class Subject(Struct, frozen=True):
    """An operation, and what SPANE does of it a second by number of callers."""

    name: str
    prepare: Prepare
    spane: dict[int, str]

    @property
    def slug(self) -> str:
        return self.name.replace(", ", "-").replace(" ", "-")


_SUBJECTS: Final = (
    Subject("complete_node, spread", operations.complete_spread, {1: "1,630", 8: "3,780"}),
    Subject("complete_node, on one", operations.complete_on_one, {1: "1,630", 8: "3,780"}),
    Subject("update_node_result", operations.update_results, {1: "1,630", 8: "3,780"}),
    Subject("create_execution", operations.create, {1: "594", 8: "1,215"}),
    Subject("add_span", operations.add_spans, {1: "1,990", 8: "5,115"}),
    Subject("update_span", operations.update_spans, {1: "1,980", 8: "4,612"}),
    Subject("add_log", operations.add_logs, {1: "2,160", 8: "4,864"}),
    Subject("get_trace, 12 spans", operations.get_traces, {1: "1,256", 8: "2,682"}),
)
_IN_MEMORY: Final = (
    (Subject("add_span", operations.add_spans, {1: "1,000,000"}), 100_000),
    (Subject("update_span", operations.update_spans, {1: "200,000"}), 100_000),
    (Subject("add_log", operations.add_logs, {1: "900,000"}), 100_000),
    (Subject("create_execution", operations.create, {1: "16,500"}), 20_000),
    (Subject("create and complete", operations.create_and_complete, {}), 20_000),
    (Subject("complete_node", operations.complete_spread, {1: "1,500,000"}), 100_000),
    (Subject("get_trace, 12 spans", operations.get_traces, {1: "600,000"}), 10_000),
)


async def measure_postgres(url: str, options: argparse.Namespace) -> list[Line]:
    """Return a line for each operation and number of callers."""
    postmaster = await asyncio.to_thread(database.server_pid, url)
    lines: list[Line] = []
    async with PostgresExecutionStore(url) as store:
        await operations.save_workflows(store)
        await _warm_up(store)
        for subject in _SUBJECTS:
            for callers in options.callers:
                amount = max(1, int(_AMOUNTS.get(callers, 30_000) * options.scale))
                await asyncio.to_thread(database.settle, url)
                lines.append(await _measure(store, subject, callers, amount, options.rounds, postmaster))
    return lines


async def measure_memory(options: argparse.Namespace) -> list[Line]:
    """Return a line for each operation, by one caller; every round has a store of its own."""
    lines: list[Line] = []
    for subject, amount in _IN_MEMORY:
        rounds = []
        for number in range(options.rounds):
            async with InMemoryExecutionStore() as store:
                await operations.save_workflows(store)
                line = await _measure(store, subject, 1, max(1, int(amount * options.scale)), 1, None, first=number)
                rounds += line.rounds
        lines.append(Line(subject.name, 1, rounds, subject.spane.get(1, "")))
    return lines


async def _measure(
    store: Store, subject: Subject, callers: int, amount: int, rounds: int, postmaster: int | None, first: int = 0
) -> Line:
    done = []
    for number in range(first, first + rounds):
        work = await subject.prepare(store, f"{subject.slug}-{callers}-{number}", amount)
        done.append(await measure(work.run, amount, callers, postmaster))
        await work.check()
    return Line(subject.name, callers, done, subject.spane.get(callers, ""))


async def _warm_up(store: Store) -> None:
    """Connect, prepare the statements, make today's partitions."""
    for subject in _SUBJECTS:
        work = await subject.prepare(store, f"warm-up-{subject.slug}", 200)
        await measure(work.run, 200, 64, None)


async def measure_bare(url: str, options: argparse.Namespace) -> list[Line]:
    """Return lines for INSERT and COPY into a table of the shape of node_results, of rows that are there."""
    postmaster = await asyncio.to_thread(database.server_pid, url)
    columns, rows = await asyncio.to_thread(database.load_rows, url, max(_AMOUNTS.values()), "node_results")
    await asyncio.to_thread(database.copy_shape, url, "node_results", "bare")
    lines = []
    for callers in options.callers:
        amount = min(len(rows), max(1, int(_AMOUNTS.get(callers, 30_000) * options.scale)))
        done = []
        for _ in range(options.rounds):
            await asyncio.to_thread(database.empty, url, "bare")
            done.append(await _insert(url, columns, rows, amount, callers, postmaster))
        lines.append(Line("INSERT of a row", callers, done))
    done = []
    batches = [rows[first : first + _COPY_ROWS] for first in range(0, len(rows), _COPY_ROWS)]
    for _ in range(options.rounds):
        await asyncio.to_thread(database.empty, url, "bare")
        done.append(await _copy(url, columns, batches, postmaster))
    return [*lines, Line(f"COPY, a row of {_COPY_ROWS}", _COPY_CONNECTIONS, done)]


async def _insert(
    url: str, columns: list[str], rows: list[tuple[Any, ...]], amount: int, callers: int, postmaster: int
) -> Any:
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    statement = f"INSERT INTO spane.bare ({', '.join(columns)}) VALUES ({places})"
    size = min(callers, _CONNECTIONS)
    async with asyncpg.create_pool(url, min_size=size, max_size=size) as pool:
        return await measure(lambda number: pool.execute(statement, *rows[number]), amount, callers, postmaster)


async def _copy(url: str, columns: list[str], batches: list[list[tuple[Any, ...]]], postmaster: int) -> Any:
    size = _COPY_CONNECTIONS
    async with asyncpg.create_pool(url, min_size=size, max_size=size) as pool:

        async def copy(number: int) -> None:
            async with pool.acquire() as connection:
                await connection.copy_records_to_table(
                    "bare", records=batches[number], columns=columns, schema_name="spane"
                )

        done = await measure(copy, len(batches), size, postmaster)
    rows = sum(len(batch) for batch in batches)
    return type(done)(rows, done.seconds, done.client, done.postgres)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="operations of a round, by this factor")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--database-url", help="a server on this machine; default: a temporary embedded one")
    options = parser.parse_args()
    began = time.monotonic()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before: what else runs lowers the rates")
    memory = asyncio.run(measure_memory(options))
    print_lines(f"In memory, median of {options.rounds} rounds:", memory)
    with database.open_database(options.database_url) as url:
        print(f"PostgreSQL {database.describe_server(url)}")
        postgres = asyncio.run(measure_postgres(url, options))
        bare = asyncio.run(measure_bare(url, options))
        print_lines(f"PostgreSQL, median of {options.rounds} rounds:", [*postgres, *bare])
    print(f"load average {os.getloadavg()[0]:.1f} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
