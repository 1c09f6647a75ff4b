"""The load path: one batch in, committed, and what became of each row (architecture.md, *Load path*)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

from asyncpg import Record
from msgspec.structs import replace

from spane_otel.clock import Clock
from spane_otel.derivation import execution_trace_rows
from spane_otel.errors import StoreUnavailableError
from spane_otel.records import Batch, Change, LogRow, ResourceRow, ScopeRow, SpanRow, WriteResult
from spane_otel.stores.admission import Refusal, Window, window_at
from spane_otel.stores.postgres.admitted import Admitted, Outcome, Row, admit, depends_on, key_of, result_of, span_key
from spane_otel.stores.postgres.bisection import isolate
from spane_otel.stores.postgres.columns import (
    change_columns,
    log_columns,
    resource_columns,
    scope_columns,
    span_columns,
)
from spane_otel.stores.postgres.database import Database, MissingPartitionError, PoisonError, Session
from spane_otel.stores.postgres.derived import (
    Derived,
    Links,
    count_moved,
    derive_executions,
    remember_rows,
    unknown_rows,
)
from spane_otel.stores.postgres.known import Known
from spane_otel.stores.postgres.partitions import Partitions
from spane_otel.stores.postgres.processes import Processes

T = TypeVar("T")


class Load:
    """Writes batches."""

    def __init__(self, database: Database, processes: Processes, clock: Clock, accept_past_days: float) -> None:
        self._database = database
        self._processes = processes
        self._partitions = Partitions(database)
        self._clock = clock
        self._accept_past_days = accept_past_days
        self._links: Links = Known()
        self._resources: Known[bytes, bool] = Known()
        self._scopes: Known[bytes, bool] = Known()

    async def write(self, batch: Batch) -> WriteResult:
        """Commit `batch`; see `TelemetrySink.write`."""
        if batch.heartbeats:
            await isolate(batch.heartbeats, self._processes.hear)
        return await self._write(batch, window_at(self._clock.now_ns(), self._accept_past_days))

    async def restore(self, batch: Batch) -> WriteResult:
        """Commit the rows of `batch` and nothing that follows from them; see `Archives.write_telemetry`."""
        window = Window(0, window_at(self._clock.now_ns()).latest_ns)
        return await self._write(replace(batch, spans=[replace(row, stamp=None) for row in batch.spans]), window)

    async def _write(self, batch: Batch, window: Window) -> WriteResult:
        try:
            admitted = admit(batch, window, is_strict=False)
            outcome = Outcome()
            await self._prepare(batch, admitted)
            await self._commit_all(admitted.rows(), admitted, outcome)
        except PoisonError:
            # A value is bad. Look at every row closely, then let the database find what is left, by halves.
            admitted = admit(batch, window, is_strict=True)
            outcome = await self._write_poisoned(batch, admitted)
        return result_of(batch, admitted, outcome)

    async def introduce(self, resource: ResourceRow, scope: ScopeRow) -> None:
        """Store what rows written by hand point to, once."""
        if self._resources.get(resource.resource_id) is None:
            await self._insert_resources([resource])
        if self._scopes.get(scope.scope_id) is None:
            await self._insert_scopes([scope])

    async def with_partitions(self, starts_ns: Sequence[int], commit: Callable[[], Awaitable[T]]) -> T:
        """Return what `commit` returns, after making the partitions that it needs."""
        await self._partitions.ensure(starts_ns)
        try:
            return await commit()
        except MissingPartitionError:
            # A day that was there has been dropped since: believe nothing, make them all, once.
            self._partitions.forget()
            await self._partitions.ensure(starts_ns)
            try:
                return await commit()
            except MissingPartitionError as error:
                raise StoreUnavailableError("partitions are dropped as fast as they are made") from error

    def forget_execution(self, execution_id: str) -> None:
        """Believe no longer that an execution's links are there: it was deleted."""
        self._links.forget(lambda key: key[0] == execution_id)

    async def _write_poisoned(self, batch: Batch, admitted: Admitted) -> Outcome:
        outcome = Outcome()
        for refused_row, error in await self._isolate_preparation(batch, admitted):
            refusal = Refusal(error.reason, str(error))
            for key, row in admitted.items():
                if depends_on(row, refused_row):
                    outcome.refused[key] = refusal
        rows = [row for key, row in admitted.items() if key not in outcome.refused]

        async def commit(part: Sequence[Row]) -> None:
            await self._commit_all(part, admitted, outcome)

        for row, error in await isolate(rows, commit):
            outcome.refused[key_of(row)] = Refusal(error.reason, str(error))
        return outcome

    async def _prepare(self, batch: Batch, admitted: Admitted) -> None:
        """Store what rows point to, in short transactions of their own, before the rows."""
        resources, scopes, processes = self._unknown(batch, admitted)
        if resources:
            await self._insert_resources(resources)
        if scopes:
            await self._insert_scopes(scopes)
        if processes:
            await self._processes.introduce(processes)

    async def _isolate_preparation(
        self, batch: Batch, admitted: Admitted
    ) -> list[tuple[ResourceRow | ScopeRow | str, PoisonError]]:
        """Do as `_prepare`, and return what the database refuses, each with its error."""
        resources, scopes, processes = self._unknown(batch, admitted)
        return [
            *await isolate(resources, self._insert_resources),
            *await isolate(scopes, self._insert_scopes),
            *await isolate(processes, self._processes.introduce),
        ]

    def _unknown(self, batch: Batch, admitted: Admitted) -> tuple[list[ResourceRow], list[ScopeRow], list[str]]:
        rows = admitted.rows()
        resource_ids = sorted(self._resources.unknown(row.resource_id for row in rows))
        scope_ids = sorted(self._scopes.unknown(row.scope_id for row in rows))
        processes = {row.process_id for row in rows if row.process_id is not None}
        return (
            [batch.resources[each] for each in resource_ids if each in batch.resources],
            [batch.scopes[each] for each in scope_ids if each in batch.scopes],
            sorted(processes),
        )

    async def _insert_resources(self, rows: Sequence[ResourceRow]) -> None:
        async def insert(session: Session) -> None:
            await session.execute("insert_resources", **resource_columns(rows))

        await self._database.run("ingest", insert)
        self._resources.add((row.resource_id, True) for row in rows)

    async def _insert_scopes(self, rows: Sequence[ScopeRow]) -> None:
        async def insert(session: Session) -> None:
            await session.execute("insert_scopes", **scope_columns(rows))

        await self._database.run("ingest", insert)
        self._scopes.add((row.scope_id, True) for row in rows)

    async def _commit_all(self, rows: Sequence[Row], admitted: Admitted, outcome: Outcome) -> None:
        """Commit `rows` in one transaction, after their partitions, and add to `outcome` what was written."""
        if not rows:
            return
        spans = [row for row in rows if isinstance(row, SpanRow)]
        logs = [row for row in rows if isinstance(row, LogRow)]
        lesser = admitted.lesser
        stamped = [*spans, *(each for row in spans for each in lesser.get(span_key(row), ()))] if lesser else spans
        starts_ns = [*(row.start_ns for row in spans), *(row.time_ns for row in logs)]
        await self.with_partitions(starts_ns, lambda: self._commit(spans, stamped, logs, outcome))

    async def _commit(
        self, spans: Sequence[SpanRow], stamped: Sequence[SpanRow], logs: Sequence[LogRow], outcome: Outcome
    ) -> None:
        links = unknown_rows(self._links, execution_trace_rows(stamped))

        async def commit(session: Session) -> tuple[int, int]:
            async with session.transaction():
                derived = await derive_executions(session, links) if links else Derived()
                written_spans = await _upsert_spans(session, spans) if spans else []
                written_logs = await _insert_logs(session, logs) if logs else []
                changes = _changes(derived.changed_ids, written_spans, written_logs)
                if changes:
                    await session.execute("insert_changes", **change_columns(changes))
                await count_moved(session, derived)
            return len(written_spans), len(written_logs)

        spans_written, logs_written = await self._database.run("ingest", commit)
        remember_rows(self._links, links)
        outcome.spans_written += spans_written
        outcome.logs_written += logs_written


async def _upsert_spans(session: Session, rows: Sequence[SpanRow]) -> list[Record]:
    """Store spans and return what was written. COPY into a temporary table joins here for large batches."""
    return await session.fetch("upsert_spans", **span_columns(rows))


async def _insert_logs(session: Session, rows: Sequence[LogRow]) -> list[Record]:
    return await session.fetch("insert_logs", **log_columns(rows))


def _changes(execution_ids: Sequence[str], spans: Sequence[Record], logs: Sequence[Record]) -> list[Change]:
    """Return what readers are told: each execution, and of each trace its executions, the trace alone if none."""
    return [
        *(Change("execution", execution_id=execution_id) for execution_id in execution_ids),
        *_telemetry_changes("spans", spans),
        *_telemetry_changes("logs", logs),
    ]


def _telemetry_changes(kind: Literal["spans", "logs"], rows: Sequence[Record]) -> list[Change]:
    pairs = {(row["trace_id"], row["execution_id"]) for row in rows}
    stamped = {trace_id for trace_id, execution_id in pairs if execution_id is not None and trace_id is not None}
    return [
        Change(kind, execution_id=execution_id, trace_id=None if trace_id is None else trace_id.hex)
        for trace_id, execution_id in pairs
        if execution_id is not None or trace_id not in stamped
    ]
