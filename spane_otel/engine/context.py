"""What an executor is given."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from spane_otel import telemetry
from spane_otel.engine.results import Settled
from spane_otel.errors import RateLimitedError
from spane_otel.state import ExecutionResult


class ExecutionContext:
    """One attempt at one node: where it stands, what it is given, and what came before.

    Everything that can be changed is a copy: changing it changes nothing for anybody else.
    """

    __slots__ = (
        "_parents",
        "_settled",
        "attempt",
        "depth",
        "execution_id",
        "input_data",
        "iteration",
        "node_config",
        "node_id",
        "parent_execution_id",
        "workflow_id",
    )

    def __init__(
        self,
        *,
        workflow_id: str,
        execution_id: str,
        node_id: str,
        input_data: Any,
        node_config: dict[str, Any],
        parent_execution_id: str | None,
        depth: int,
        attempt: int,
        iteration: int,
        parents: tuple[str, ...],
        settled: Callable[[], Mapping[str, Settled]],
    ) -> None:
        self.workflow_id: Final = workflow_id
        self.execution_id: Final = execution_id
        self.node_id: Final = node_id
        self.input_data: Final = input_data
        """The initial data, the only parent's output, or a map by node id of several parents' outputs."""
        self.node_config: Final = node_config
        """The node's `config` in the definition."""
        self.parent_execution_id: Final = parent_execution_id
        self.depth: Final = depth
        """How deep below its root the execution is, from 0."""
        self.attempt: Final = attempt
        """From 1."""
        self.iteration: Final = iteration
        """From 0."""
        self._parents: Final = parents
        self._settled: Final = settled

    @property
    def previous_results(self) -> dict[str, ExecutionResult]:
        """What the nodes directly before this one came to, by node id; skipped ones too."""
        settled = self._settled()
        return {each: settled[each].result() for each in self._parents if each in settled}

    @property
    def all_node_results(self) -> dict[str, ExecutionResult]:
        """What the execution's nodes have come to by now, by node id."""
        return {node_id: settled.result() for node_id, settled in self._settled().items()}

    def log(self, message: str, level: str = "info", **attributes: Any) -> None:
        """Write a log record of this node: trace, debug, info, warn, error or fatal. Never raises, never waits."""
        telemetry.log(message, level, **attributes)

    async def rate_limit(self, duration_ms: float) -> NoReturn:
        """Have this node run again in `duration_ms`, and no other of its type before, in this engine.

        The attempt does not count: it has the same number then.

        Raises:
            RateLimitedError: always; let it pass.

        """
        raise RateLimitedError(duration_ms)
