"""`execution(...)`: one run of a workflow, as the root span of its execution."""

from typing import Any

from opentelemetry.util.types import AttributeValue

from spane_otel import mapping
from spane_otel.ids import bounded_execution_id, new_execution_id
from spane_otel.telemetry.attempts import Tries
from spane_otel.telemetry.block import Block
from spane_otel.telemetry.context import Recorder, Scope, scope_of


class Execution(Block):
    """A block of code that is one execution of a workflow; inside another execution, its child."""

    __slots__ = ("_execution_id", "_version", "depth", "parent_execution_id", "root_execution_id", "tries")

    def __init__(
        self,
        workflow_id: str,
        execution_id: str | None = None,
        input: Any = None,  # noqa: A002 - the name in the API
        version: str | None = None,
    ) -> None:
        super().__init__(str(workflow_id), input)
        self._execution_id = bounded_execution_id(str(execution_id)) if execution_id else None
        self._version = version
        self.parent_execution_id: str | None = None
        self.root_execution_id: str | None = None
        """None: it is the root itself."""
        self.depth = 0
        self.tries = Tries()

    @property
    def execution_id(self) -> str:
        """The id given, else a new UUIDv7."""
        if self._execution_id is None:
            self._execution_id = new_execution_id()
        return self._execution_id

    @property
    def workflow_id(self) -> str:
        return self.name

    def _enter_scope(self, recorder: Recorder) -> Scope:
        attributes: dict[str, AttributeValue] = {
            mapping.EXECUTION_ID: self.execution_id,
            mapping.WORKFLOW_ID: self.name,
        }
        self.attributes = attributes
        label = self._version or recorder.version_label
        if label:
            attributes[mapping.WORKFLOW_VERSION_LABEL] = str(label)
        outer = current_execution()
        if outer is not None and outer.execution_id != self.execution_id:
            self.parent_execution_id = outer.execution_id
            self.root_execution_id = outer.root_execution_id or outer.execution_id
            self.depth = outer.depth + 1
            attributes[mapping.EXECUTION_PARENT_ID] = self.parent_execution_id
            attributes[mapping.EXECUTION_ROOT_ID] = self.root_execution_id
            attributes[mapping.EXECUTION_DEPTH] = self.depth
        return Scope(self, None, {mapping.EXECUTION_ID: self.execution_id})


def execution(
    workflow_id: str,
    execution_id: str | None = None,
    input: Any = None,  # noqa: A002 - the name in the API
    *,
    version: str | None = None,
) -> Execution:
    """Return a context manager, for `with` and `async with`: the block inside is one execution of `workflow_id`.

    `execution_id` is a new UUIDv7 if none is given, and at most 256 characters long (longer ones end in a hash).
    `input` is recorded as JSON text, `version` is text and defaults to `service.version`. Inside another execution
    this one is its child. The execution fails with the exception that leaves the block; `CancelledError` and
    `KeyboardInterrupt` cancel it, `SystemExit(0)` completes it. The exception goes on unchanged.
    """
    return Execution(workflow_id, execution_id, input, version)


def current_execution() -> Execution | None:
    """Return the execution that the calling code runs in, None outside of any."""
    scope = scope_of()
    return scope.execution if scope is not None else None
