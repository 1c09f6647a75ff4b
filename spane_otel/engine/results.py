"""What nodes came to, as the store keeps it: payloads as JSON text, so that everybody who reads one has a copy."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from spane_otel.graph import Dag
from spane_otel.jsontext import encode_payload
from spane_otel.state import ExecutionResult, NodeResult


class Settled(Struct, frozen=True, kw_only=True):
    """What a node came to for good."""

    node_id: str
    success: bool
    text: str | None = None
    """JSON text of its data; None: there is none."""
    error: str | None = None
    next_nodes: tuple[str, ...] | None = None
    skipped: bool = False
    attempt: int = 1
    iteration: int = 0
    ended_ns: int | None = None

    @property
    def data(self) -> Any | UnsetType:
        """A copy of its data, UNSET if there is none."""
        return UNSET if self.text is None else json.loads(self.text)

    @property
    def output(self) -> Any | UnsetType:
        """What nodes behind it are given.

        Of a failure that is tolerated and left no data it is SPANE's record of it: `error`, and `_metadata` with
        `continuedOnFail` and `originalError`.
        """
        if self.text is None and not self.success and not self.skipped:
            return {"error": self.error, "_metadata": {"continuedOnFail": True, "originalError": self.error}}
        return self.data

    def result(self) -> ExecutionResult:
        """Return it as what an executor returns."""
        return ExecutionResult(self.success, self.data, self.error, self.next_nodes, self.skipped)


def skipped(node_id: str, ended_ns: int) -> Settled:
    """Return the outcome of a node that no live edge leads to."""
    return Settled(node_id=node_id, success=True, skipped=True, ended_ns=ended_ns)


def copy_of(value: Any) -> Any:
    """Return a copy of what came from JSON."""
    return json.loads(json.dumps(value)) if value and isinstance(value, dict | list) else _empty_like(value)


def _empty_like(value: Any) -> Any:
    """Return a new container in the place of an empty one; what is none can't be changed."""
    return type(value)() if isinstance(value, dict | list) else value


def settled_of(
    node_id: str, result: ExecutionResult, attempt: int, iteration: int = 0, ended_ns: int | None = None
) -> Settled:
    """Return what an executor came to, its data as JSON text.

    Raises:
        InvalidValueError: JSON can't say it, or it is longer than 2 MiB.

    """
    return Settled(
        node_id=node_id,
        success=result.success,
        text=None if result.data is UNSET else encode_payload(result.data),
        error=None if result.error is None else str(result.error),
        next_nodes=None if result.next_nodes is None else tuple(result.next_nodes),
        skipped=result.skipped,
        attempt=attempt,
        iteration=iteration,
        ended_ns=ended_ns,
    )


def settled_from(stored: NodeResult) -> Settled:
    """Return a final result that is read from a store."""
    return Settled(
        node_id=stored.node_id,
        success=stored.success,
        text=encode_payload(stored.data) if stored.has_data else None,
        error=stored.error,
        next_nodes=stored.next_nodes,
        skipped=stored.skipped,
        attempt=stored.attempt,
        iteration=stored.iteration,
        ended_ns=stored.ended_ns,
    )


def input_of(
    node_id: str, dag: Dag, live_parents: Iterable[str], settled: Mapping[str, Settled], initial_data: Any
) -> Any | UnsetType:
    """Return what a node is given.

    Where the execution begins that is the initial data. A node with one parent gets the parent's output as it is, one
    with several a map by node id, of those that went on to it and have an output. UNSET: there is nothing.
    """
    parents = dag.parents[node_id]
    if not parents:
        return UNSET if initial_data is None else initial_data
    if len(parents) == 1:
        return settled[parents[0]].output
    outputs = ((each, settled[each].output) for each in live_parents)
    return {each: output for each, output in outputs if output is not UNSET}


def result_of(dag: Dag, settled: Mapping[str, Settled]) -> Any | UnsetType:
    """Return what an execution came to: the exit node's output, of several exit nodes a map by node id.

    Exit nodes that were skipped are left out. UNSET: there is nothing.
    """
    if len(dag.exits) == 1:
        (last,) = dag.exits
        return UNSET if settled[last].skipped else settled[last].output
    outputs = ((each, settled[each].output) for each in dag.exits if not settled[each].skipped)
    return {each: output for each, output in outputs if output is not UNSET}
