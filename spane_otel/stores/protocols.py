"""The seams of storage: one small protocol per noun.

A *store* implements all of them, a *sink* only `TelemetrySink`. Keywords in, records out, times in nanoseconds.
Readers return None or an empty page for an unknown id; writers raise a `NotFoundError`. A method that touches the
outside raises `StoreUnavailableError` when the store does not answer in time, and nothing blocks for ever.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from spane_otel.archives import ExecutionArchive, TelemetryArchive, WorkflowArchive
from spane_otel.records import (
    Batch,
    Change,
    LogPage,
    Page,
    StoreStats,
    Trace,
    TraceSummary,
    WriteResult,
)
from spane_otel.state import DeadLetter, Lease
from spane_otel.stores.state_protocols import ExecutionStore, NodeResultStore, StatusFilter, WorkflowStore

__all__ = [
    "AddedStatus",
    "Archives",
    "ChangeFeed",
    "DeadLetterStore",
    "ExecutionStore",
    "LeaseStore",
    "LogReader",
    "NodeResultStore",
    "StatusFilter",
    "Store",
    "TelemetrySink",
    "TelemetryWriter",
    "TraceReader",
    "WorkflowStore",
]

AddedStatus = Literal["running", "completed", "failed", "skipped", "cancelled"]
"""What a span that is added by hand says of itself; it becomes the span's state."""


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


class TelemetryWriter(Protocol):
    """Takes spans and logs that are written by hand; they are spans and logs like any other."""

    async def add_log(
        self,
        execution_id: str,
        message: str,
        *,
        level: str = "info",
        node_id: str | None = None,
        id: str | None = None,  # noqa: A002 - the name in the API
        time_ns: int | None = None,
        span_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a log record, in whatever status the execution is, and return its id.

        `id` is any text, a new UUIDv7 by default; one that is there in this execution is a no-op. `time_ns` is the
        store's present by default. `span_id` is the text of a span added to this execution, else 16 hex digits.
        `metadata` becomes the record's attributes.

        Raises:
            UnknownExecutionError: there is no such execution.
            InvalidValueError: `level` is none of trace, debug, info, warn, error, fatal; the time is out of the window.

        """
        ...

    async def add_span(
        self,
        execution_id: str,
        *,
        name: str,
        id: str | None = None,  # noqa: A002 - the name in the API
        node_id: str | None = None,
        parent_id: str | None = None,
        start_ns: int | None = None,
        status: AddedStatus = "running",
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a span, in whatever status the execution is, and return its id.

        `id` is any text, a new UUIDv7 by default, kept as given and hashed to the span id. The trace is the parent's,
        where the parent (an added span's text, or 16 hex digits of a span of this execution's traces) is there, else
        the execution's own. `status` becomes the state: completed and skipped have OpenTelemetry's status ok, failed
        has error with `error` as its message, running and cancelled have unset. A final one ends at once.
        `start_ns` is the store's present by default. `metadata` becomes attributes.

        Raises:
            UnknownExecutionError: there is no such execution.
            SpanExistsError: the id is there, added with other content; the same content is a no-op. A start that is
                not given is no part of the content.
            InvalidValueError: the start is out of the window, or `status` is none.

        """
        ...

    async def update_span(
        self,
        execution_id: str,
        span_id: str,
        *,
        end_ns: int | None = None,
        status: AddedStatus | None = None,
        error: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Change a span that was added to this execution: only what is given, `metadata` key by key.

        A final status without `end_ns` ends the span now, if it has not ended. Nothing given is a no-op. Name, node
        and start can't change.

        Raises:
            UnknownExecutionError: there is no such execution.
            UnknownSpanError: no span of this id was added to it.

        """
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


class DeadLetterStore(Protocol):
    """Keeps what failed for good."""

    async def list_dead_letters(
        self,
        *,
        execution_id: str | None = None,
        workflow_id: str | None = None,
        include_retried: bool = False,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[DeadLetter]:
        """Return dead letters, newest first: (failed_ns, dead_letter_id) descending."""
        ...

    async def retry_dead_letter(self, execution_id: str, dead_letter_id: str) -> bool:
        """Make a failed node run again; return whether this call did it. One that was retried already: False.

        In one transaction: the letter is marked, the node's result is no longer final, a failed execution runs again
        (the one way out of `failed`), and its lease, if it has one, is free for whoever claims it.

        Raises:
            UnknownDeadLetterError: there is none.
            InvalidTransitionError: the execution is completed or cancelled.

        """
        ...


class LeaseStore(Protocol):
    """Sees to it that one runner at a time runs an execution, by the store's clock."""

    async def acquire_lease(self, execution_id: str, lease: Lease) -> bool:
        """Take or renew the lease unless another holder's is in force; return whether it is held now.

        Raises:
            UnknownExecutionError: there is no such execution.

        """
        ...

    async def renew_leases(self, lease: Lease) -> list[str]:
        """Renew all that this holder still holds, of executions that have not ended; return the ids of those."""
        ...

    async def release_lease(self, execution_id: str, holder: str) -> None:
        """Give the lease up, for others to claim at once, or for good where the execution has ended."""
        ...

    async def claim_executions(
        self, lease: Lease, *, workflow_ids: Sequence[str] | None = None, limit: int = 10
    ) -> list[str]:
        """Take over running executions whose lease has run out or was given up; return their ids, oldest first.

        Executions that never had a lease belong to nobody's engine and are left alone. Two callers never get the same.
        """
        ...


class Archives(Protocol):
    """Gives and takes all that is held, for copies and exports."""

    async def read_workflow(self, workflow_id: str) -> WorkflowArchive | None: ...

    async def write_workflow(self, archive: WorkflowArchive) -> None:
        """Write versions with their numbers, those that are there already stay.

        Raises:
            ConflictError: a number is there with other content.

        """
        ...

    async def read_execution(self, execution_id: str) -> ExecutionArchive | None: ...

    async def write_execution(self, archive: ExecutionArchive) -> None:
        """Write an execution as it is in the archive, in the place of what is there; its lease is not copied.

        Its workflow's versions are written before, else it is pinned to a number only.
        """
        ...

    async def read_telemetry(
        self, execution_id: str | None = None, *, limit: int = 1_000, cursor: str | None = None
    ) -> TelemetryArchive:
        """Return a part of the spans and logs, of one execution or of all, with their resources and scopes."""
        ...

    async def write_telemetry(self, batch: Batch) -> WriteResult:
        """Do as `write`, however old the rows are; executions and heartbeats are left alone."""
        ...


class Store(
    TelemetrySink,
    TelemetryWriter,
    WorkflowStore,
    ExecutionStore,
    NodeResultStore,
    DeadLetterStore,
    LeaseStore,
    Archives,
    TraceReader,
    LogReader,
    ChangeFeed,
    Protocol,
):
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
