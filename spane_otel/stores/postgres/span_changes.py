"""Changes of spans that were added by hand: compared with what this process wrote last, and set."""

from collections.abc import Sequence
from typing import Final

from asyncpg import Record
from msgspec import Struct

from spane_otel.errors import StoreUnavailableError, UnknownExecutionError, UnknownSpanError
from spane_otel.ids import added_span_id
from spane_otel.records import SpanRow
from spane_otel.stores.added import SpanChange
from spane_otel.stores.postgres.columns import changed_span_columns
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.group import Group
from spane_otel.stores.postgres.parents import Text
from spane_otel.stores.postgres.reading import read_span_row
from spane_otel.stores.postgres.recent import RecentSpans

_ATTEMPTS: Final = 20


class Update(Struct):
    """One call of `update_span`."""

    execution_id: str
    added_id: str
    change: SpanChange

    @property
    def text(self) -> Text:
        return self.execution_id, self.added_id


class SpanChanges:
    """Updates spans. Where somebody else changed one meanwhile, it is read and the change made again."""

    def __init__(self, database: Database, recent: RecentSpans) -> None:
        self._database = database
        self._recent = recent
        self._group = Group(self._commit, family=_family, key=id)

    async def update(self, execution_id: str, added_id: str, change: SpanChange) -> None:
        """Change a span; see `TelemetryWriter.update_span`."""
        await self._group.run(Update(execution_id, added_id, change))

    async def _commit(self, calls: Sequence[Update]) -> list[Exception | None]:
        changes: dict[Text, list[SpanChange]] = {}
        for call in calls:
            changes.setdefault(call.text, []).append(call.change)
        answers = await self._database.run("write", lambda session: self._write(session, changes))
        return [answers.get(call.text) for call in calls]

    async def _write(self, session: Session, changes: dict[Text, list[SpanChange]]) -> dict[Text, Exception]:
        """Return an error for each span that is not there."""
        answers: dict[Text, Exception] = {}
        held = {text: row for text in changes if (row := self._recent.get(text)) is not None}
        # What changes nothing is not written, and so tells nobody that a span is gone.
        held = {text: row for text, row in held.items() if not all(each.is_empty for each in changes[text])}
        waiting = list(changes)
        for _ in range(_ATTEMPTS):
            unknown = [text for text in waiting if text not in held]
            if unknown:
                answers |= await self._read(session, unknown, held)
            changed = {text: _fold(row, changes[text]) for text in waiting if (row := held.get(text)) is not None}
            changed = {text: row for text, row in changed.items() if row is not held[text]}
            waiting = await self._compare_and_set(session, changed) if changed else []
            if not waiting:
                return answers
            held = {}
        raise StoreUnavailableError("spans are changed by others as fast as they are read")

    async def _compare_and_set(self, session: Session, changed: dict[Text, SpanRow]) -> list[Text]:
        """Write the next versions and return the spans of which another version is held."""
        # Two processes that change the same spans wait for each other in one order.
        ordered = sorted(changed.values(), key=_row_order)
        rows = await session.commit(
            "update_spans",
            **changed_span_columns(ordered),
            execution_ids=sorted({execution_id for execution_id, _ in changed}),
        )
        lost = {row["span_id"] for row in rows}
        self._recent.put((text, row) for text, row in changed.items() if row.span_id not in lost)
        again = [text for text, row in changed.items() if row.span_id in lost]
        for text in again:
            self._recent.forget(text)
        return again

    async def _read(self, session: Session, texts: list[Text], held: dict[Text, SpanRow]) -> dict[Text, Exception]:
        """Read spans into `held`, and return an error for each that is not there."""
        rows = await session.fetch(
            "read_added_spans",
            execution_id=[execution_id for execution_id, _ in texts],
            span_id=[added_span_id(*text) for text in texts],
            added_id=[added_id for _, added_id in texts],
        )
        read: dict[Text, Record] = {texts[row["n"] - 1]: row for row in rows}
        errors: dict[Text, Exception] = {}
        for text in texts:
            row = read.get(text)
            if row is None:
                errors[text] = UnknownExecutionError(text[0])
            elif row["span_id"] is None:
                errors[text] = UnknownSpanError(*text)
            else:
                held[text] = read_span_row(row)
        return errors


def _fold(held: SpanRow, changes: list[SpanChange]) -> SpanRow:
    """Return the next version after all changes, the same where they change nothing."""
    row = held
    for change in changes:
        if not change.is_empty:
            row = change.apply(row)
    if row is not held:
        row.revision = held.revision + 1
    return row


def _family(call: Update) -> Text:
    return call.text


def _row_order(row: SpanRow) -> tuple[bytes, int]:
    return row.trace_id, row.span_id
