"""`PostgresExecutionStore`: each noun in a file of its own, here in one store."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from spane_otel.clock import Clock, SystemClock
from spane_otel.records import (
    Batch,
    Change,
    Counts,
    LogPage,
    Page,
    StoreStats,
    Trace,
    TraceSummary,
    WriteResult,
)
from spane_otel.stores.added import added_resource
from spane_otel.stores.admission import ACCEPT_PAST_DAYS
from spane_otel.stores.postgres.added import AddedTelemetry
from spane_otel.stores.postgres.archives import Archives
from spane_otel.stores.postgres.audit import Audit
from spane_otel.stores.postgres.changes import Changes
from spane_otel.stores.postgres.counts import count_telemetry
from spane_otel.stores.postgres.creation import Creation
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.dead_letters import DeadLetters
from spane_otel.stores.postgres.executions import Executions
from spane_otel.stores.postgres.leases import Leases
from spane_otel.stores.postgres.load import Load
from spane_otel.stores.postgres.logs import Logs
from spane_otel.stores.postgres.node_results import NodeResults
from spane_otel.stores.postgres.pool import PoolSettings
from spane_otel.stores.postgres.processes import Processes
from spane_otel.stores.postgres.relatives import Relatives
from spane_otel.stores.postgres.timeouts import Timeouts
from spane_otel.stores.postgres.traces import Traces
from spane_otel.stores.postgres.workflows import Workflows

_COUNTED_EXACTLY: Final = 100_000


class PostgresExecutionStore(
    Workflows,
    Creation,
    Executions,
    Relatives,
    Timeouts,
    NodeResults,
    DeadLetters,
    Audit,
    Leases,
    AddedTelemetry,
    Archives,
):
    """Keeps everything in one schema of a PostgreSQL database (15 or newer) that `spane-otel migrate` has made.

    Connects when first used; may be used from any thread and event loop, and after a fork. A call that meets a lost
    connection, a failover or a conflict is repeated for some seconds, then raises `StoreUnavailableError`. A start or
    log time more than `accept_past_days` ago, or more than 24 hours ahead, is rejected as `start_out_of_window`.
    `actor` is who the audit names where no worker is; `service_name` the service of spans and logs written by hand.

    `pool_size` is how many connections there are at most in each event loop that uses the store: half of them for
    reading, a quarter each for state and for telemetry, at least one each. One that is idle for `idle_seconds` is
    closed; making one, or waiting for one that is in use, takes at most `connect_seconds`, a statement at most
    `statement_seconds`. A pooler in between, such as PgBouncer in transaction mode, is noticed and lived with.

    Raises:
        ConfigurationError: `schema` is no name for a schema of ours, or a number makes no sense.

    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "spane",
        pool_size: int = 20,
        idle_seconds: float = 20.0,
        connect_seconds: float = 10.0,
        statement_seconds: float = 10.0,
        clock: Clock | None = None,
        accept_past_days: float = ACCEPT_PAST_DAYS,
        actor: str | None = None,
        service_name: str = "spane",
    ) -> None:
        self._clock = clock or SystemClock()
        settings = PoolSettings(
            size=pool_size,
            idle_seconds=idle_seconds,
            connect_seconds=connect_seconds,
            statement_seconds=statement_seconds,
        )
        self._database = Database(url, schema, settings)
        self._actor = actor
        self._resource = added_resource(service_name)
        self._accept_past_days = accept_past_days
        self._traces = Traces(self._database)
        self._logs = Logs(self._database)
        self._changes = Changes(self._database)
        self._load = Load(self._database, Processes(self._database), self._clock, accept_past_days)

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

    async def identify(self) -> str:
        """Return a text that names this data as no other is called, under whatever address it is reached."""

        async def read(session: Session) -> str:
            (row,) = await session.fetch("identify_schema", schema=session.schema)
            identity: str = row["identity"]
            return identity

        return await self._database.run("read", read)

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

    # --- readers ---

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
