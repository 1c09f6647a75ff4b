"""The seams of state: workflows, executions and what their nodes came to.

Keywords in, records out, times in nanoseconds since 1970. Readers return None or something empty for an unknown id;
writers raise a `NotFoundError`. Every writer may be called again after `StoreUnavailableError`: it changes nothing
twice. `StoreUnavailableError`, and `InvalidValueError` for an argument that no store can hold, may come from each.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import UNSET, UnsetType

from spane_otel.records import Counts, Execution, ExecutionStatus, Page
from spane_otel.state import (
    AuditEntry,
    Family,
    Lease,
    ListedWorkflow,
    NewDeadLetter,
    NodeResult,
    ResultLike,
    Workflow,
    WorkflowVersion,
)

StatusFilter = ExecutionStatus | Literal["abandoned"]


class WorkflowStore(Protocol):
    """Keeps workflows and their immutable versions."""

    async def save_workflow(
        self, workflow: Workflow | Mapping[str, Any], change_notes: str | None = None, created_by: str | None = None
    ) -> int:
        """Save a definition and return the number of its version; the workflow is active afterwards.

        Content equal to the current version's makes no new version: that one's number is returned, and its notes and
        author stay. Numbers count from 1, without gaps, whoever saves at the same time. What is checked is the shape;
        `graph.check_workflow` says whether an engine can run it.

        Raises:
            InvalidWorkflowError: it has no id, two nodes have one id, or something is of the wrong type.

        """
        ...

    async def get_workflow(self, workflow_id: str, version: int | None = None) -> Workflow | None:
        """Return a version of a workflow, the current one by default, also of one that is not active."""
        ...

    async def get_workflow_version(self, workflow_id: str) -> int | None:
        """Return the number of a workflow's current version."""
        ...

    async def get_workflow_version_id(self, workflow_id: str, version: int | None = None) -> int | None:
        """Return the id of a version's row, of the current one by default; unique over all workflows."""
        ...

    async def list_workflow_versions(self, workflow_id: str) -> list[WorkflowVersion]:
        """Return all versions of a workflow, the oldest first."""
        ...

    async def list_workflows(
        self, active_only: bool = True, limit: int = 100, offset: int = 0, *, cursor: str | None = None
    ) -> Page[ListedWorkflow]:
        """Return workflows, the one changed last first: (updated_ns, id) descending."""
        ...

    async def get_workflow_count(self, active_only: bool = True) -> int: ...

    async def deactivate_workflow(self, workflow_id: str) -> bool:
        """Take a workflow out of the list of active ones; return whether it was active. Executions go on.

        Raises:
            UnknownWorkflowError: there is none of this id.

        """
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
        lease: Lease | None = None,
    ) -> str:
        """Make an execution with status `running` and return its id, a new UUIDv7 if none is given.

        The workflow's current version is read in the same transaction and pinned; of an unknown workflow there is
        none. With `lease` the execution is made with it, so that it is never without a runner.

        An execution of this id made from spans becomes the caller's: its origin turns `api`, what is given here
        holds, it is `running` without end, result and error; `started_ns`, workflow version and traces stay. Made
        with the same content before: a no-op.

        A top execution (no parent) has depth 0 and is its own root. With a parent, `depth` 0 counts as the parent's
        plus 1 where the parent is known, else as 1; the root is the parent's root where the parent is known, else the
        parent at depth 1, else null. Deeper than 10 is refused before anything is written.

        Raises:
            ExecutionExistsError: it was made by `create_execution` before, with other content.
            InvalidValueError: an id is empty, longer than 256 characters or no storable text, or a payload isn't JSON;
                one is longer than 2 MiB (reason `payload_too_large`); the depth is over 10 (reason `depth`).

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
        self,
        execution_id: str,
        status: ExecutionStatus,
        *,
        error: str | None = None,
        result: Any | UnsetType = UNSET,
        operation: str | None = None,
    ) -> bool:
        """Change the status; return whether it changed. The status that it has already is no error: False.

        `transitions.py` holds the table. `operation` is a key of the caller's choice: a call that is repeated with it,
        because its first answer was lost, returns True if the first one changed the status, whatever came after; one
        that changed nothing left no trace and is decided again. `result` becomes the execution's.

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

        Of a trace shared with other executions, what is stamped with this one goes. Node results, metadata, payloads,
        audit, dead letters, its lease and what caches hold of it go too; its children stay.
        """
        ...

    async def count_telemetry(self, execution_ids: Sequence[str]) -> dict[str, Counts]:
        """Return the numbers of each known execution of a page, at most 10,000 rows of a trace counted."""
        ...

    async def update_execution_metadata(self, execution_id: str, metadata: Mapping[str, Any]) -> None:
        """Merge `metadata` into an execution's, in whatever status it is: a key that is there gets the new value.

        Raises:
            UnknownExecutionError: there is no such execution.

        """
        ...

    async def set_execution_timeout(self, execution_id: str, at_ns: int | None) -> None:
        """Have an execution failed, with the error `timeout`, if it is still running or paused at `at_ns`; None: never.

        Raises:
            UnknownExecutionError: there is no such execution.

        """
        ...

    async def sweep_timeouts(self, limit: int = 1_000) -> list[str]:
        """Fail the executions whose time is up, by the store's clock; return their ids. Many may sweep at once."""
        ...

    async def list_long_running_executions(
        self, longer_than_ns: int, *, workflow_id: str | None = None, limit: int = 100
    ) -> list[Execution]:
        """Return running and paused executions that started at least `longer_than_ns` ago, the oldest first."""
        ...

    async def list_stuck_executions(
        self, idle_for_ns: int, *, workflow_id: str | None = None, limit: int = 100
    ) -> list[Execution]:
        """Return running executions whose state has not changed for at least `idle_for_ns`, the longest idle first.

        A state change is what the audit records: a node result, a status, metadata.
        """
        ...

    async def get_child_executions(self, execution_id: str) -> list[Execution]:
        """Return the executions whose parent this is, oldest first, by (started_ns, execution_id)."""
        ...

    async def get_parent_execution(self, execution_id: str) -> Execution | None: ...

    async def get_execution_family(self, execution_id: str) -> Family:
        """Return an execution's relatives; an unknown one has none."""
        ...

    async def list_audit(self, execution_id: str, *, limit: int = 100, cursor: str | None = None) -> Page[AuditEntry]:
        """Return the changes of an execution's state in their order; of spans' making there are none."""
        ...


class NodeResultStore(Protocol):
    """Keeps what each attempt at each node came to."""

    async def update_node_result(
        self,
        execution_id: str,
        node_id: str,
        result: ResultLike,
        *,
        attempt: int = 1,
        iteration: int = 0,
        started_ns: int | None = None,
        ended_ns: int | None = None,
        worker: str | None = None,
        input: Any | UnsetType = UNSET,  # noqa: A002 - the name in records
        holder: str | None = None,
    ) -> None:
        """Write the result of an attempt, replacing what this attempt had; never changes the execution's status.

        A success or a skip is final; a failure is not, since another attempt may follow. `ended_ns` is the store's
        present by default, `started_ns` then unknown (None). Written in every status of the execution: what happened,
        happened. With `holder`, only while that runner holds the execution's lease.

        Raises:
            UnknownExecutionError: there is no such execution.
            LeaseLostError: `holder` does not hold the lease.

        """
        ...

    async def complete_node(
        self,
        execution_id: str,
        node_id: str,
        result: ResultLike,
        *,
        attempt: int = 1,
        iteration: int = 0,
        started_ns: int | None = None,
        ended_ns: int | None = None,
        worker: str | None = None,
        input: Any | UnsetType = UNSET,  # noqa: A002 - the name in records
        holder: str | None = None,
        dead_letter: NewDeadLetter | None = None,
        execution_result: Any | UnsetType = UNSET,
    ) -> ExecutionStatus:
        """Write the final result of a node, and complete the execution if no node of its version is left.

        Both happen in one transaction, whoever else completes nodes at the same time. An execution is complete when
        every node of its pinned version has a final result; it is then `failed` if the latest final result of a node
        without `continueOnFail` is a failure (its error becomes the execution's), else `completed`, with
        `execution_result` as its result if given. Only a running or paused execution completes. Without a pinned
        version nothing completes by itself. Returns the status afterwards.

        A failure with `dead_letter` leaves a dead letter in the same transaction.

        Raises:
            UnknownExecutionError: there is no such execution.
            LeaseLostError: `holder` does not hold the lease.

        """
        ...

    async def cache_node_result(
        self, execution_id: str, node_id: str, result: ResultLike, *, attempt: int = 1, iteration: int = 0
    ) -> None:
        """Do as `update_node_result`; a store with a cache keeps the result there too."""
        ...

    async def get_node_results(self, execution_id: str, node_ids: Sequence[str] | None = None) -> dict[str, NodeResult]:
        """Return the latest result of each node, all or those of `node_ids`: the last iteration's last attempt.

        Of an execution made from spans they are read from its node spans; spans never write node results.
        """
        ...

    async def list_node_attempts(self, execution_id: str, node_id: str) -> list[NodeResult]:
        """Return every attempt at a node, in the order (iteration, attempt)."""
        ...

    async def get_pending_node_count(self, execution_id: str, total_nodes: int | None = None) -> int:
        """Return how many nodes of the pinned version have no final result; 0 for an unknown execution.

        Without a pinned version `total_nodes` tells how many there are; without that too, none is pending.
        """
        ...
