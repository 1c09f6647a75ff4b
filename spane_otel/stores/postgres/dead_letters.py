"""Dead letters: what failed for good, and trying it again. They are written with the node results."""

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from spane_otel.errors import InvalidTransitionError, InvalidValueError, UnknownDeadLetterError
from spane_otel.ids import new_execution_id, trace_id_from_hex
from spane_otel.records import Page
from spane_otel.state import DeadLetter
from spane_otel.stores.admission import check_limit, is_storable
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.part import Part
from spane_otel.stores.postgres.payloads import load_payload


class DeadLetters(Part):
    """What failed for good."""

    async def list_dead_letters(
        self,
        *,
        execution_id: str | None = None,
        workflow_id: str | None = None,
        include_retried: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[DeadLetter]:
        check_limit(limit)
        before_ns, before_id = (None, None) if cursor is None else _place(cursor)
        if not is_storable(execution_id or "") or not is_storable(workflow_id or ""):
            return Page([])

        async def read(session: Session) -> Page[DeadLetter]:
            rows = await session.fetch(
                "list_dead_letters",
                execution_id=execution_id,
                workflow_id=workflow_id,
                is_waiting=None if include_retried else True,
                before_ns=before_ns,
                before_id=before_id,
                limit=limit + 1,
            )
            items = [read_dead_letter(row) for row in rows[:limit]]
            last = rows[limit - 1] if len(rows) > limit else None
            return Page(items, None if last is None else encode_cursor(last["failed_ns"], last["dead_letter_id"].hex))

        return await self._database.run("read", read)

    async def retry_dead_letter(self, execution_id: str, dead_letter_id: str) -> bool:
        raw = trace_id_from_hex(dead_letter_id)
        if raw is None or not is_storable(execution_id):
            raise UnknownDeadLetterError(execution_id, dead_letter_id)
        # Chosen before the first attempt, so that a repeated one, its answer lost, knows its own work.
        operation_id = UUID(new_execution_id())

        async def retry(session: Session) -> str:
            (row,) = await session.commit(
                "retry_dead_letter",
                execution_id=execution_id,
                dead_letter_id=UUID(raw),
                operation_id=operation_id,
                now_ns=self._clock.now_ns(),
                actor=self._actor,
            )
            outcome: str = row["outcome"]
            return outcome

        outcome = await self._database.run("write", retry)
        if outcome == "unknown":
            raise UnknownDeadLetterError(execution_id, dead_letter_id)
        if outcome not in ("retried", "before"):
            raise InvalidTransitionError(execution_id, outcome, "running")
        return outcome == "retried"


def read_dead_letter(row: Record) -> DeadLetter:
    """Return the record of a dead letter's row, its payload with it."""
    return DeadLetter(
        dead_letter_id=row["dead_letter_id"].hex,
        execution_id=row["execution_id"],
        node_id=row["node_id"],
        iteration=row["iteration"],
        attempt=row["attempt"],
        job_id=row["job_id"],
        job_data=load_payload(row["job_data"], row["packed_job_data"]),
        has_job_data=row["job_data"] is not None or row["job_data_payload"] is not None,
        error=row["error"],
        failed_ns=row["failed_ns"],
        attempts_made=row["attempts_made"],
        retried_ns=row["retried_ns"],
        workflow_id=row["workflow_id"],
    )


def _place(cursor: str) -> tuple[int, UUID]:
    failed_ns, letter_id = decode_cursor(cursor, int, str)
    raw = trace_id_from_hex(letter_id)
    if raw is None:
        raise InvalidValueError("the cursor is not one of ours", reason="cursor")
    return failed_ns, UUID(raw)
