"""Versions of workflows that this engine can run: read once, checked once, their graphs kept beside them."""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from spane_otel.clock import Clock
from spane_otel.engine.registry import NodeRegistry
from spane_otel.errors import InvalidWorkflowError, UnknownWorkflowError
from spane_otel.graph import Dag, check_nesting, check_workflow, retry_policy, sub_workflows
from spane_otel.records import Execution
from spane_otel.state import MAX_DEPTH, RetryPolicy, Workflow
from spane_otel.stores.cached.versions import WorkflowCache, WorkflowCacheOptions
from spane_otel.stores.protocols import Store


class Version(Struct, frozen=True, eq=False):
    """A version that can be run."""

    workflow: Workflow
    dag: Dag
    policies: dict[str, RetryPolicy]


class Versions:
    """The workflows of an engine."""

    def __init__(
        self, store: Store, registry: NodeRegistry, options: WorkflowCacheOptions | None, clock: Clock
    ) -> None:
        self._store: Final = store
        self._registry: Final = registry
        self._cache: Final = WorkflowCache(store, options, clock=clock)
        self._most: Final = (options or WorkflowCacheOptions()).max_size
        self._checked: Final[OrderedDict[tuple[str, int], Version]] = OrderedDict()
        self._known: Final[set[str]] = set()

    @property
    def known(self) -> frozenset[str]:
        """The workflows that were registered, run or nested here: those whose executions this engine takes over."""
        return frozenset(self._known)

    def forget(self, workflow_id: str) -> None:
        """Take over no executions of this workflow any more."""
        self._known.discard(workflow_id)

    async def register(self, workflow: Workflow, change_notes: str | None) -> int:
        """Check and save a definition; return the number of its version.

        Raises:
            InvalidWorkflowError: it can't be run, or would run inside itself.
            StoreError: the store did not save it; nothing is kept then.

        """
        check_workflow(workflow, self._registry.types)
        nested = await self._read_nested(workflow)
        check_nesting(workflow, nested)
        version = await self._store.save_workflow(workflow, change_notes)
        self._known.update((workflow.id, *nested))
        return version

    async def check_current(self, workflow_id: str) -> None:
        """Check that a workflow exists and that its current version can be run here; once is enough.

        Raises:
            UnknownWorkflowError: there is none.
            InvalidWorkflowError: it can't be run.

        """
        if workflow_id in self._known:
            return
        version = await self._store.get_workflow_version(workflow_id)
        if version is None:
            raise UnknownWorkflowError(workflow_id)
        workflow = (await self.load(workflow_id, version)).workflow
        self._known.update((workflow_id, *await self._read_nested(workflow)))

    async def load_pinned(self, record: Execution) -> Version:
        """Return the version that an execution is pinned to.

        Raises:
            UnknownWorkflowError: there is none.
            InvalidWorkflowError: it can't be run.

        """
        if record.workflow_id is None or record.workflow_version is None:
            raise InvalidWorkflowError("it was made before its workflow was saved, and has no version to be run by")
        return await self.load(record.workflow_id, record.workflow_version)

    async def load(self, workflow_id: str, version: int) -> Version:
        """Return a version, ready to be run.

        Raises:
            UnknownWorkflowError: there is none.
            InvalidWorkflowError: it can't be run.

        """
        workflow = await self._cache.get(workflow_id, version)
        if workflow is None:
            raise UnknownWorkflowError(workflow_id)
        held = self._checked.get((workflow_id, version))
        if held is None or held.workflow is not workflow:
            dag = check_workflow(workflow, self._registry.types)
            held = Version(workflow, dag, {node.id: retry_policy(node) for node in workflow.nodes})
            self._checked[workflow_id, version] = held
            while len(self._checked) > max(self._most, 1):
                self._checked.popitem(last=False)
        return held

    async def _read_nested(self, workflow: Workflow) -> dict[str, Workflow]:
        """Return the current versions of all workflows that a workflow runs, and of those that these run."""
        found: dict[str, Workflow] = {}
        waiting = sub_workflows(workflow)
        for _ in range(MAX_DEPTH + 1):
            wanted = [each for each in dict.fromkeys(waiting) if each not in found and each != workflow.id]
            waiting = []
            for workflow_id in wanted:
                inner = await self._store.get_workflow(workflow_id)
                if inner is not None:
                    found[workflow_id] = inner
                    waiting += sub_workflows(inner)
        return found
