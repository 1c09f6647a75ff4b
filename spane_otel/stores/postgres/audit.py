"""The audit: every change of an execution's state, written in the transaction that made it."""

from asyncpg import Record

from spane_otel.records import Page
from spane_otel.state import AuditEntry
from spane_otel.stores.admission import check_limit, is_storable
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.part import Part


class Audit(Part):
    """Reads the audit."""

    async def list_audit(self, execution_id: str, *, limit: int = 100, cursor: str | None = None) -> Page[AuditEntry]:
        check_limit(limit)
        (after,) = (None,) if cursor is None else decode_cursor(cursor, int)
        if not is_storable(execution_id):
            return Page([])

        async def read(session: Session) -> Page[AuditEntry]:
            rows = await session.fetch("list_audit", execution_id=execution_id, after=after, limit=limit + 1)
            items = [_read_entry(row) for row in rows[:limit]]
            return Page(items, encode_cursor(items[-1].seq) if len(rows) > limit else None)

        return await self._database.run("read", read)


def _read_entry(row: Record) -> AuditEntry:
    return AuditEntry(
        execution_id=row["execution_id"],
        seq=row["seq"],
        changed_ns=row["changed_ns"],
        change=row["change"],
        old_value=row["old_value"],
        new_value=row["new_value"],
        node_id=row["node_id"],
        iteration=row["iteration"],
        attempt=row["attempt"],
        detail=row["detail"],
        actor=row["actor"],
    )
