"""Workflows and their versions as they are held."""

import itertools
import json

from msgspec import Struct, field
from msgspec.structs import replace

from spane_otel.graph import content_hash, is_tolerant, load_workflow
from spane_otel.state import ListedWorkflow, Workflow, WorkflowVersion


class HeldVersion(Struct, frozen=True, kw_only=True):
    """A version, as it stays for ever."""

    version: int
    version_id: int
    content_hash: bytes
    text: str
    """The definition's JSON text."""
    nodes: dict[str, bool]
    """Whether each node may fail."""
    created_ns: int
    created_by: str | None
    change_notes: str | None

    def workflow(self) -> Workflow:
        """Return the definition, the reader's own."""
        return replace(load_workflow(json.loads(self.text)), version=self.version)


class HeldWorkflow(Struct, kw_only=True):
    """A workflow with its versions."""

    workflow_id: str
    versions: dict[int, HeldVersion] = field(default_factory=dict)
    """By number, the oldest first."""
    is_active: bool = True
    created_ns: int = 0
    updated_ns: int = 0

    @property
    def current(self) -> HeldVersion:
        return self.versions[next(reversed(self.versions))]

    @property
    def order(self) -> tuple[int, str]:
        return self.updated_ns, self.workflow_id

    def listed(self) -> ListedWorkflow:
        return ListedWorkflow.of(
            self.current.workflow(), is_active=self.is_active, created_ns=self.created_ns, updated_ns=self.updated_ns
        )

    def version_record(self, held: HeldVersion) -> WorkflowVersion:
        return WorkflowVersion(
            workflow_id=self.workflow_id,
            version=held.version,
            version_id=held.version_id,
            content_hash=held.content_hash.hex(),
            created_ns=held.created_ns,
            created_by=held.created_by,
            change_notes=held.change_notes,
            is_current=held is self.current,
        )


class HeldWorkflows:
    """Every workflow."""

    def __init__(self) -> None:
        self.held: dict[str, HeldWorkflow] = {}
        self._version_ids = itertools.count(1)

    def version(self, workflow_id: str | None, version: int | None = None) -> HeldVersion | None:
        """Return a version of a workflow, the current one by default."""
        workflow = None if workflow_id is None else self.held.get(workflow_id)
        if workflow is None:
            return None
        if version is None:
            return workflow.current
        return workflow.versions.get(version) if type(version) is int else None

    def add_version(
        self, workflow: HeldWorkflow, version: int, text: str, created_ns: int, by: str | None, notes: str | None
    ) -> None:
        """Hold a definition under a number that is greater than those before."""
        workflow.versions[version] = HeldVersion(
            version=version,
            version_id=next(self._version_ids),
            content_hash=content_hash(text),
            text=text,
            nodes={node.id: is_tolerant(node) for node in load_workflow(json.loads(text)).nodes},
            created_ns=created_ns,
            created_by=by,
            change_notes=notes,
        )
