"""What runs nodes: an executor for each type."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from spane_otel.engine.context import ExecutionContext
from spane_otel.errors import ConfigurationError
from spane_otel.graph.validation import BUILT_IN_TYPES
from spane_otel.state import ResultLike

ExecutorFunction = Callable[[ExecutionContext], Awaitable[ResultLike]]


class Executor(Protocol):
    """Runs the nodes of one type."""

    async def execute(self, context: ExecutionContext) -> ResultLike:
        """Run a node once and return what it came to, an `ExecutionResult` or a mapping with its members.

        What it raises is a failure too, with the exception as its error. A failure is tried again, as the node's
        retry policy says, unless it was raised with an attribute `retryable` that is False.
        """
        ...


class NodeRegistry:
    """The executors that an engine knows, by the type of the node."""

    def __init__(self) -> None:
        self._executors: Final[dict[str, ExecutorFunction]] = {}

    def register(self, type: str, executor: Executor | ExecutorFunction) -> None:  # noqa: A002 - the name in the API
        """Let `executor` run the nodes of `type`: an object with an `execute` method, or an async function.

        A second executor of one type takes the place of the first.

        Raises:
            ConfigurationError: it is neither, the type is empty, or the engine runs the type itself.

        """
        if not isinstance(type, str) or not type:
            raise ConfigurationError("the type of a node is text")
        if type in BUILT_IN_TYPES:
            raise ConfigurationError(f"nodes of the type {type!r} are run by the engine itself")
        function: Any = getattr(executor, "execute", executor)
        if not callable(function) or inspect.isclass(executor):
            raise ConfigurationError(f"the executor of {type!r} is neither a function nor an object with `execute`")
        self._executors[type] = function

    def get(self, type: str) -> ExecutorFunction | None:  # noqa: A002 - the name in the API
        """Return what runs nodes of `type`."""
        return self._executors.get(type)

    @property
    def types(self) -> frozenset[str]:
        """The types that have an executor."""
        return frozenset(self._executors)
