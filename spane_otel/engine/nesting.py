"""Sub-workflows: a node that runs a workflow of its own, as a child execution."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import UNSET

from spane_otel.engine.runtime import Runtime
from spane_otel.errors import EngineClosedError, InvalidTransitionError, StoreError, UnknownWorkflowError
from spane_otel.graph import map_members, member_mapping, sub_workflow_id
from spane_otel.ids import hash16
from spane_otel.state import ExecutionResult, Node
from spane_otel.stores.transitions import FINAL_STATUSES

if TYPE_CHECKING:
    from spane_otel.engine.run import Run


class Nesting:
    """Runs the children of executions. `take_up` runs an execution here, if nobody else does; `wait` awaits its end."""

    def __init__(
        self,
        runtime: Runtime,
        take_up: Callable[[str], Awaitable[Any]],
        wait: Callable[[str], Awaitable[ExecutionResult]],
    ) -> None:
        self._runtime: Final = runtime
        self._take_up: Final = take_up
        self._wait: Final = wait

    async def run_child(self, run: "Run", node: Node, given: Any, attempt: int) -> ExecutionResult:
        """Run a sub-workflow to its end and return what it came to, mapped as the node says.

        The child's id follows from the parent's, the node and the attempt: whoever takes the parent over meets the
        same child, which goes on where it was.
        """
        runtime, record = self._runtime, run.record
        workflow_id = sub_workflow_id(node)
        child_id = child_execution_id(record.execution_id, node.id, 0, attempt)
        try:
            await runtime.persist(lambda: runtime.versions.check_current(workflow_id))
        except UnknownWorkflowError:
            return ExecutionResult(success=False, error=f"sub-workflow {workflow_id!r}: there is no such workflow")
        await runtime.persist(
            lambda: runtime.store.create_execution(
                workflow_id,
                record.execution_id,
                record.depth + 1,
                map_members(given, member_mapping(node, "inputMapping")),
                execution_id=child_id,
                metadata={"parentNodeId": node.id, "parentWorkflowId": record.workflow_id},
                lease=runtime.lease,
            )
        )
        try:
            await runtime.persist(lambda: self._take_up(child_id))
            result = await self._wait(child_id)
        except asyncio.CancelledError:
            if run.decision is not None and run.decision.status is not None:
                with contextlib.suppress(InvalidTransitionError):
                    await self.set_status(child_id, "cancelled", f"the execution above it is {run.decision.status}")
            raise
        except EngineClosedError:
            with contextlib.suppress(StoreError):
                await runtime.store.release_lease(child_id, runtime.lease.holder)
            raise
        if not result.success:
            error = f"sub-workflow {workflow_id!r}, execution {child_id}: {result.error or 'failed'}"
            return ExecutionResult(success=False, error=error)
        if result.data is UNSET:
            return ExecutionResult(success=True)
        return ExecutionResult(success=True, data=map_members(result.data, member_mapping(node, "outputMapping")))

    async def set_status(
        self, execution_id: str, status: Literal["running", "paused", "cancelled"], reason: str | None = None
    ) -> bool:
        """Change the status of an execution and of what it nests; return whether its own has changed.

        Raises:
            UnknownExecutionError: there is no such execution.
            InvalidTransitionError: it has ended already.

        """
        store = self._runtime.store
        changed = await store.set_execution_status(execution_id, status, error=reason)
        await self.notice(execution_id)
        for child in await store.get_child_executions(execution_id):
            if child.status not in FINAL_STATUSES:
                with contextlib.suppress(InvalidTransitionError):  # it may have ended meanwhile
                    above = f"the execution above it is {status}" if status == "cancelled" else None
                    await self.set_status(child.execution_id, status, above)
        return changed

    async def notice(self, execution_id: str) -> None:
        """Have a run of ours learn at once what its execution's status is now."""
        run = self._runtime.runs.get(execution_id)
        if run is not None:
            await run.observe(await self._runtime.store.get_execution(execution_id))


def child_execution_id(execution_id: str, node_id: str, iteration: int, attempt: int) -> str:
    """Return the id of the execution that an attempt at a sub-workflow node makes: a UUIDv8 (RFC 9562) of those."""
    digest = hash16(b"child", execution_id.encode(), node_id.encode(), repr((iteration, attempt)).encode())
    value = int.from_bytes(digest) & ~(0xF << 76 | 0b11 << 62) | 0x8 << 76 | 0b10 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
