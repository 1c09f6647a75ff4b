"""Whether an engine can run a definition; what is wrong is named with the place where it stands."""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Final

from spane_otel.errors import InvalidWorkflowError
from spane_otel.graph.dag import Dag, chain
from spane_otel.graph.policy import DELAY, SUB_WORKFLOW, delay_ms, member_mapping, retry_policy, sub_workflow_id
from spane_otel.state import MAX_DEPTH, Node, Workflow

BUILT_IN_TYPES: Final = frozenset({SUB_WORKFLOW, DELAY})
"""Types that every engine knows."""


def check_workflow(workflow: Workflow, known_types: Collection[str] | None = None) -> Dag:
    """Return the graph of a definition that an engine can run.

    `known_types` are the types that have an executor, beside the built-in ones; None: any type will do. What a
    workflow may nest is `check_nesting`'s to say.

    Raises:
        InvalidWorkflowError: edges lead in a circle or to a node that does not exist, no path leads to a node from
            where the execution begins, a type is unknown, or a config can't be understood. `path` is the place, e.g.
            `nodes[2].type`, or the circle, `a -> b -> a`.

    """
    for place, node in enumerate(workflow.nodes):
        _check_node(node, known_types, f"nodes[{place}]")
    if workflow.max_concurrency is not None and workflow.max_concurrency < 1:
        raise InvalidWorkflowError("must be at least 1", "maxConcurrency")
    dag = Dag(workflow)
    unreachable = dag.unreachable()
    if unreachable:
        place = next(index for index, node in enumerate(workflow.nodes) if node.id == unreachable[0])
        begins = chain(dag.entries)
        raise InvalidWorkflowError(
            f"no path leads from {begins!r}, where the execution begins, to {unreachable[0]!r}", f"nodes[{place}]"
        )
    return dag


def check_nesting(workflow: Workflow, others: Mapping[str, Workflow]) -> None:
    """Check that a workflow does not run itself as a sub-workflow, through whatever others, and not more than 10 deep.

    `others` are the workflows known, by id; one that is not among them nests nothing.

    Raises:
        InvalidWorkflowError: it does; `path` is the chain of workflows, `a -> b -> a`.

    """
    before: dict[str, str] = {}
    depth = {workflow.id: 0}
    waiting = deque([workflow.id])
    while waiting:
        outer = waiting.popleft()
        for inner in sub_workflows(workflow if outer == workflow.id else others.get(outer)):
            if inner == workflow.id or _leads_back(inner, outer, before):
                raise InvalidWorkflowError(
                    "a workflow can't run inside itself", chain([*_path(inner, outer, before), inner])
                )
            if depth.get(inner, -1) > depth[outer]:
                continue
            before[inner], depth[inner] = outer, depth[outer] + 1
            if depth[inner] > MAX_DEPTH:
                raise InvalidWorkflowError(
                    f"sub-workflows nest at most {MAX_DEPTH} deep", chain(_path(workflow.id, inner, before))
                )
            waiting.append(inner)


def sub_workflows(workflow: Workflow | None) -> list[str]:
    """Return the ids of the workflows that a workflow runs itself, each once, in the order of its nodes."""
    nodes = () if workflow is None else workflow.nodes
    return list(dict.fromkeys(sub_workflow_id(node) for node in nodes if node.type == SUB_WORKFLOW))


def _leads_back(inner: str, outer: str, before: dict[str, str]) -> bool:
    return inner in _path(None, outer, before)


def _path(first: str | None, last: str, before: dict[str, str]) -> list[str]:
    """Return the chain that led to `last`, from `first` on, or from its beginning."""
    path = [last]
    while path[-1] != first and path[-1] in before:
        path.append(before[path[-1]])
    return path[::-1]


def _check_node(node: Node, known_types: Collection[str] | None, path: str) -> None:
    if known_types is not None and node.type not in known_types and node.type not in BUILT_IN_TYPES:
        raise InvalidWorkflowError(
            f"node {node.id!r}: no executor is registered for the type {node.type!r}", f"{path}.type"
        )
    try:
        retry_policy(node)
        if node.type == DELAY:
            delay_ms(node)
        elif node.type == SUB_WORKFLOW:
            sub_workflow_id(node)
            member_mapping(node, "inputMapping")
            member_mapping(node, "outputMapping")
    except InvalidWorkflowError as error:
        message = str(error).removeprefix(f"{error.path}: ")
        raise InvalidWorkflowError(f"node {node.id!r}: {message}", f"{path}.{error.path}") from None
