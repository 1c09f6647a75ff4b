"""The change feed: what became visible since a snapshot (architecture.md, *Change feed*).

A cursor carries the snapshot of the last look. What was written by a transaction that the snapshot could not see, and
that is visible now, is new: a transaction that commits late is neither missed nor seen twice, however long another
one runs.
"""

import re
from contextlib import suppress
from time import monotonic
from typing import Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from spane_otel.errors import InvalidValueError, StoreError
from spane_otel.records import STALE_AFTER_SECONDS, Change
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.links import read_owners

TRIM_SECONDS: Final = 60.0
"""How often a reader of the feed deletes what is older than an hour."""

_SNAPSHOT: Final = re.compile(r"(\d{1,19}):(\d{1,19}):((?:\d{1,19}(?:,\d{1,19})*)?)")
_LONGEST_SNAPSHOT: Final = 2_000


class Changes:
    """The change feed of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._trim_at = monotonic() + TRIM_SECONDS

    async def poll(self, cursor: str | None) -> tuple[str, list[Change]]:
        """Return what is new; see `ChangeFeed.poll_changes`."""
        if cursor is None:
            return await self._database.run("read", _present)
        snapshot, at_us = _decode(cursor)
        if monotonic() > self._trim_at:
            self._trim_at = monotonic() + TRIM_SECONDS
            with suppress(StoreError):  # somebody will trim another time
                await self._database.run("write", _trim)

        async def read(session: Session) -> tuple[str, list[Change]]:
            rows = await session.fetch("poll_changes", snapshot=snapshot, at_us=at_us)
            now_us = rows[0]["at_us"]
            stale = await session.fetch(
                "list_executions_gone_stale",
                then_us=at_us,
                now_us=now_us,
                stale_seconds=float(STALE_AFTER_SECONDS),
            )
            changes = await _changes(session, [row for row in rows if row["kind"] is not None])
            changes += [Change("execution", execution_id=row["execution_id"]) for row in stale]
            return _encode(rows[0]["snapshot"], now_us), list(dict.fromkeys(changes))

        return await self._database.run("read", read)


async def _present(session: Session) -> tuple[str, list[Change]]:
    (row,) = await session.fetch("read_snapshot")
    return _encode(row["snapshot"], row["at_us"]), []


async def _trim(session: Session) -> None:
    await session.execute("delete_old_changes")


async def _changes(session: Session, rows: list[Record]) -> list[Change]:
    """Return the changes of `rows`; what carries no execution concerns every execution of its trace."""
    orphans: list[UUID] = [row["trace_id"] for row in rows if row["execution_id"] is None and row["trace_id"]]
    owners = await read_owners(session, orphans) if orphans else {}
    changes = []
    for row in rows:
        trace_id = row["trace_id"]
        hex_id = None if trace_id is None else trace_id.hex
        stamped = row["execution_id"]
        executions: list[str | None] = [stamped]
        if stamped is None and trace_id is not None:
            executions = [*owners[trace_id]] or [None]
        changes += [Change(row["kind"], execution_id, hex_id) for execution_id in executions]
    return changes


def _encode(snapshot: str, at_us: int) -> str:
    if len(snapshot) > _LONGEST_SNAPSHOT:
        # Hundreds were writing: count all since the oldest of them as unseen, so that some are seen twice.
        oldest = snapshot.partition(":")[0]
        snapshot = f"{oldest}:{oldest}:"
    return encode_cursor(snapshot, at_us)


def _decode(cursor: str) -> tuple[str, int]:
    snapshot, at_us = decode_cursor(cursor, str, int)
    found = _SNAPSHOT.fullmatch(snapshot)
    # PostgreSQL refuses a snapshot whose numbers are out of order, and a time that it has no date for.
    if found is None or not 0 <= at_us < 2**53:
        raise InvalidValueError("the cursor is not one of ours", reason="cursor")
    oldest, following = int(found[1]), int(found[2])
    running = [int(each) for each in found[3].split(",") if each]
    numbers = [oldest, *running, following]
    if not 0 < oldest <= following < 2**63 or numbers != sorted(numbers) or len(set(running)) < len(running):
        raise InvalidValueError("the cursor is not one of ours", reason="cursor")
    return snapshot, at_us
