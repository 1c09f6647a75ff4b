"""Everything that one store holds, into another."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

from msgspec import Struct, field

from spane_otel.errors import ConfigurationError
from spane_otel.records import WriteResult
from spane_otel.stores.opening import open_store
from spane_otel.stores.protocols import Store

PAGE: Final = 500
AT_ONCE: Final = 8
"""Executions that are on their way at the same time."""

T = TypeVar("T")


class CopyReport(Struct):
    """How much was copied, and what the target refused."""

    workflows: int = 0
    executions: int = 0
    spans: int = 0
    logs: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    """Spans and logs that were not stored, by reason."""

    def add(self, result: WriteResult) -> None:
        """Count what became of a batch."""
        self.spans += result.spans_stored
        self.logs += result.logs_stored
        for each in result.rejected:
            self.rejected[each.reason] = self.rejected.get(each.reason, 0) + 1


Progress = Callable[[CopyReport], None]


async def copy_store(
    source: Store | str, target: Store | str, *, progress: Progress | None = None, schema: str = "spane"
) -> CopyReport:
    """Copy all workflows, executions, spans and logs, with the same ids, and return how many there were.

    A store is given open and stays open; a URL is opened with `schema`, and closed. What the target holds already
    stays, but executions of the same id are replaced, so copying twice is the same as once. Leases and heartbeats are
    not copied. What is written to the source meanwhile may be missed: copy again once nobody writes. `progress` is
    called now and then with the report so far.

    Raises:
        ConfigurationError: source and target are the same.
        ConflictError: the target holds another definition under the number of one of the source's versions.
        StoreUnavailableError: one of them does not answer; what was copied stays, and copying again goes on.

    """
    if source is target or (isinstance(source, str) and source == target):
        raise ConfigurationError("source and target are the same store")
    report = CopyReport()
    async with AsyncExitStack() as stack:
        origin, copy = [
            await stack.enter_async_context(open_store(each, schema=schema)) if isinstance(each, str) else each
            for each in (source, target)
        ]
        for step in (_copy_workflows, _copy_executions, _copy_telemetry):
            async for _ in step(origin, copy, report):
                if progress is not None:
                    progress(report)
    return report


async def _copy_workflows(source: Store, target: Store, report: CopyReport) -> AsyncIterator[None]:
    cursor: str | None = None
    while True:
        page = await source.list_workflows(active_only=False, limit=PAGE, cursor=cursor)
        for summary in page:
            archive = await source.read_workflow(summary.id)
            if archive is not None:  # else it went meanwhile
                await target.write_workflow(archive)
                report.workflows += 1
        yield
        cursor = page.next
        if cursor is None:
            return


async def _copy_executions(source: Store, target: Store, report: CopyReport) -> AsyncIterator[None]:
    async def copy(execution_id: str) -> None:
        archive = await source.read_execution(execution_id)
        if archive is not None:
            await target.write_execution(archive)
            report.executions += 1

    cursor: str | None = None
    while True:
        page = await source.list_executions(limit=PAGE, cursor=cursor)
        ids = [each.execution_id for each in page]
        for start in range(0, len(ids), AT_ONCE):
            await _gather(copy(each) for each in ids[start : start + AT_ONCE])
        yield
        cursor = page.next
        if cursor is None:
            return


async def _copy_telemetry(source: Store, target: Store, report: CopyReport) -> AsyncIterator[None]:
    cursor: str | None = None
    while True:
        archive = await source.read_telemetry(limit=PAGE, cursor=cursor)
        report.add(await target.write_telemetry(archive.batch))
        yield
        cursor = archive.next
        if cursor is None:
            return


async def _gather(calls: Iterable[Any]) -> None:
    """Await all; if one fails, the others end before its error is raised."""
    tasks = [asyncio.ensure_future(each) for each in calls]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
