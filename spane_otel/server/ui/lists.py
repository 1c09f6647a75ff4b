"""The two lists: executions and traces."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from spane_otel.records import Counts, Execution, TraceSummary
from spane_otel.server.ui.failures import ErrorText, split_error
from spane_otel.stores.protocols import Store

PAGE_ROWS: Final = 100
READ_PAGES: Final = 6
"""Pages read at most to fill one page of top executions, where most executions are inside others."""


class ExecutionLine(Struct, frozen=True):
    """A row of the list of executions."""

    execution: Execution
    counts: Counts
    error: ErrorText | None

    @property
    def status(self) -> str:
        """The status shown: *abandoned* where it is running and its process is gone."""
        return "abandoned" if self.execution.abandoned_since_ns is not None else self.execution.status

    @property
    def duration_ns(self) -> int | None:
        """From start to end; of an abandoned one to the last heartbeat; None while it runs."""
        end_ns = self.execution.ended_ns or self.execution.abandoned_since_ns
        return None if end_ns is None else max(end_ns - self.execution.started_ns, 0)


class ExecutionList(Struct, frozen=True):
    """A page of executions, newest first."""

    lines: list[ExecutionLine]
    next: str | None
    with_inner: bool
    """Whether executions inside others are listed too."""


class TraceList(Struct, frozen=True):
    """A page of traces, newest first."""

    lines: Sequence[TraceSummary]
    next: str | None


async def list_executions(store: Store, *, cursor: str | None, with_inner: bool) -> ExecutionList:
    """Return a page of executions with their numbers; without `with_inner` only those that no other started."""
    found: list[Execution] = []
    position = cursor
    for _ in range(READ_PAGES):
        page = await store.list_executions(limit=PAGE_ROWS, cursor=position)
        position = page.next
        found += [each for each in page if with_inner or each.parent_execution_id is None]
        if position is None or len(found) >= PAGE_ROWS or with_inner:
            break
    counts = await store.count_telemetry([each.execution_id for each in found]) if found else {}
    lines = [ExecutionLine(each, counts.get(each.execution_id, Counts()), split_error(each.error)) for each in found]
    return ExecutionList(lines, position, with_inner)


async def list_traces(store: Store, *, cursor: str | None) -> TraceList:
    """Return a page of traces."""
    page = await store.list_traces(limit=PAGE_ROWS, cursor=cursor)
    return TraceList(page.items, page.next)
