"""A version's nodes as a directed graph without cycles, and how far one execution has come through it."""

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from spane_otel.errors import InvalidWorkflowError
from spane_otel.state import Node, Workflow

_ARROW: Final = " -> "


class Dag:
    """The graph of one version. An edge counts if either of its ends names it, in `outputs` or in `inputs`.

    The execution begins at `entry_node_id`; without one, at every node without parents. Nothing here recurses: ten
    thousand nodes in a row are no deeper than two.

    Raises:
        InvalidWorkflowError: there is no node or none to begin at, an edge leads to a node that does not exist, or
            edges lead in a circle; `path` names the circle, `a -> b -> a`.

    """

    def __init__(self, workflow: Workflow) -> None:
        if not workflow.nodes:
            raise InvalidWorkflowError("a workflow needs at least one node", "nodes")
        self.nodes: Final = {node.id: node for node in workflow.nodes}
        self.parents: Final = _parents(workflow, self.nodes)
        """Of each node, in the order of its `inputs`, then of the definition."""
        _check_circles(self.parents)
        self.entries: Final = _entries(workflow, self.parents)
        for entry in self.entries:
            self.parents[entry] = ()
        self.children: Final = _turned(self.parents)
        """Of each node, in the order of its `outputs`, then of the definition."""
        self.exits: Final = tuple(node_id for node_id, children in self.children.items() if not children)

    def unreachable(self) -> list[str]:
        """Return the nodes to which no path leads from where the execution begins, in the order of the definition."""
        reached = set(self.entries)
        waiting = list(self.entries)
        while waiting:
            for child in self.children[waiting.pop()]:
                if child not in reached:
                    reached.add(child)
                    waiting.append(child)
        return [node_id for node_id in self.nodes if node_id not in reached]


class Progress:
    """How far one execution has come: which nodes may run now, which never will.

    An edge is *live* when the node before it came to something and chose to go on along it. A node is ready once
    every node before it is settled and at least one live edge leads to it; where none does, it is skipped.
    """

    def __init__(self, dag: Dag) -> None:
        self._dag: Final = dag
        self._unsettled: Final = {node_id: len(parents) for node_id, parents in dag.parents.items()}
        self._live: Final[dict[str, list[str]]] = {node_id: [] for node_id in dag.nodes}
        self._settled: Final[set[str]] = set()

    @property
    def is_complete(self) -> bool:
        """Whether every node is settled."""
        return len(self._settled) == len(self._dag.nodes)

    @property
    def left(self) -> int:
        """How many nodes are not settled."""
        return len(self._dag.nodes) - len(self._settled)

    def is_settled(self, node_id: str) -> bool:
        return node_id in self._settled

    def live_parents(self, node_id: str) -> list[str]:
        """Return the nodes from which live edges lead to this one, in the order of the node's parents."""
        live = set(self._live[node_id])
        return [each for each in self._dag.parents[node_id] if each in live]

    def start(self) -> tuple[list[str], list[str]]:
        """Return what may run at first, and what is skipped since nothing leads to it."""
        entries = set(self._dag.entries)
        roots = [node_id for node_id, count in self._unsettled.items() if not count]
        return [each for each in roots if each in entries], [each for each in roots if each not in entries]

    def settle(self, node_id: str, chosen: Collection[str] | None = None) -> tuple[list[str], list[str]]:
        """Take note that a node came to something; return what may run now, and what is to be skipped now.

        `chosen` are the children to which it goes on, None: all. An empty one is also how a skipped node is settled.
        Settling a node again changes nothing.
        """
        if node_id in self._settled:
            return [], []
        self._settled.add(node_id)
        ready: list[str] = []
        skipped: list[str] = []
        for child in self._dag.children[node_id]:
            self._unsettled[child] -= 1
            if chosen is None or child in chosen:
                self._live[child].append(node_id)
            if not self._unsettled[child]:
                (ready if self._live[child] else skipped).append(child)
        return ready, skipped


def _parents(workflow: Workflow, nodes: dict[str, Node]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {node_id: {} for node_id in nodes}
    for place, node in enumerate(workflow.nodes):
        for index, each in enumerate(node.inputs):
            _check_known(each, nodes, f"nodes[{place}].inputs[{index}]")
            found[node.id][each] = None
    for place, node in enumerate(workflow.nodes):
        for index, each in enumerate(node.outputs):
            _check_known(each, nodes, f"nodes[{place}].outputs[{index}]")
            found[each][node.id] = None
    return {node_id: tuple(parents) for node_id, parents in found.items()}


def _check_known(node_id: str, nodes: Collection[str], path: str) -> None:
    if node_id not in nodes:
        raise InvalidWorkflowError(f"there is no node {node_id!r}", path)


def _turned(parents: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    children: dict[str, list[str]] = {node_id: [] for node_id in parents}
    for node_id, before in parents.items():
        for parent in before:
            children[parent].append(node_id)
    return {node_id: tuple(each) for node_id, each in children.items()}


def _entries(workflow: Workflow, parents: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    entry = workflow.entry_node_id
    if entry:
        _check_known(entry, parents, "entryNodeId")
        return (entry,)
    return tuple(node_id for node_id, before in parents.items() if not before)


def _check_circles(parents: dict[str, tuple[str, ...]]) -> None:
    """Take away what has no parents left until nothing does: what remains lies in circles or behind them."""
    children = _turned(parents)
    count = {node_id: len(before) for node_id, before in parents.items()}
    free = deque(node_id for node_id, number in count.items() if not number)
    while free:
        node_id = free.popleft()
        del count[node_id]
        for child in children[node_id]:
            count[child] -= 1
            if not count[child]:
                free.append(child)
    if count:
        circle = _circle(parents, count)
        raise InvalidWorkflowError("the nodes form a circle", _ARROW.join(circle))


def _circle(parents: dict[str, tuple[str, ...]], left: Collection[str]) -> list[str]:
    """Return one circle among the nodes `left`, each of which has a parent there, from its first node to itself."""
    place: dict[str, int] = {}
    walked: list[str] = []
    node_id = next(iter(left))
    while node_id not in place:
        place[node_id] = len(walked)
        walked.append(node_id)
        node_id = next(each for each in parents[node_id] if each in left)
    circle = walked[place[node_id] :][::-1]
    order = {node_id: index for index, node_id in enumerate(parents)}
    first = circle.index(min(circle, key=order.__getitem__))
    return [*circle[first:], *circle[:first], circle[first]]


def chain(names: Iterable[str]) -> str:
    """Return names as a path, `a -> b -> a`."""
    return _ARROW.join(names)
