"""The executions that run here: taken up, handed to whoever runs their nodes, and left to others at the end."""

import asyncio
import contextlib
import logging
import time
from typing import Final

from spane_otel.clock import SECOND
from spane_otel.engine.run import STOP_SECONDS, Before, Run
from spane_otel.engine.runtime import Runtime
from spane_otel.errors import (
    EngineClosedError,
    InvalidTransitionError,
    InvalidWorkflowError,
    StoreError,
    UnknownExecutionError,
    UnknownWorkflowError,
)
from spane_otel.records import Execution
from spane_otel.stores.transitions import FINAL_STATUSES

RELEASE_SECONDS: Final = 2.0
"""A store that does not answer delays the end of an engine by no more than this: leases run out by themselves."""

_log: Final = logging.getLogger(__name__)


class Runner:
    """Has executions run and their nodes begin, at most `concurrency` of them at once."""

    def __init__(self, runtime: Runtime, *, concurrency: int, max_executions: int) -> None:
        self._runtime: Final = runtime
        self._max_executions: Final = max_executions
        self._concurrency: Final = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._opening: Final[dict[str, asyncio.Task[None]]] = {}
        self._endings: Final[set[asyncio.Task[None]]] = set()
        self._dispatcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._slots = asyncio.Semaphore(self._concurrency)
        self._runtime.runs.clear()  # those of an event loop that is closed
        self._dispatcher = asyncio.create_task(self._dispatch(), name="spane-engine_dispatch")

    @property
    def room(self) -> int:
        """How many more executions may be taken over."""
        return self._max_executions - len(self._runtime.runs) - len(self._opening)

    def is_ours(self, execution_id: str) -> bool:
        """Whether an execution runs here, or is about to."""
        return execution_id in self._runtime.runs or execution_id in self._opening

    async def take_up(self, execution_id: str, *, is_new: bool = False) -> None:
        """Have an execution run here, unless it does already, has ended, or somebody else runs it.

        `is_new`: it was made just now, with this engine's lease.

        Raises:
            UnknownExecutionError: there is no such execution.
            StoreError: the store does not give what is needed.

        """
        if self._runtime.is_closed:
            raise EngineClosedError("the engine has been closed")
        if execution_id in self._runtime.runs:
            return
        task = self._opening.get(execution_id)
        if task is None:
            task = asyncio.create_task(self._open(execution_id, is_new=is_new))
            self._opening[execution_id] = task
            task.add_done_callback(lambda _: self._opening.pop(execution_id, None))
        await asyncio.shield(task)

    async def take_over(self, execution_id: str) -> None:
        """Take up an execution that was claimed; one that can't be run here is given back."""
        try:
            await self.take_up(execution_id)
        except (StoreError, EngineClosedError) as error:
            _log.warning("execution %r can't be taken over now: %s", execution_id, error)
            await self._release(execution_id)

    async def close(self, timeout: float) -> None:
        """Let what runs end for at most `timeout` seconds, then give up the rest."""
        self._runtime.is_closed = True
        deadline = time.monotonic() + timeout
        if self._opening:
            await asyncio.wait(self._opening.values(), timeout=timeout)
        while self._runtime.runs and (left := deadline - time.monotonic()) > 0:
            for run in list(self._runtime.runs.values()):
                if run.is_idle:
                    run.give_up("the engine is closed")
            await self._wait_for_endings(min(left, 0.1), asyncio.FIRST_COMPLETED)
        for run in list(self._runtime.runs.values()):
            run.give_up("the engine is closed")
        await self._wait_for_endings(STOP_SECONDS + RELEASE_SECONDS, asyncio.ALL_COMPLETED)
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)

    async def _wait_for_endings(self, seconds: float, return_when: str) -> None:
        if self._endings:
            await asyncio.wait(self._endings, timeout=seconds, return_when=return_when)

    # --- taking up ---

    async def _open(self, execution_id: str, *, is_new: bool) -> None:
        runtime = self._runtime
        if not is_new and not await runtime.store.acquire_lease(execution_id, runtime.lease):
            return
        record = await runtime.store.get_execution(execution_id)
        if record is None:
            raise UnknownExecutionError(execution_id)
        if record.status in FINAL_STATUSES:
            await self._release(execution_id)
            return
        try:
            version = await runtime.versions.load_pinned(record)
        except (InvalidWorkflowError, UnknownWorkflowError) as error:
            await self._refuse(record, error, is_new=is_new)
            return
        before = None
        if not is_new:
            before = await self._read_before(record)
            record = await runtime.store.get_execution(execution_id) or record  # paused meanwhile, perhaps
        run = Run(runtime, record, version, before)
        runtime.runs[execution_id] = run
        runtime.metrics.execution_started(record.workflow_id or "")
        run.start()
        ending = asyncio.create_task(self._follow(run))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _read_before(self, record: Execution) -> Before | None:
        store = self._runtime.store
        results = await store.get_node_results(record.execution_id)
        trace = await store.get_trace(record.execution_id) if record.trace_ids else None
        return Before(results, trace) if results or trace is not None else None

    async def _refuse(self, record: Execution, error: Exception, *, is_new: bool) -> None:
        """Fail a new execution that can't be run here; leave one that was begun elsewhere to those who can run it."""
        runtime = self._runtime
        _log.warning("execution %r can't be run here: %s", record.execution_id, error)
        if is_new or record.workflow_version is None:
            with contextlib.suppress(InvalidTransitionError):
                await runtime.store.set_execution_status(record.execution_id, "failed", error=str(error))
        elif record.workflow_id is not None:
            runtime.versions.forget(record.workflow_id)
        await self._release(record.execution_id)

    async def _follow(self, run: Run) -> None:
        """Wait for the end of a run; where it was given up, give its lease back."""
        runtime, record = self._runtime, run.record
        ending = await run.ended()
        if ending.status is None:
            runtime.metrics.execution_given_up(record.workflow_id or "")
        else:
            seconds = (runtime.clock.now_ns() - record.started_ns) / SECOND
            runtime.metrics.execution_ended(record.workflow_id or "", ending.status, seconds)
            return  # the lease of an execution that has ended is renewed by nobody, and runs out
        await self._release(record.execution_id)

    async def _release(self, execution_id: str) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._runtime.store.release_lease(execution_id, self._runtime.lease.holder)
        except (StoreError, TimeoutError) as error:
            _log.warning("the lease of execution %r runs out by itself: %s", execution_id, error)

    # --- nodes ---

    async def _dispatch(self) -> None:
        """Ask the queue for the next node whenever one more may run."""
        while True:
            await self._slots.acquire()
            try:
                job = await self._runtime.queue.get()
            except BaseException:
                self._slots.release()
                raise
            run = self._runtime.runs.get(job.execution_id)
            task = None if run is None else run.begin(job)
            if task is None:
                self._slots.release()
            else:
                task.add_done_callback(lambda _: self._slots.release())
