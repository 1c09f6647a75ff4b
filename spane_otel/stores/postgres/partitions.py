"""Partitions are made by the first writer that meets a day."""

from collections.abc import Iterable
from typing import Final

from spane_otel.clock import SECOND
from spane_otel.stores.postgres.database import Database, Session

DAY_NS: Final = 86_400 * SECOND


class Partitions:
    """Makes the partitions that a batch needs, each asked for once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: set[int] = set()

    async def ensure(self, starts_ns: Iterable[int]) -> None:
        """Return once the partitions of all `starts_ns` are there; a short transaction for each new day."""
        for day in sorted({start_ns // DAY_NS for start_ns in starts_ns} - self._seen):

            async def make(session: Session, start_ns: int = day * DAY_NS) -> None:
                await session.fetch("ensure_partition", start_ns=start_ns)

            await self._database.run("ingest", make)
            self._seen.add(day)

    def forget(self) -> None:
        """Believe no longer that any day is there: one was dropped."""
        self._seen.clear()
