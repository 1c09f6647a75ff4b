"""Processes that send heartbeats, by the database's clock."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from spane_otel.records import STALE_AFTER_SECONDS, Change
from spane_otel.stores.postgres.columns import change_columns
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.known import Known


class Process(Struct, frozen=True):
    """When a process was last heard of."""

    last_seen_ns: int
    is_stale: bool


class Processes:
    """The processes of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: Known[str, bool] = Known()

    async def introduce(self, process_ids: Iterable[str]) -> None:
        """Make processes known that rows name; their `last_seen_at` is moved by heartbeats alone."""
        unknown = sorted(self._known.unknown(process_ids))
        if not unknown:
            return

        async def insert(session: Session) -> None:
            await session.execute("introduce_processes", process_ids=unknown)

        await self._database.run("ingest", insert)
        self._known.add((process_id, True) for process_id in unknown)

    async def hear(self, process_ids: Iterable[str]) -> None:
        """Note that processes are alive; what a stale one runs is no longer abandoned, which is a change."""
        alive = sorted(set(process_ids))

        async def beat(session: Session) -> None:
            async with session.transaction():
                stale = await session.fetch(
                    "lock_stale_processes", process_ids=alive, stale_seconds=float(STALE_AFTER_SECONDS)
                )
                await session.execute("upsert_heartbeats", process_ids=alive)
                if stale:
                    revived = [row["process_id"] for row in stale]
                    rows = await session.fetch("list_executions_run_by", process_ids=revived)
                    changes = [Change("execution", execution_id=row["execution_id"]) for row in rows]
                    await session.execute("insert_changes", **change_columns(changes))

        await self._database.run("ingest", beat)
        self._known.add((process_id, True) for process_id in alive)


NOBODY: Final[dict[str, Process]] = {}


async def read_processes(session: Session, process_ids: Iterable[str | None]) -> dict[str, Process]:
    """Return what is known of processes, by their ids; None among the ids stands for nobody."""
    wanted = sorted({process_id for process_id in process_ids if process_id is not None})
    if not wanted:
        return NOBODY
    rows = await session.fetch("list_processes", process_ids=wanted, stale_seconds=float(STALE_AFTER_SECONDS))
    return {row["process_id"]: Process(row["last_seen_ns"], row["is_stale"]) for row in rows}
