"""Log records that are added by hand: the calls of one moment in one statement and one commit."""

from collections.abc import Sequence
from itertools import count
from typing import Final

from asyncpg.pgproto.pgproto import UUID
from msgspec import Struct

from spane_otel.errors import UnknownExecutionError
from spane_otel.ids import added_span_id
from spane_otel.records import LogRow, ResourceRow
from spane_otel.stores.added import SCOPE
from spane_otel.stores.postgres.columns import added_log_columns
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.group import Group
from spane_otel.stores.postgres.load import Load
from spane_otel.stores.postgres.parents import Parents, Text

_SEQ_LIMIT: Final = 2**31


class Addition(Struct):
    """One call of `add_log`."""

    execution_id: str
    is_named: bool
    """The caller chose the id, so that the record may be there."""
    row: LogRow
    span_id: str | None
    own_key: bytes


class AddedLogs:
    """Adds log records to executions."""

    def __init__(self, database: Database, load: Load, resource: ResourceRow, parents: Parents) -> None:
        self._database = database
        self._load = load
        self._resource = resource
        self._parents = parents
        self._seq = count()
        self._group = Group(self._commit, family=_family, key=_key)

    async def add(self, execution_id: str, row: LogRow, span_id: str | None, *, is_named: bool) -> None:
        """Store a log record, unless its id is there; see `TelemetryWriter.add_log`."""
        row.seq = next(self._seq) % _SEQ_LIMIT
        await self._group.run(Addition(execution_id, is_named, row, span_id, row.trace_key))

    async def _commit(self, calls: Sequence[Addition]) -> list[Exception | None]:
        await self._load.introduce(self._resource, SCOPE)
        times_ns = [call.row.time_ns for call in calls]
        unknown = await self._load.with_partitions(
            times_ns, lambda: self._database.run("write", lambda session: self._write(session, calls))
        )
        return [UnknownExecutionError(call.execution_id) if call.execution_id in unknown else None for call in calls]

    async def _write(self, session: Session, calls: Sequence[Addition]) -> set[str]:
        """Store what is new and return the executions that there are not."""
        await self._place(session, calls)
        ordered = sorted(calls, key=_row_order)
        named = [call for call in ordered if call.is_named]
        rows = await session.commit(
            "add_logs",
            **added_log_columns([call.row for call in ordered]),
            named_execution_id=[call.execution_id for call in named],
            named_own_key=[UUID(call.own_key) for call in named],
            named_log_id=[UUID(call.row.log_id) for call in named],
            execution_ids=sorted({call.execution_id for call in ordered}),
            resource_id=UUID(self._resource.resource_id),
            scope_id=UUID(SCOPE.scope_id),
            service=self._resource.service,
        )
        return {row["execution_id"] for row in rows}

    async def _place(self, session: Session, calls: Sequence[Addition]) -> None:
        """Put each record beside its span; an unknown one may arrive later in the execution's own trace."""
        texts = [(call.execution_id, call.span_id) for call in calls if call.span_id is not None]
        if not texts:
            return
        found = await self._parents.find(session, texts)
        for call in calls:
            if call.span_id is None:
                continue
            text: Text = call.execution_id, call.span_id
            trace_id, span_id = found.get(text) or (call.own_key, added_span_id(*text))
            call.row.trace_id = call.row.trace_key = trace_id
            call.row.span_id = span_id


def _family(call: Addition) -> str:
    return call.execution_id


def _key(call: Addition) -> bytes:
    return call.row.log_id


def _row_order(call: Addition) -> tuple[bytes, bytes]:
    return call.row.trace_key, call.row.log_id
