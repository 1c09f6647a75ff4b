"""What moves between stores: all that one of them holds of a workflow, of an execution, and some of its telemetry."""

from msgspec import Struct, field

from spane_otel.derivation import ExecutionTraceRow
from spane_otel.records import Batch, Execution
from spane_otel.state import AuditEntry, DeadLetter, NodeResult, WorkflowVersion


class WorkflowArchive(Struct, kw_only=True):
    """A workflow with all its versions, to be written into another store."""

    workflow_id: str
    is_active: bool
    created_ns: int
    updated_ns: int
    versions: list[tuple[WorkflowVersion, str]] = field(default_factory=list)
    """Each with its definition's JSON text, exactly as stored, by number."""


class ExecutionArchive(Struct, kw_only=True):
    """All that a store holds of one execution but its spans and logs, to be written into another store."""

    execution: Execution
    nodes_total: int | None = None
    content_hash: bytes | None = None
    """Of what `create_execution` was given; None: made from spans."""
    timeout_ns: int | None = None
    process_id: str | None = None
    traces: list[ExecutionTraceRow] = field(default_factory=list)
    node_results: list[NodeResult] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    has_initial_data: bool = False
    has_result: bool = False


class TelemetryArchive(Struct, kw_only=True):
    """Some of a store's spans and logs as rows, and where to go on."""

    batch: Batch
    next: str | None = None
