"""How long pages of a list take when there are very many executions.

    python benchmarks/lists.py [--executions N] [--database-url URL]

The rows are made in the database, since it is reading that is measured: of eight workflows, started a second apart, one
in a hundred running. A page has 100 executions. Each kind of page is read from many places, and the slowest counts.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

import database
from rounds import print_table

from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.protocols import Store

_WORKFLOWS: Final = 8
_PAGE: Final = 100
_FIRST_NS: Final = 1_700_000_000 * 10**9
_SECOND: Final = 10**9


def fill(url: str, executions: int) -> None:
    """Make so many executions, and count them."""
    status = "CASE WHEN n % 100 = 0 THEN 'running' ELSE 'completed' END"
    database.execute(
        url,
        f"""
        INSERT INTO spane.executions (execution_id, started_ns, ended_ns, depth, origin, status, workflow_id,
                                      root_execution_id, initial_data)
        SELECT 'million-' || n, {_FIRST_NS} + n * {_SECOND}::bigint, {_FIRST_NS} + n * {_SECOND}::bigint + 250000000, 0,
               'api', {status}, 'workflow-' || n % {_WORKFLOWS}, 'million-' || n, '{{"order": 4711}}'
          FROM generate_series(0, {executions - 1}) AS n
        """,
    )
    database.execute(
        url,
        """
        SELECT spane.add_execution_counts(array_agg(workflow_id), array_agg(n))
          FROM (SELECT workflow_id, count(*) AS n FROM spane.executions WHERE execution_id LIKE 'million-%' GROUP BY 1)
        """,
    )
    database.execute(url, "VACUUM (ANALYZE) spane.executions")


async def read_pages(url: str, executions: int) -> None:
    """Read pages, and print how long they took."""
    async with PostgresExecutionStore(url) as store:
        rows = [["list", "pages", "median", "slowest"]]
        end_ns = _FIRST_NS + executions * _SECOND

        async def by_cursor(place: int) -> object:
            """Read the page behind a place that is far into the list."""
            start = await store.list_executions(limit=1, until=end_ns - place * executions // 50 * _SECOND)
            return start.next

        cursors = [await by_cursor(place) for place in range(1, 50)]
        kinds: list[tuple[str, int, Callable[[int], Awaitable[object]]]] = [
            ("first page", 50, lambda _: _read(store)),
            ("page by cursor, anywhere", 49, lambda n: _read(store, cursor=cursors[n])),
            ("page by cursor, of a workflow", 49, lambda n: _read(store, "workflow-3", cursor=cursors[n])),
            ("page by cursor, running only", 49, lambda n: _read(store, status="running", cursor=cursors[n])),
            ("offsets up to 10,000", 51, lambda n: _read(store, offset=200 * n)),
            ("offset 10,000", 20, lambda _: _read(store, offset=10_000)),
            ("offset 10,000, of a workflow", 20, lambda _: _read(store, "workflow-3", offset=10_000)),
            ("count of all", 50, lambda _: store.get_execution_count()),
            ("count of a workflow", 50, lambda _: store.get_execution_count("workflow-3")),
        ]
        for name, pages, read in kinds:
            await read(0)  # connect and plan
            times = [await _time(read, number) for number in range(pages)]
            rows.append([name, str(pages), f"{statistics.median(times):.1f} ms", f"{max(times):.1f} ms"])
        counted = await store.get_execution_count("workflow-3")
        assert counted == executions // _WORKFLOWS
    print(f"\nLists of {executions:,} executions, {_PAGE} to a page, one caller:\n")
    print_table(rows)


async def _read(store: Store, workflow_id: str | None = None, **where: object) -> object:
    page = await store.list_executions(workflow_id, _PAGE, **where)  # type: ignore[arg-type]  # passed through
    assert len(page) == _PAGE or page.next is None
    return page


async def _time(read: Callable[[int], Awaitable[object]], number: int) -> float:
    began = time.perf_counter()
    await read(number)
    return (time.perf_counter() - began) * 1e3


def measure(url: str, executions: int) -> None:
    """Fill an empty database and print how long pages take."""
    began = time.monotonic()
    fill(url, executions)
    print(f"{executions:,} executions made in {time.monotonic() - began:.0f} s")
    asyncio.run(read_pages(url, executions))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--database-url", help="a server on this machine; default: a temporary embedded one")
    options = parser.parse_args()
    with database.open_database(options.database_url) as url:
        print(f"PostgreSQL {database.describe_server(url)}")
        measure(url, options.executions)


if __name__ == "__main__":
    main()
