"""The PostgreSQL under a benchmark, and the raw COPY that its figures are compared with."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from processes import parent_of

from spane_otel.stores.embedded import EmbeddedPostgres

TABLE = "execution_spans"


@contextmanager
def open_database(url: str | None) -> Iterator[str]:
    """Yield the URL of a new, migrated database on the server at `url`, or on a temporary one with our own settings."""
    if url is None:
        folder = Path(tempfile.mkdtemp(prefix="spane-bench-"))
        folder.chmod(0o755)  # as root the server runs as nobody
        try:
            with EmbeddedPostgres(folder) as server, _create_database(server.url) as database:
                yield database
        finally:
            shutil.rmtree(folder)
    else:
        with _create_database(url) as database:
            yield database


@contextmanager
def _create_database(url: str) -> Iterator[str]:
    name = f"spane_bench_{time.time_ns()}"
    asyncio.run(_execute(url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING UTF8"))
    database = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    try:
        command = [sys.executable, "-m", "spane_otel.cli.main", "migrate"]
        subprocess.run(command, check=True, env={"SPANE_DATABASE_URL": database}, stdout=subprocess.DEVNULL)
        yield database
    finally:
        asyncio.run(_execute(url, f"DROP DATABASE {name} WITH (FORCE)"))


def server_pid(url: str) -> int:
    """Return the process id of the server's postmaster, which must be on this machine."""

    async def find() -> int:
        connection = await asyncpg.connect(url)
        try:
            return parent_of(await connection.fetchval("SELECT pg_backend_pid()"))
        finally:
            await connection.close()

    return asyncio.run(find())


def describe_server(url: str) -> str:
    """Return the version and the settings that decide how fast it writes."""
    names = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size")
    values = asyncio.run(_fetch(url, f"SELECT array[{', '.join(f'current_setting({name!r})' for name in names)}]"))
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def count_spans(url: str) -> int:
    """Return how many spans are committed, as another connection sees it."""
    return int(asyncio.run(_fetch(url, f"SELECT count(*) FROM spane.{TABLE}")))


def load_rows(url: str, limit: int, table: str = TABLE) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns and up to `limit` rows of a table, by default of spans, in the order they were written in."""

    async def load() -> tuple[list[str], list[tuple[Any, ...]]]:
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch(f"SELECT * FROM spane.{table} LIMIT {limit}")
        finally:
            await connection.close()
        return list(rows[0].keys()), [tuple(row) for row in rows]

    return asyncio.run(load())


def empty(url: str, table: str = TABLE) -> None:
    """Remove all rows and settle the server, so that the next run starts where the first did."""
    asyncio.run(_execute(url, f"TRUNCATE spane.{table}"))
    settle(url)


def settle(url: str) -> None:
    """Write out what the server still has to write, so that it costs nobody else's round."""
    asyncio.run(_execute(url, "CHECKPOINT"))


def copy_shape(url: str, table: str, name: str) -> None:
    """Make an empty table like another: columns, keys and indexes, but nothing that refers to other tables."""
    asyncio.run(_execute(url, f"CREATE TABLE spane.{name} (LIKE spane.{table} INCLUDING ALL)"))


def copy_rows(
    url: str, columns: list[str], rows: list[tuple[Any, ...]], *, connections: int, batch: int
) -> tuple[float, float]:
    """COPY `rows` into the table, a transaction per `batch`; return the seconds and the CPU seconds of this process."""

    async def copy_all() -> tuple[float, float]:
        batches = iter([rows[first : first + batch] for first in range(0, len(rows), batch)])
        opened = [await asyncpg.connect(url) for _ in range(connections)]

        async def copy_some(connection: asyncpg.Connection) -> None:
            for records in batches:
                await connection.copy_records_to_table(TABLE, records=records, columns=columns, schema_name="spane")

        began, used = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(copy_some(connection))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        for connection in opened:
            await connection.close()
        return seconds, cpu

    return asyncio.run(copy_all())


def execute(url: str, statement: str) -> None:
    """Execute one statement on a connection of its own."""
    asyncio.run(_execute(url, statement))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
