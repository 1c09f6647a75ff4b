"""Executions that a caller makes."""

from typing import Any

from spane_otel.errors import ExecutionExistsError
from spane_otel.state import Lease
from spane_otel.stores.admission import NewExecution, check_lease, check_new_execution, depth_below
from spane_otel.stores.memory.held.executions import HeldExecution, take_over
from spane_otel.stores.memory.leases import lease_until, may_take
from spane_otel.stores.memory.part import Part


class Creation(Part):
    """Makes executions."""

    async def create_execution(
        self,
        workflow_id: str,
        parent_execution_id: str | None = None,
        depth: int = 0,
        initial_data: Any = None,
        *,
        execution_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        lease: Lease | None = None,
    ) -> str:
        new = check_new_execution(workflow_id, parent_execution_id, depth, initial_data, execution_id, metadata)
        if lease is not None:
            check_lease(lease)
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(new.execution_id)
            if held is None or held.origin == "spans":
                self._create(new, held, lease, now_ns)
                self._room.bound_executions(self._state, now_ns)
                self._room.clean(self._state, now_ns)
            elif self._state.executions.journals[new.execution_id].content_hash != new.content_hash():
                raise ExecutionExistsError(new.execution_id)
        return new.execution_id

    def _create(self, new: NewExecution, derived: HeldExecution | None, lease: Lease | None, now_ns: int) -> None:
        executions = self._state.executions
        depth = self._depth_of(new)
        version = self._state.workflows.version(new.workflow_id)
        given = HeldExecution(
            execution_id=new.execution_id,
            workflow_id=new.workflow_id,
            workflow_version=None if version is None else version.version,
            started_ns=now_ns,
            parent_execution_id=new.parent_execution_id,
            root_execution_id=executions.root_of_child(new.parent_execution_id, new.execution_id, depth),
            depth=depth,
            initial_data=new.initial_data,
        )
        if derived is not None:
            given = take_over(derived, given)
            version = self._state.workflows.version(new.workflow_id, derived.workflow_version or 0)
        journal = executions.put(given)
        journal.metadata = new.metadata
        journal.content = new
        journal.pin(None if version is None else version.nodes)
        if lease is not None and may_take(journal.lease, lease, now_ns):
            journal.lease = lease_until(lease, now_ns)
        if derived is None:
            journal.note(new.execution_id, now_ns, "created", new="running", actor=self._actor)
        else:
            journal.note(new.execution_id, now_ns, "adopted", old=derived.status, new="running", actor=self._actor)
        self._announce(new.execution_id, now_ns)

    def _depth_of(self, new: NewExecution) -> int:
        if new.parent_execution_id is None:
            return 0
        parent = self._state.executions.held.get(new.parent_execution_id)
        return depth_below(new.depth, None if parent is None else parent.depth)
