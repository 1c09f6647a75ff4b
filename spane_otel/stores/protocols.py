"""The seams of storage: one small protocol per noun.

A *store* implements all of them, a *sink* only `TelemetrySink`. Keywords in, records out, times in nanoseconds.
Readers return None or an empty page for an unknown id; writers raise a `NotFoundError`. A method that touches the
outside raises `StoreUnavailableError` when the store does not answer in time, and nothing blocks for ever.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

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

StatusFilter = ExecutionStatus | Literal["abandoned"]


class TelemetrySink(Protocol):
    """Takes spans and logs."""

    async def write(self, batch: Batch) -> WriteResult:
        """Commit `batch`, then say what became of each row.

        Every write is idempotent: of several versions of one span the greatest is kept, a log is kept once. A row
        that can't be stored is in `rejected` with its reason and costs no other row. Executions are made and
        finished from stamped spans, heartbeats move their processes' `last_seen_at`.

        Raises:
            StoreUnavailableError: the store does not answer; nothing is known to be stored, write it again.
            StoreError: the store refuses the batch as a whole; writing it again changes nothing.

        """
        ...

    async def aclose(self) -> None:
        """Release connections; safe to call twice."""
        ...


class ExecutionStore(Protocol):
    """Keeps executions."""

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
        """Make an execution with status `running` and return its id, a new UUIDv7 if none is given.

        An execution of this id made from spans becomes the caller's: its origin turns `api`, what is given here
        holds, it is `running` without end, result and error; `started_ns`, workflow version and traces stay. Made
        with the same content before: a no-op.

        A top execution (no parent) has depth 0 and is its own root. With a parent, `depth` 0 counts as 1; the root is
        the parent's root where the parent is known, else the parent at depth 1, else null.

        Raises:
            ExecutionExistsError: it was made by `create_execution` before, with other content.
            InvalidValueError: an id is empty, longer than 256 characters or no storable text, or a payload isn't JSON.

        """
        ...

    async def get_execution(self, execution_id: str) -> Execution | None: ...

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
        """Return executions, newest first, in the order (started_ns, execution_id) descending.

        `since` is inclusive, `until` exclusive, both of the start. `status="abandoned"` lists running executions
        whose process is stale; `"running"` leaves those out. `cursor` is the `next` of the page before.

        Raises:
            InvalidValueError: `cursor` is not one of ours, `status` is none, or `limit` is not in 1..1000.

        """
        ...

    async def get_execution_count(self, workflow_id: str | None = None) -> int: ...

    async def set_execution_status(
        self, execution_id: str, status: ExecutionStatus, *, error: str | None = None
    ) -> bool:
        """Change the status; return whether it changed. The status that it has already is no error: False.

        An execution made from spans becomes the caller's (origin `api`), else a redelivery would undo the change. A
        final status sets `ended_ns` to the store's present. A NUL or a lone surrogate in `error`, which no database
        holds, becomes U+FFFD: an exception's message is no reason to lose the failure.

        Raises:
            UnknownExecutionError: there is no such execution.
            InvalidTransitionError: it is completed, failed or cancelled already.

        """
        ...

    async def delete_execution(self, execution_id: str) -> bool:
        """Delete an execution, its traces that belong to no other, and their logs; return whether it was there.

        Of a trace shared with other executions, what is stamped with this one goes.
        """
        ...

    async def count_telemetry(self, execution_ids: Sequence[str]) -> dict[str, Counts]:
        """Return the numbers of each known execution of a page, at most 10,000 rows of a trace counted."""
        ...


class TraceReader(Protocol):
    """Reads spans."""

    async def get_trace(self, execution_id: str, *, include_children: bool = False) -> Trace | None:
        """Return the spans of an execution, over all its traces; None if there is no such execution."""
        ...

    async def get_trace_by_id(self, trace_id: str) -> Trace | None:
        """Return the spans of a trace by its 32 hex digits; None if there is none, or the id is not one."""
        ...

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
        """Return traces, newest first by their root, each once; filters apply to the root.

        Raises:
            InvalidValueError: `cursor` is not one of ours, or `limit` is not in 1..1000.

        """
        ...


class LogReader(Protocol):
    """Reads logs, in the order (time_ns, seq, log_id)."""

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
        """Return the logs of an execution; an unknown one has none.

        `level` means at least that; `text` is found in the body, without regard to case.
        """
        ...

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
        """Return logs of a trace, a span of it, or of all within a time."""
        ...


class ChangeFeed(Protocol):
    """Says what was written lately."""

    async def poll_changes(self, cursor: str | None = None) -> tuple[str, list[Change]]:
        """Return a new cursor and what was committed since the one given; without one: the present, and nothing.

        A change may be seen twice, never missed within the last hour. Executions whose process went stale or
        revived since `cursor` are among them.
        """
        ...


class Store(TelemetrySink, ExecutionStore, TraceReader, LogReader, ChangeFeed, Protocol):
    """All of it; an async context manager."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def ping(self) -> None:
        """Return if the store answers and can be written to.

        Raises:
            StoreUnavailableError: it does not.
            SchemaError: its schema is missing, older, newer or not ours.

        """
        ...

    async def stats(self) -> StoreStats: ...

    @property
    def address(self) -> str:
        """What to show people: a URL without a password, or `memory`."""
        ...
