"""Import cycles."""

import random

import pytest

from spane_otel.demo.cycles import build_graph, find_cycles, strongly_connected


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, []),
        ({"a": []}, []),
        ({"a": ["b"], "b": []}, []),
        ({"a": ["b"], "b": ["a"]}, [["a", "b"]]),
        ({"a": ["a"]}, []),
        ({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": ["d"]}, [["a", "b", "c"], ["d", "e"]]),
        ({"a": ["unknown"], "b": ["a"]}, []),
    ],
)
def test_groups_of_modules_that_import_each_other_are_found(
    graph: dict[str, list[str]], expected: list[list[str]]
) -> None:
    assert find_cycles(graph) == expected


def reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(graph[node])
    return seen


def test_components_are_exactly_the_classes_of_mutual_reachability() -> None:
    """Checked against the definition, on a few hundred random graphs."""
    rng = random.Random(20)
    for _ in range(200):
        names = [str(number) for number in range(rng.randint(1, 9))]
        graph = {name: rng.choices(names, k=rng.randint(0, 3)) for name in names}
        reach = {name: reachable(graph, name) for name in names}
        expected = {frozenset(b for b in names if b in reach[a] and a in reach[b]) for a in names}
        found = [frozenset(component) for component in strongly_connected(graph)]
        assert set(found) == expected
        assert len(found) == len(expected)


def test_a_component_comes_after_all_that_it_reaches() -> None:
    assert list(strongly_connected({"a": ["b"], "b": ["c"], "c": []})) == [["c"], ["b"], ["a"]]


def test_a_chain_longer_than_the_recursion_limit_is_no_problem() -> None:
    graph = {str(number): [str(number + 1)] for number in range(50_000)}
    graph["50000"] = ["0"]
    assert [len(component) for component in strongly_connected(graph)] == [50_001]


def test_an_imported_name_is_a_module_if_it_is_known_else_its_package() -> None:
    imports = {"a": [], "a.b": ["a.c", "a.Name", "a", "elsewhere.x"], "a.c": ["a.b.thing"]}
    assert build_graph(imports) == {"a": [], "a.b": ["a", "a.c"], "a.c": ["a.b"]}
