"""How many nodes of an execution are done, of how many."""

from typing import Any, Final

from spane_otel.records import Counts, Stamp
from spane_otel.stores.protocols import Store
from tests.rows import batch, root, span

NODES: Final = ("a", "b", "c")


def definition(*nodes: str) -> dict[str, Any]:
    return {"id": "w", "nodes": [{"id": node, "type": "t"} for node in nodes]}


async def test_of_a_known_version_its_nodes_with_a_final_result_are_done(store: Store) -> None:
    await store.save_workflow(definition(*NODES))
    await store.create_execution("w", execution_id="e")
    assert (await store.count_telemetry(["e"]))["e"] == Counts(nodes_total=3)
    await store.update_node_result("e", "a", {"success": True})
    await store.complete_node("e", "b", {"success": False})
    await store.update_node_result("e", "c", {"success": False})
    await store.complete_node("e", "of no version", {"success": True})
    await store.add_span("e", name="third", node_id="c", status="completed")
    counts = (await store.count_telemetry(["e"]))["e"]
    assert (counts.nodes_done, counts.nodes_total) == (2, 3)


async def test_of_an_execution_made_from_spans_with_a_known_version_its_nodes_whose_spans_ended_are_done(
    store: Store,
) -> None:
    await store.save_workflow(definition(*NODES))
    await store.write(
        batch(
            root("e", trace="t", stamp=Stamp(workflow_id="w", workflow_version=1)),
            span("a", execution="e", node="a"),
            span("b", execution="e", node="b", end=None),
            span("x", execution="e", node="of no version"),
        )
    )
    counts = (await store.count_telemetry(["e"]))["e"]
    assert (counts.nodes_done, counts.nodes_total) == (1, 3)


async def test_without_a_version_nodes_with_a_final_result_or_ended_spans_are_done(store: Store) -> None:
    await store.create_execution("unknown", execution_id="e")
    await store.complete_node("e", "a", {"success": True})
    await store.add_span("e", name="first", node_id="a", status="completed")
    await store.add_span("e", name="second", node_id="b", status="completed")
    await store.add_span("e", name="third", node_id="c")
    counts = (await store.count_telemetry(["e"]))["e"]
    assert (counts.nodes_done, counts.nodes_total) == (2, None)
