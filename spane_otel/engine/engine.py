"""`WorkflowEngine`: runs workflows of a store in this process, on asyncio."""

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from msgspec import UNSET

from spane_otel.clock import SECOND
from spane_otel.engine.breakers import BreakerRegistry
from spane_otel.engine.keeping import Keeping
from spane_otel.engine.metrics import MetricsCollector, NoMetrics
from spane_otel.engine.nesting import Nesting
from spane_otel.engine.queue import InProcessQueue, NodeQueue
from spane_otel.engine.recording import Recording
from spane_otel.engine.registry import NodeRegistry
from spane_otel.engine.run import Ending
from spane_otel.engine.runner import Runner
from spane_otel.engine.runtime import Places, Runtime
from spane_otel.engine.timing import EngineClock, SystemEngineClock
from spane_otel.engine.versions import Versions
from spane_otel.errors import EngineClosedError, EngineError, UnknownExecutionError
from spane_otel.graph import load_workflow
from spane_otel.state import ExecutionResult, Lease, Workflow
from spane_otel.stores.cached.versions import WorkflowCacheOptions
from spane_otel.stores.protocols import Store
from spane_otel.stores.transitions import FINAL_STATUSES

RECORDING_SECONDS: Final = 5.0
"""What is left of spans and logs when an engine is closed is written for no longer."""


class WorkflowEngine:
    """Runs workflows on asyncio: each node when the nodes before it have come to something, from any store.

    The state is the store's: an execution whose process is gone goes on in another engine, or in this one's next
    life, from its node results; a node whose final result is written never runs again. A lease sees to it that no two
    engines run one execution at once. An engine takes over executions of the workflows that it has registered or run.

    Everything is recorded: by the pipeline of `spane_otel.configure`, else into the store itself. Of one event loop;
    an async context manager, which begins to take over at once; without it that begins with the first execution.

    Args:
        registry: what runs the nodes.
        store: where definitions and executions are.
        redis: not used by an engine in one process; its place for one over several machines.
        metrics_collector: is told what happens, e.g. `EngineMetrics`.
        circuit_breaker_registry: guards nodes by type or by the name in their config, e.g. `CircuitBreakerRegistry`.
        cache_options: how many versions of workflows are kept in memory.
        concurrency: at most so many nodes run at once; those that only wait don't count.
        max_executions: at most so many executions are taken over at once; those started here always run.
        lease_seconds: so long after its last sign of life an engine's executions are taken over.
        recovery_seconds: how often those of others are looked for.
        queue: where nodes wait to be run.
        clock: the time.
        service_name: of the spans and logs that the engine itself records.

    """

    def __init__(
        self,
        registry: NodeRegistry,
        store: Store,
        redis: Any = None,
        metrics_collector: MetricsCollector | None = None,
        circuit_breaker_registry: BreakerRegistry | None = None,
        cache_options: WorkflowCacheOptions | None = None,
        *,
        concurrency: int = 100,
        max_executions: int = 1_000,
        lease_seconds: float = 30.0,
        recovery_seconds: float = 5.0,
        queue: NodeQueue | None = None,
        clock: EngineClock | None = None,
        service_name: str | None = None,
    ) -> None:
        self._redis: Final = redis
        clock = clock or SystemEngineClock()
        self._runtime: Final = Runtime(
            store=store,
            registry=registry,
            clock=clock,
            queue=queue or InProcessQueue(),
            versions=Versions(store, registry, cache_options, clock),
            recording=Recording(store, service_name),
            metrics=metrics_collector or NoMetrics(),
            breakers=circuit_breaker_registry,
            lease=Lease(_new_holder(), lease_seconds),
            places=Places(),
        )
        self._runner: Final = Runner(self._runtime, concurrency=concurrency, max_executions=max_executions)
        self._nesting: Final = Nesting(self._runtime, self._runner.take_up, self.wait)
        self._runtime.nest = self._nesting.run_child
        self._keeping: Final = Keeping(self._runtime, self._runner, recovery_seconds=recovery_seconds)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._launches: Final[set[asyncio.Task[str]]] = set()

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def holder(self) -> str:
        """Who this engine is in leases, node results and the audit."""
        return self._runtime.lease.holder

    @property
    def running(self) -> list[str]:
        """The ids of the executions that this engine runs now."""
        return list(self._runtime.runs)

    # --- workflows and executions ---

    async def register_workflow(self, workflow: Workflow | Mapping[str, Any], change_notes: str | None = None) -> int:
        """Check a definition, save it, and return the number of its version; new only where its content is.

        Raises:
            InvalidWorkflowError: it can't be run: `path` says where it is wrong. Nothing is saved.
            StoreError: the store did not save it. Nothing is kept then.

        """
        return await self._runtime.versions.register(load_workflow(workflow), change_notes)

    async def execute(
        self,
        workflow_id: str,
        initial_data: Any = None,
        *,
        execution_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        timeout_ms: float | None = None,
    ) -> ExecutionResult:
        """Run a workflow to its end and return what it came to, with its `execution_id`.

        `data` is the exit node's output, of several exit nodes a map by node id. A failed or cancelled execution is no
        success and has the `error`; nothing is raised for it. Who is cancelled while waiting does not cancel the
        execution. Arguments and errors are those of `start`. A node that waits for another execution keeps its place
        meanwhile, which a `sub-workflow` node does not.
        """
        started = await self.start(
            workflow_id, initial_data, execution_id=execution_id, metadata=metadata, timeout_ms=timeout_ms
        )
        return await self.wait(started)

    async def start(
        self,
        workflow_id: str,
        initial_data: Any = None,
        *,
        execution_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        timeout_ms: float | None = None,
    ) -> str:
        """Begin to run the current version of a workflow and return the id of the execution.

        With `timeout_ms` it fails, with the error `timeout`, if it has not ended so long after this call. An
        `execution_id` that exists with the same content is that execution: it is not run twice.

        Raises:
            UnknownWorkflowError: there is none of this id.
            InvalidWorkflowError: its current version can't be run by this engine.
            ExecutionExistsError: `execution_id` exists with other content.
            InvalidValueError: the data is not JSON, or too large.
            EngineClosedError: the engine has been closed.
            StoreUnavailableError: the store does not answer.

        """
        self._begin()
        await self._runtime.versions.check_current(workflow_id)
        launch = asyncio.create_task(self._launch(workflow_id, initial_data, execution_id, metadata, timeout_ms))
        self._launches.add(launch)
        launch.add_done_callback(self._launches.discard)
        return await asyncio.shield(launch)  # an execution that is made is also run, whoever stops waiting

    async def _launch(
        self,
        workflow_id: str,
        initial_data: Any,
        execution_id: str | None,
        metadata: dict[str, Any] | None,
        timeout_ms: float | None,
    ) -> str:
        runtime = self._runtime
        created = await runtime.store.create_execution(
            workflow_id, initial_data=initial_data, execution_id=execution_id, metadata=metadata, lease=runtime.lease
        )
        if timeout_ms is not None:
            at_ns = runtime.clock.now_ns() + int(timeout_ms * SECOND) // 1_000
            await runtime.store.set_execution_timeout(created, at_ns)
        await self._runner.take_up(created, is_new=execution_id is None)
        return created

    async def wait(self, execution_id: str) -> ExecutionResult:
        """Wait until an execution has ended, wherever it runs, and return what it came to.

        Raises:
            UnknownExecutionError: there is no such execution.
            EngineClosedError: the engine was closed before.

        """
        runtime = self._runtime
        while True:
            run = runtime.runs.get(execution_id)
            if run is not None:
                ending = await run.ended()
                if ending.status is not None:
                    return _result_of(execution_id, ending)
            if runtime.is_closed:
                raise EngineClosedError(f"the engine was closed before execution {execution_id!r} had ended")
            record = await runtime.persist(lambda: runtime.store.get_execution(execution_id))
            if record is None:
                raise UnknownExecutionError(execution_id)
            if record.status in FINAL_STATUSES:
                data = UNSET if record.result is None else record.result
                return _result_of(execution_id, Ending(record.status, record.error, data))
            if execution_id not in runtime.runs:
                await runtime.clock.sleep_until(runtime.clock.now_ns() + SECOND)

    async def pause(self, execution_id: str) -> bool:
        """Let an execution, and what it nests, start no more nodes; return whether it was running.

        Nodes that run finish.

        Raises:
            UnknownExecutionError: there is no such execution.
            InvalidTransitionError: it has ended.

        """
        return await self._nesting.set_status(execution_id, "paused")

    async def resume(self, execution_id: str) -> bool:
        """Let an execution that was paused, and what it nests, go on; return whether it was paused.

        Raises:
            UnknownExecutionError: there is no such execution.
            InvalidTransitionError: it has ended.

        """
        self._begin()
        changed = await self._nesting.set_status(execution_id, "running")
        if changed:
            await self._runner.take_up(execution_id)
        return changed

    async def cancel(self, execution_id: str) -> bool:
        """Stop an execution and what it nests, wherever they run; return whether this call did it.

        Nodes that run are cancelled: here at once, elsewhere within seconds.

        Raises:
            UnknownExecutionError: there is no such execution.
            InvalidTransitionError: it has ended otherwise.

        """
        return await self._nesting.set_status(execution_id, "cancelled")

    async def aflush(self, timeout: float = 5.0) -> bool:
        """Wait until the spans and logs of what has ended are written, if the engine itself records them."""
        return await self._runtime.recording.aflush(timeout)

    async def aclose(self, timeout: float = 10.0) -> None:
        """Let what runs come to its end for at most `timeout` seconds, then leave the rest to other engines.

        Executions that only wait are left at once. Spans and logs are written. Safe to call twice.
        """
        if self._runtime.is_closed:
            return
        if self._loop is not None:
            self._begin()  # in the loop that runs now, should it be another one
        if self._launches:
            await asyncio.wait(self._launches, timeout=timeout)
        await self._runner.close(timeout)
        await self._keeping.stop()
        await self._runtime.queue.aclose()
        await self._runtime.recording.aclose(RECORDING_SECONDS)

    def _begin(self) -> None:
        """Start what goes on beside the executions, in the loop that runs now; anew where the one before is closed."""
        if self._runtime.is_closed:
            raise EngineClosedError("the engine has been closed")
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise EngineError("an engine runs in one event loop, and its other one is not closed")
        self._loop = loop
        self._runner.start()
        self._keeping.start()


def _new_holder() -> str:
    """Return who an engine is: for people the machine and the process, and what tells it from any other."""
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(6)}"


def _result_of(execution_id: str, ending: Ending) -> ExecutionResult:
    if ending.status == "completed":
        return ExecutionResult(success=True, data=ending.data, execution_id=execution_id)
    return ExecutionResult(success=False, error=ending.error or ending.status, execution_id=execution_id)
