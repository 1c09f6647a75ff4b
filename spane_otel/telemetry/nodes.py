"""`node(...)`: one try of a step of a workflow, as a span; a context manager and a decorator."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from spane_otel import mapping
from spane_otel.telemetry.attempts import Try
from spane_otel.telemetry.block import Block
from spane_otel.telemetry.context import Recorder, Scope, scope_of
from spane_otel.telemetry.decoration import Record, checked, decorate, is_function, name_of
from spane_otel.telemetry.outcome import Outcome

P = ParamSpec("P")
R = TypeVar("R")


class Node(Block):
    """A block of code that is one try of a node."""

    __slots__ = ("_record", "_try", "attempt", "iteration")

    def __init__(
        self,
        node_id: str,
        input: Any = None,  # noqa: A002 - the name in the API
        attempt: int | None = None,
        iteration: int | None = None,
        record: Record = (),
    ) -> None:
        super().__init__(str(node_id), input)
        self.attempt = attempt
        """Which attempt this is, from 1; known once the block is entered."""
        self.iteration = iteration
        """Which iteration this is, from 0; known once the block is entered."""
        self._record = record
        self._try: Try | None = None

    @property
    def node_id(self) -> str:
        return self.name

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function` such that each call is a try of this node."""
        node_id, attempt, iteration = self.name or name_of(function), self.attempt, self.iteration
        return decorate(function, lambda given: Node(node_id, given, attempt, iteration), self._record)

    def _enter_scope(self, recorder: Recorder) -> Scope:  # noqa: ARG002 - an execution needs it
        outer = scope_of()
        execution = outer.execution if outer is not None else None
        stamp = {mapping.NODE_ID: self.name}
        if execution is not None:
            stamp = {mapping.EXECUTION_ID: execution.execution_id, **stamp}
            self._try = execution.tries.begin(self.name, self.attempt, self.iteration)
        else:
            self._try = Try(self.attempt or 1, self.iteration or 0)
        self.attempt = self._try.attempt
        self.iteration = self._try.iteration
        self.attributes = {**stamp, mapping.NODE_ATTEMPT: self.attempt, mapping.NODE_ITERATION: self.iteration}
        return Scope(execution, self.name, {**stamp})

    def _leave(self, outcome: Outcome) -> None:
        if self._try is not None:
            self._try.failed = outcome.state != "completed"


@overload
def node(node_id: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def node(
    node_id: str | None = None,
    input: Any = None,
    *,
    record: Record = (),
    attempt: int | None = None,
    iteration: int | None = None,
) -> Node: ...
def node(
    node_id: Any = None,
    input: Any = None,  # noqa: A002 - the name in the API
    *,
    record: Record = (),
    attempt: int | None = None,
    iteration: int | None = None,
) -> Any:
    """Record a block of code, or each call of a function, as one try of a node.

    It stands as `with node("id", input=…) as n`, as `@node` or as `@node("id", record=("args", "result"))`.
    A decorated function's node is called like the function if no id is given; sync and async functions both work.
    `record` says what of a call is kept as JSON text: `"args"`, `"result"`, both or, the default, nothing. The same
    node in the same execution and task or thread is another attempt after a failure, another iteration after a
    success; `attempt` (from 1) and `iteration` (from 0) override that. How the exception that leaves the block decides
    the state stands at `execution`.
    """
    if is_function(node_id):
        return decorate(node_id, lambda given: Node(name_of(node_id), given), ())
    return Node(node_id or "", input, attempt, iteration, checked(record))
