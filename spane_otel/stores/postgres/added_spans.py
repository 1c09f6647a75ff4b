"""Spans that are added by hand: the calls of one moment in one statement and one commit."""

from collections.abc import Sequence
from itertools import count
from typing import Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from msgspec import Struct

from spane_otel.errors import SpanExistsError, StoreUnavailableError, UnknownExecutionError
from spane_otel.ids import added_span_id
from spane_otel.records import ResourceRow
from spane_otel.stores.added import SCOPE, NewSpan
from spane_otel.stores.postgres.columns import added_span_columns, given
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.group import Group
from spane_otel.stores.postgres.load import Load
from spane_otel.stores.postgres.parents import Parents, Text
from spane_otel.stores.postgres.recent import RecentSpans

_ATTEMPTS: Final = 5
_SEQ_LIMIT: Final = 2**31


class Addition(Struct):
    """One call of `add_span`."""

    execution_id: str
    added_id: str
    is_named: bool
    """The caller chose the id, so that the span may be there."""
    new: NewSpan
    own_trace_id: bytes

    @property
    def text(self) -> Text:
        return self.execution_id, self.added_id


class AddedSpans:
    """Adds spans to executions."""

    def __init__(
        self, database: Database, load: Load, resource: ResourceRow, recent: RecentSpans, parents: Parents
    ) -> None:
        self._database = database
        self._load = load
        self._resource = resource
        self._recent = recent
        self._parents = parents
        self._seq = count()
        self._group = Group(self._commit, family=_family, key=_key)

    async def add(self, execution_id: str, added_id: str, new: NewSpan, *, is_named: bool) -> None:
        """Store a span, unless the same is there; see `TelemetryWriter.add_span`."""
        new.row.seq = next(self._seq) % _SEQ_LIMIT
        await self._group.run(Addition(execution_id, added_id, is_named, new, new.row.trace_id))

    async def _commit(self, calls: Sequence[Addition]) -> list[Exception | None]:
        await self._load.introduce(self._resource, SCOPE)
        starts_ns = [call.new.row.start_ns for call in calls]

        async def write(session: Session) -> dict[Text, Exception | None]:
            return await self._write(session, calls)

        answers = await self._load.with_partitions(starts_ns, lambda: self._database.run("write", write))
        return [answers[call.text] for call in calls]

    async def _write(self, session: Session, calls: Sequence[Addition]) -> dict[Text, Exception | None]:
        answers: dict[Text, Exception | None] = {}
        waiting = list(calls)
        for _ in range(_ATTEMPTS):
            await self._place(session, waiting)
            outcomes = {row["span_id"]: row for row in await self._insert(session, waiting)}
            raced = []
            for call in waiting:
                outcome = outcomes.get(call.new.row.span_id)
                if outcome is not None and outcome["is_known"] and outcome["is_same"] is None:
                    # Somebody else, or our own first try of which we did not hear, has stored it since we looked.
                    call.is_named = True
                    raced.append(call)
                else:
                    answers[call.text] = _error(call, outcome)
            self._recent.put((call.text, call.new.row) for call in waiting if call.new.row.span_id not in outcomes)
            if not raced:
                return answers
            waiting = raced
        raise StoreUnavailableError("spans are deleted as fast as they are added")

    async def _insert(self, session: Session, calls: Sequence[Addition]) -> list[Record]:
        # Two processes that add the same spans wait for each other in one order.
        ordered = sorted(calls, key=_row_order)
        named = [call for call in ordered if call.is_named]
        values = {
            **added_span_columns([call.new.row for call in ordered]),
            "has_start": given([call.new.has_start for call in ordered]),
            "named_execution_id": [call.execution_id for call in named],
            "named_trace_id": [UUID(call.new.row.trace_id) for call in named],
            "named_span_id": [call.new.row.span_id for call in named],
            "execution_ids": sorted({call.execution_id for call in ordered}),
            "resource_id": UUID(self._resource.resource_id),
            "scope_id": UUID(SCOPE.scope_id),
            "service": self._resource.service,
        }
        return await session.commit("add_spans", **values)

    async def _place(self, session: Session, calls: Sequence[Addition]) -> None:
        """Put each span below its parent, which may be one of these calls; an unknown one may arrive later."""
        texts = [(call.execution_id, call.new.parent_id) for call in calls if call.new.parent_id is not None]
        if not texts:
            return
        found = await self._parents.find(session, texts)
        here: dict[Text, Addition] = {}
        for call in calls:
            here[call.text] = call
            if call.new.parent_id is None:
                continue
            text = call.execution_id, call.new.parent_id
            if text in found:
                call.new.place(*found[text])
            elif text in here:
                call.new.place(here[text].new.row.trace_id, here[text].new.row.span_id)
            else:
                call.new.place(call.own_trace_id, added_span_id(*text))


def _error(call: Addition, outcome: Record | None) -> Exception | None:
    """Return what is wrong with a call, given what is told of those that were not stored."""
    if outcome is None:
        return None
    if not outcome["is_known"]:
        return UnknownExecutionError(call.execution_id)
    return None if outcome["is_same"] else SpanExistsError(call.execution_id, call.added_id)


def _family(call: Addition) -> str:
    return call.execution_id


def _key(call: Addition) -> Text:
    return call.text


def _row_order(call: Addition) -> tuple[bytes, int]:
    return call.new.row.trace_id, call.new.row.span_id
