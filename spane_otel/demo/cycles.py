"""Import cycles: the strongly connected components of the import graph."""

from collections.abc import Iterable, Iterator, Mapping

Graph = Mapping[str, Iterable[str]]


def build_graph(imports: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return the graph of known modules: who loads whom.

    `imports` gives each module's imported names; `a.b` means the module `a.b` if it is known, else something inside
    `a`. Other names, and a module's import of itself through its own package, are left out.
    """
    graph: dict[str, list[str]] = {}
    for module, names in imports.items():
        targets = {_known(name, imports) for name in names}
        graph[module] = sorted(target for target in targets if target is not None and target != module)
    return graph


def find_cycles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import each other, the largest first, members sorted."""
    groups = [sorted(group) for group in strongly_connected(graph) if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), group))


def strongly_connected(graph: Graph) -> Iterator[list[str]]:
    """Yield the strongly connected components of `graph` (Tarjan 1972), without recursion.

    Edges to nodes that are no key of `graph` are ignored. A component comes after all that it reaches.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    is_open: set[str] = set()
    for start in graph:
        if start in index:
            continue
        path: list[tuple[str, Iterator[str]]] = []
        _enter(start, graph, index, low, open_nodes, is_open, path)
        while path:
            node, edges = path[-1]
            target = next(edges, None)
            if target is None:
                path.pop()
                if path:
                    parent = path[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == index[node]:
                    yield _close(node, open_nodes, is_open)
            elif target not in graph:
                continue
            elif target not in index:
                _enter(target, graph, index, low, open_nodes, is_open, path)
            elif target in is_open:
                low[node] = min(low[node], index[target])


def _enter(
    node: str,
    graph: Graph,
    index: dict[str, int],
    low: dict[str, int],
    open_nodes: list[str],
    is_open: set[str],
    path: list[tuple[str, Iterator[str]]],
) -> None:
    index[node] = low[node] = len(index)
    open_nodes.append(node)
    is_open.add(node)
    path.append((node, iter(graph[node])))


def _close(node: str, open_nodes: list[str], is_open: set[str]) -> list[str]:
    component: list[str] = []
    while True:
        member = open_nodes.pop()
        is_open.discard(member)
        component.append(member)
        if member == node:
            return component


def _known(name: str, modules: Mapping[str, Iterable[str]]) -> str | None:
    if name in modules:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in modules else None
