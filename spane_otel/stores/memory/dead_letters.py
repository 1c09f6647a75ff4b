"""Dead letters: what failed for good, and how it is tried again."""

import heapq

from msgspec.structs import replace

from spane_otel.errors import InvalidTransitionError, UnknownDeadLetterError
from spane_otel.records import Page
from spane_otel.state import DeadLetter
from spane_otel.stores.admission import check_limit
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.memory.held.executions import HeldExecution
from spane_otel.stores.memory.held.journal import HeldLease, dead_letter_record
from spane_otel.stores.memory.part import Part
from spane_otel.stores.transitions import REOPENED_BY_RETRY


class DeadLetters(Part):
    """Dead letters."""

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
        before = None if cursor is None else decode_cursor(cursor, int, str)
        with self._lock:
            matching = (
                (letter, held)
                for held in self._with_letters(execution_id)
                for letter in self._state.executions.journals[held.execution_id].dead_letters.values()
                if (workflow_id is None or letter.workflow_id == workflow_id)
                and (include_retried or letter.retried_ns is None)
                and (before is None or letter.order < before)
            )
            found = heapq.nlargest(limit + 1, matching, key=lambda each: each[0].order)
        items = [dead_letter_record(letter, held.execution_id) for letter, held in found[:limit]]
        return Page(items, encode_cursor(*found[limit - 1][0].order) if len(found) > limit else None)

    def _with_letters(self, execution_id: str | None) -> list[HeldExecution]:
        held = self._state.executions.held
        if execution_id is None:
            return list(held.values())
        return [held[execution_id]] if execution_id in held else []

    async def retry_dead_letter(self, execution_id: str, dead_letter_id: str) -> bool:
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            journal = self._state.executions.journals.get(execution_id)
            letter = None if journal is None else journal.dead_letters.get(dead_letter_id)
            if held is None or journal is None or letter is None:
                raise UnknownDeadLetterError(execution_id, dead_letter_id)
            if letter.retried_ns is not None:
                return False
            if held.status not in REOPENED_BY_RETRY:
                raise InvalidTransitionError(execution_id, held.status, "running")
            journal.dead_letters[dead_letter_id] = replace(letter, retried_ns=now_ns)
            journal.note(
                execution_id,
                now_ns,
                "dead_letter",
                old="failed",
                new="retried",
                of=letter,
                detail=dead_letter_id,
                actor=self._actor,
            )
            node = journal.nodes.get(letter.node_id)
            result = None if node is None else node.tries.get((letter.iteration, letter.attempt))
            if result is not None:
                journal.put_result(replace(result, is_final=False))
            if journal.lease is not None:
                journal.lease = HeldLease(journal.lease.holder, 0)
            if held.status == "failed":
                self._move(replace(held, ended_ns=None, error=None), "running", now_ns)
            else:
                self._announce(execution_id, now_ns)
            return True
