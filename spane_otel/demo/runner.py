"""Runs executions of the demo's workflow on an engine, each in a folder of its own, to their end."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from spane_otel.demo.analysis import Analysis
from spane_otel.demo.definition import FIRST_NOTES, SECOND_NOTES, WORKFLOW, analyse_stdlib, parse_package
from spane_otel.demo.executors import Executors
from spane_otel.engine import WorkflowEngine
from spane_otel.errors import SpaneError
from spane_otel.records import Execution, ExecutionStatus
from spane_otel.stores.protocols import Store

LEASE_SECONDS: Final = 10.0
"""So long after this process was killed, another one goes on with its executions."""
_FOLDER: Final = "spane-demo-"
_STOP_SECONDS: Final = 5.0

_log: Final = logging.getLogger(__name__)


class Outcome(Struct, frozen=True):
    """How an execution ended."""

    execution_id: str
    status: ExecutionStatus
    error: str | None = None


class Runner:
    """The demo's workflow on an engine over `store`; an async context manager.

    `retry_after_ms` is the definition's, see `analyse_stdlib`.
    """

    def __init__(self, store: Store, *, retry_after_ms: int = 1_000) -> None:
        self._store: Final = store
        self._retry_after_ms: Final = retry_after_ms
        self._engine: Final = WorkflowEngine(Executors().registry, store, lease_seconds=LEASE_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._engine.aclose(_STOP_SECONDS)

    async def register(self) -> None:
        """Register the first version of the workflow, where the store has none; else the second, which it had."""
        await self._engine.register_workflow(parse_package(), FIRST_NOTES)
        if await self._store.get_workflow_version(WORKFLOW) is None:
            await self._engine.register_workflow(analyse_stdlib(retry_after_ms=self._retry_after_ms), FIRST_NOTES)
        else:
            await self.register_second()

    async def register_second(self) -> None:
        """Register the second version, which executions are pinned to from now on."""
        definition = analyse_stdlib(retry_after_ms=self._retry_after_ms, with_duplicates=True)
        await self._engine.register_workflow(definition, SECOND_NOTES)

    async def run(self, analysis: Analysis) -> Outcome:
        """Run one execution to its end; how it failed is in the outcome, never raised.

        Who is cancelled meanwhile has cancelled the execution when this returns.

        Raises:
            StoreError: the store did not take the execution.

        """
        folder = tempfile.mkdtemp(prefix=_FOLDER)
        try:
            given = msgspec.to_builtins(replace(analysis, folder=folder))
            execution_id = await self._engine.start(WORKFLOW, given)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return await self._finish(execution_id, folder, analysis.deadline_s)

    async def go_on(self) -> None:
        """Await the executions of a demo that is gone, which the engine takes over, and remove their folders."""
        running = await self._store.list_executions(WORKFLOW, status="running", limit=1_000)
        folders = {each.execution_id: folder for each in running if (folder := _folder_of(each)) is not None}
        await asyncio.gather(*(self._finish(*each, deadline_s=None) for each in folders.items()))

    async def _finish(self, execution_id: str, folder: str, deadline_s: float | None) -> Outcome:
        try:
            async with asyncio.timeout(deadline_s):
                await self._engine.wait(execution_id)
        except TimeoutError:
            await self._cancel(execution_id)
        except asyncio.CancelledError:
            await self._cancel(execution_id)
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # whatever a cancelled thread still does inside
        execution = await self._store.get_execution(execution_id)
        if execution is None:
            return Outcome(execution_id, "cancelled", "it was deleted")
        return Outcome(execution_id, execution.status, execution.error)

    async def _cancel(self, execution_id: str) -> None:
        """Cancel an execution and wait until nothing of it runs; one that has ended meanwhile stays as it is."""
        with contextlib.suppress(SpaneError, TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._engine.cancel(execution_id)
                await self._engine.wait(execution_id)


def _folder_of(execution: Execution) -> str | None:
    """Return the folder of an execution, if it is one of ours in this machine's folder of temporary files."""
    given: Any = execution.initial_data
    folder = given.get("folder") if isinstance(given, dict) else None
    if not isinstance(folder, str) or not Path(folder).name.startswith(_FOLDER):
        return None
    return folder if Path(folder).parent == Path(tempfile.gettempdir()) else None
