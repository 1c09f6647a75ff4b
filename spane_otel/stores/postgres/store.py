"""`PostgresExecutionStore`: each noun in a file of its own, here in one store."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from spane_otel.clock import Clock, SystemClock
from spane_otel.records import (
    Batch,
    Change,
    Counts,
    Execution,
    ExecutionStatus,
    LogPage,
    Page,
    StoreStats,
    Trace,
    TraceSummary,
    WriteResult,
)
from spane_otel.stores.admission import ACCEPT_PAST_DAYS
from spane_otel.stores.postgres.changes import Changes
from spane_otel.stores.postgres.counts import count_telemetry
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.executions import Executions
from spane_otel.stores.postgres.load import Load
from spane_otel.stores.postgres.logs import Logs
from spane_otel.stores.postgres.processes import Processes
from spane_otel.stores.postgres.traces import Traces
from spane_otel.stores.protocols import StatusFilter

POOL_SIZE: Final = 4
"""Connections for writing, and as many for reading, of each event loop that uses the store."""
_COUNTED_EXACTLY: Final = 100_000


class PostgresExecutionStore:
    """Keeps everything in one schema of a PostgreSQL database (15 or newer) that `spane-otel migrate` has made.

    Connects when first used; may be used from any thread and event loop, and after a fork. A call that meets a lost
    connection, a failover or a conflict is repeated for some seconds, then raises `StoreUnavailableError`. A start or
    log time more than `accept_past_days` ago, or more than 24 hours ahead, is rejected as `start_out_of_window`.

    Raises:
        ConfigurationError: `schema` is no name for a schema of ours.

    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "spane",
        pool_size: int = POOL_SIZE,
        clock: Clock | None = None,
        accept_past_days: float = ACCEPT_PAST_DAYS,
    ) -> None:
        clock = clock or SystemClock()
        self._database = Database(url, schema, pool_size)
        self._executions = Executions(self._database, clock)
        self._traces = Traces(self._database)
        self._logs = Logs(self._database)
        self._changes = Changes(self._database)
        self._load = Load(self._database, Processes(self._database), clock, accept_past_days)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def address(self) -> str:
        return self._database.address

    async def aclose(self) -> None:
        await self._database.pools.aclose()

    async def ping(self) -> None:
        await self._database.check()

    async def stats(self) -> StoreStats:
        """Return how much is stored; beyond 100,000 spans or logs their numbers are the planner's estimates."""

        async def read(session: Session) -> StoreStats:
            (row,) = await session.fetch("read_statistics", bound=_COUNTED_EXACTLY)
            spans, logs = (
                max(row[f"estimated_{each}"], row[each]) if row[each] > _COUNTED_EXACTLY else row[each]
                for each in ("spans", "logs")
            )
            return StoreStats(executions=row["executions"], spans=spans, logs=logs, approx_bytes=row["bytes"])

        return await self._database.run("read", read)

    # --- writers ---

    async def write(self, batch: Batch) -> WriteResult:
        return await self._load.write(batch)

    async def create_execution(
        self,
        workflow_id: str,
        parent_execution_id: str | None = None,
        depth: int = 0,
        initial_data: Any = None,
        *,
        execution_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        return await self._executions.create(
            workflow_id, parent_execution_id, depth, initial_data, execution_id, metadata
        )

    async def set_execution_status(
        self, execution_id: str, status: ExecutionStatus, *, error: str | None = None
    ) -> bool:
        return await self._executions.set_status(execution_id, status, error)

    async def delete_execution(self, execution_id: str) -> bool:
        self._load.forget_execution(execution_id)
        try:
            return await self._executions.delete(execution_id)
        finally:
            self._load.forget_execution(execution_id)  # also what was written meanwhile

    # --- readers ---

    async def get_execution(self, execution_id: str) -> Execution | None:
        return await self._executions.get(execution_id)

    async def list_executions(
        self,
        workflow_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
        *,
        status: StatusFilter | None = None,
        since: int | None = None,
        until: int | None = None,
        cursor: str | None = None,
    ) -> Page[Execution]:
        return await self._executions.list(workflow_id, limit, offset, status, since, until, cursor)

    async def get_execution_count(self, workflow_id: str | None = None) -> int:
        return await self._executions.count(workflow_id)

    async def count_telemetry(self, execution_ids: Sequence[str]) -> dict[str, Counts]:
        return await self._database.run("read", lambda session: count_telemetry(session, execution_ids))

    async def get_trace(self, execution_id: str, *, include_children: bool = False) -> Trace | None:
        return await self._traces.get(execution_id, include_children=include_children)

    async def get_trace_by_id(self, trace_id: str) -> Trace | None:
        return await self._traces.get_by_id(trace_id)

    async def list_traces(
        self,
        *,
        service: str | None = None,
        name: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[TraceSummary]:
        return await self._traces.list(service, name, since, until, limit, cursor)

    async def get_logs(
        self,
        execution_id: str,
        *,
        level: str | None = None,
        node_id: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LogPage:
        return await self._logs.get(execution_id, level, node_id, text, limit, cursor)

    async def list_logs(
        self,
        *,
        trace_id: str | None = None,
        span_id: str | None = None,
        level: str | None = None,
        text: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LogPage:
        return await self._logs.list(trace_id, span_id, level, text, since, until, limit, cursor)

    async def poll_changes(self, cursor: str | None = None) -> tuple[str, list[Change]]:
        return await self._changes.poll(cursor)
