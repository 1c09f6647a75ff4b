"""What a state store keeps of workflows beside their executions: versions, node results, audit, dead letters, leases.

Times are integer nanoseconds since 1970. Payloads (`data`, `input`, `job_data`) are whatever JSON can say, kept exactly
and never redacted. 0, False, "", [], {} and None are values; where there is no value at all, `has_data` and `has_input`
say so when reading, and `msgspec.UNSET` when writing.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import asdict

from spane_otel.records import Execution

MAX_DEPTH: Final = 10
"""Sub-workflows nest at most this deep (SPANE's limit)."""

NodeState = Literal["completed", "failed", "skipped", "cancelled"]


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often a node is tried, and how long is waited in between."""

    max_attempts: int = 3
    backoff: Literal["fixed", "exponential"] = "exponential"
    delay_ms: int = 1_000
    """The first wait; `exponential` doubles it each time."""
    continue_on_fail: bool = False
    """Whether the execution goes on, and may complete, although this node failed."""


class Node(Struct, frozen=True, kw_only=True):
    """A step of a workflow; `inputs` and `outputs` are ids of nodes."""

    id: str
    type: str
    config: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """Members of the definition that this package gives no meaning; kept as they are."""


class Workflow(Struct, frozen=True, kw_only=True):
    """A definition, and as read one immutable version of it. `graph.py` turns it into SPANE's shape and back."""

    id: str
    name: str = ""
    nodes: tuple[Node, ...] = ()
    entry_node_id: str | None = None
    description: str | None = None
    max_concurrency: int | None = None
    """At most so many executions of it at once, in one engine; None: no limit."""
    concurrency_lock_ttl: int | None = None
    """Seconds."""
    triggers: tuple[dict[str, Any], ...] = ()
    priority: int | None = None
    delay: int | None = None
    """Milliseconds before the first node."""
    job_id: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    version: int | None = None
    """The number of this version; None: not saved yet. Not part of the content."""


class WorkflowVersion(Struct, frozen=True, kw_only=True):
    """One version in a list of a workflow's versions."""

    workflow_id: str
    version: int
    version_id: int
    """The row's id, unique over all workflows."""
    content_hash: str
    """32 hex digits."""
    created_ns: int
    created_by: str | None = None
    change_notes: str | None = None
    is_current: bool = False


class ListedWorkflow(Workflow, frozen=True, kw_only=True):
    """A workflow in a list: its current version, and what the store knows beside it."""

    is_active: bool = True
    created_ns: int = 0
    updated_ns: int = 0
    """When a version was saved, or it was (de)activated, last."""

    @classmethod
    def of(cls, workflow: Workflow, *, is_active: bool, created_ns: int, updated_ns: int) -> "ListedWorkflow":
        """Return a version as it stands in a list."""
        return cls(**asdict(workflow), is_active=is_active, created_ns=created_ns, updated_ns=updated_ns)


class ExecutionResult(Struct, kw_only=False):
    """What a node, or a whole execution, came to. What an executor returns, and what a result is written from."""

    success: bool
    data: Any | UnsetType = UNSET
    """UNSET: there is none, which is not None."""
    error: str | None = None
    next_nodes: tuple[str, ...] | None = None
    """Of the node's outputs, those that go on; the others are skipped. None: all go on."""
    skipped: bool = False
    execution_id: str | None = None
    """Of a whole execution: whose result this is."""


class NodeResult(Struct, frozen=True, kw_only=True):
    """The outcome of one attempt at a node, as read."""

    execution_id: str
    node_id: str
    iteration: int = 0
    attempt: int = 1
    success: bool = False
    data: Any = None
    has_data: bool = False
    error: str | None = None
    next_nodes: tuple[str, ...] | None = None
    skipped: bool = False
    state: NodeState = "failed"
    """skipped if `skipped`, else completed if `success`, else failed; cancelled only if read from spans."""
    is_final: bool = False
    """No further attempt follows: written by `complete_node`, or a success."""
    started_ns: int | None = None
    ended_ns: int | None = None
    worker: str | None = None
    input: Any = None
    has_input: bool = False


class Family(Struct, frozen=True, kw_only=True):
    """An execution's relatives; `root` is itself for a top execution, None if the root is not there."""

    root: Execution | None = None
    parent: Execution | None = None
    children: tuple[Execution, ...] = ()
    """Oldest first, by (started_ns, execution_id)."""
    siblings: tuple[Execution, ...] = ()
    """The parent's other children, in the same order."""


AuditChange = Literal["created", "adopted", "status", "node_result", "metadata", "timeout", "dead_letter"]


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One change of an execution's state, written in the transaction that made it."""

    execution_id: str
    seq: int
    """1, 2, 3 … within the execution: the order of the changes."""
    changed_ns: int
    change: AuditChange
    old_value: str | None = None
    """The status or node state before; None: there was none."""
    new_value: str | None = None
    node_id: str | None = None
    iteration: int | None = None
    attempt: int | None = None
    detail: str | None = None
    """For people: an error, what timed out, a dead letter's id."""
    actor: str | None = None
    """The worker, else who opened the store (`actor=`)."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A node that failed for good, with what it takes to try it again."""

    dead_letter_id: str
    """32 hex digits, a hash of execution, node, iteration and attempt: the same failure is one letter."""
    execution_id: str
    node_id: str
    iteration: int = 0
    attempt: int = 1
    job_id: str | None = None
    job_data: Any = None
    has_job_data: bool = False
    error: str | None = None
    failed_ns: int = 0
    attempts_made: int = 1
    retried_ns: int | None = None
    workflow_id: str | None = None


class NewDeadLetter(Struct, frozen=True, kw_only=True):
    """What `complete_node` is given to make a dead letter of; the rest it knows."""

    job_id: str | None = None
    job_data: Any | UnsetType = UNSET
    attempts_made: int | None = None
    """None: the attempt's number."""


class Lease(Struct, frozen=True):
    """Who runs an execution, and for how long nobody else may; by the store's clock."""

    holder: str
    seconds: float = 30.0


ResultLike = ExecutionResult | Mapping[str, Any]
"""A result, or a mapping with SPANE's keys in camelCase or snake_case: success, data, error, nextNodes, skipped."""
