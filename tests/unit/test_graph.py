"""Definitions: which an engine can run, what is wrong with the others and where, and what is left to run."""

import time
from typing import Any

import pytest

from spane_otel.errors import InvalidWorkflowError
from spane_otel.graph import (
    Dag,
    Progress,
    check_nesting,
    check_workflow,
    delay_ms,
    is_tolerant,
    load_workflow,
    map_members,
    retry_policy,
    wait_ms,
    workflow_document,
)
from spane_otel.state import Node, RetryPolicy, Workflow


def flow(*nodes: dict[str, Any], entry: str | None = None, id: str = "w") -> Workflow:  # noqa: A002 - the name in the API
    definition = {"id": id, "nodes": [{"type": "work", **node} for node in nodes]}
    return load_workflow(definition if entry is None else {**definition, "entryNodeId": entry})


def node(config: dict[str, Any], type: str = "work") -> Node:  # noqa: A002 - the name in the API
    return Node(id="n", type=type, config=config)


def nesting(id: str, *inner: str) -> Workflow:  # noqa: A002 - the name in the API
    nodes = (
        {"id": f"n{place}", "type": "sub-workflow", "config": {"workflowId": each}} for place, each in enumerate(inner)
    )
    return flow(*nodes, id=id) if inner else flow({"id": "n"}, id=id)


# --- what is wrong, and where ---


@pytest.mark.parametrize(
    ("workflow", "path"),
    [
        pytest.param(flow({"id": "a", "outputs": ["a"]}), "a -> a", id="itself"),
        pytest.param(flow({"id": "a", "outputs": ["b"]}, {"id": "b", "outputs": ["a"]}), "a -> b -> a", id="two"),
        pytest.param(
            flow(
                {"id": "s", "outputs": ["a"]},
                {"id": "a", "inputs": ["c"]},
                {"id": "b", "inputs": ["a"]},
                {"id": "c", "inputs": ["b"]},
            ),
            "a -> b -> c -> a",
            id="behind an entry, told by inputs",
        ),
        pytest.param(flow({"id": "a", "outputs": ["x"]}), "nodes[0].outputs[0]", id="an output that does not exist"),
        pytest.param(
            flow({"id": "a"}, {"id": "b", "inputs": ["a", "x"]}), "nodes[1].inputs[1]", id="an input likewise"
        ),
        pytest.param(flow({"id": "a"}, entry="x"), "entryNodeId", id="an entry that does not exist"),
        pytest.param(flow({"id": "a"}, {"id": "b"}, entry="a"), "nodes[1]", id="nothing leads there"),
        pytest.param(flow(), "nodes", id="no node"),
        pytest.param(flow({"id": "a", "type": "strange"}), "nodes[0].type", id="a type that nobody runs"),
        pytest.param(flow({"id": "a", "type": "delay"}), "nodes[0].config", id="a delay of no length"),
        pytest.param(
            flow({"id": "a", "type": "delay", "config": {"duration": -1}}),
            "nodes[0].config.duration",
            id="a negative delay",
        ),
        pytest.param(
            flow({"id": "a", "type": "sub-workflow"}), "nodes[0].config.workflowId", id="a sub-workflow of none"
        ),
        pytest.param(
            flow({"id": "a", "type": "sub-workflow", "config": {"workflowId": "x", "inputMapping": {"a": 1}}}),
            "nodes[0].config.inputMapping",
            id="a mapping of no names",
        ),
        pytest.param(
            flow({"id": "a", "config": {"retryPolicy": {"maxAttempts": 0}}}),
            "nodes[0].config.retryPolicy.maxAttempts",
            id="no attempt",
        ),
        pytest.param(
            flow({"id": "a", "config": {"retryPolicy": {"backoff": {"type": "linear"}}}}),
            "nodes[0].config.retryPolicy.backoff.type",
            id="an unknown backoff",
        ),
    ],
)
def test_a_definition_that_can_not_be_run_is_refused_with_its_place(workflow: Workflow, path: str) -> None:
    with pytest.raises(InvalidWorkflowError) as refused:
        check_workflow(workflow, {"work"})
    assert refused.value.path == path
    assert str(refused.value).startswith(f"{path}: ")


def test_two_nodes_of_one_id_are_refused() -> None:
    with pytest.raises(InvalidWorkflowError) as refused:
        flow({"id": "a"}, {"id": "a"})
    assert refused.value.path == "nodes[1].id"


def test_any_type_will_do_where_none_are_named() -> None:
    check_workflow(flow({"id": "a", "type": "strange"}))


@pytest.mark.parametrize("named_by", ["outputs", "inputs", "both"])
def test_an_edge_counts_whichever_of_its_ends_names_it(named_by: str) -> None:
    """So it is in SPANE, where what starts a node is read from outputs and what it waits for from inputs."""
    outputs = ["b"] if named_by in ("outputs", "both") else []
    inputs = ["a"] if named_by in ("inputs", "both") else []
    dag = check_workflow(flow({"id": "a", "outputs": outputs}, {"id": "b", "inputs": inputs}))
    assert dag.children == {"a": ("b",), "b": ()}
    assert dag.parents == {"a": (), "b": ("a",)}
    assert (dag.entries, dag.exits) == (("a",), ("b",))


def test_parents_stand_in_the_order_of_the_inputs() -> None:
    dag = check_workflow(flow({"id": "a", "outputs": ["c"]}, {"id": "b"}, {"id": "c", "inputs": ["b"]}))
    assert dag.parents["c"] == ("b", "a")


def test_without_an_entry_the_execution_begins_at_every_node_that_nothing_leads_to() -> None:
    dag = check_workflow(flow({"id": "a", "outputs": ["c"]}, {"id": "b", "outputs": ["c"]}, {"id": "c"}))
    assert dag.entries == ("a", "b")


# --- size ---


def test_ten_thousand_nodes_in_a_row_are_checked_in_well_under_a_second() -> None:
    workflow = flow(
        *({"id": f"n{place}", "outputs": [f"n{place + 1}"] if place < 9_999 else []} for place in range(10_000))
    )
    began = time.process_time()
    dag = check_workflow(workflow, {"work"})
    assert time.process_time() - began < 0.9
    assert dag.exits == ("n9999",)


def test_a_circle_of_ten_thousand_nodes_is_found_without_recursion() -> None:
    workflow = flow(*({"id": f"n{place}", "outputs": [f"n{(place + 1) % 10_000}"]} for place in range(10_000)))
    with pytest.raises(InvalidWorkflowError) as refused:
        check_workflow(workflow, {"work"})
    assert refused.value.path.startswith("n0 -> n1 -> n2 ")
    assert refused.value.path.endswith(" -> n9999 -> n0")


def test_skipping_runs_through_ten_thousand_nodes_without_recursion() -> None:
    workflow = flow(
        *({"id": f"n{place}", "outputs": [f"n{place + 1}"] if place < 9_999 else []} for place in range(10_000))
    )
    progress = Progress(Dag(workflow))
    _, skipped = progress.settle("n0", ())
    while skipped:
        (node_id,) = skipped
        _, skipped = progress.settle(node_id, ())
    assert progress.is_complete


# --- nesting ---


def test_a_workflow_may_nest_ten_deep() -> None:
    chain = {f"w{place}": nesting(f"w{place}", f"w{place + 1}") for place in range(10)}
    check_nesting(chain["w0"], {**chain, "w10": nesting("w10")})


@pytest.mark.parametrize(
    ("workflow", "others", "path"),
    [
        pytest.param(nesting("a", "a"), (), "a -> a", id="itself"),
        pytest.param(nesting("a", "b"), (nesting("b", "a"),), "a -> b -> a", id="through another"),
        pytest.param(
            nesting("a", "x", "b"),
            (nesting("x"), nesting("b", "c"), nesting("c", "a")),
            "a -> b -> c -> a",
            id="through two",
        ),
        pytest.param(
            nesting("a", "b"), (nesting("b", "c"), nesting("c", "b")), "b -> c -> b", id="others among themselves"
        ),
        pytest.param(
            nesting("w0", "w1"),
            tuple(nesting(f"w{place}", f"w{place + 1}") for place in range(1, 11)),
            " -> ".join(f"w{place}" for place in range(12)),
            id="eleven deep",
        ),
    ],
)
def test_what_nests_itself_or_too_deep_is_refused_with_the_chain(
    workflow: Workflow, others: tuple[Workflow, ...], path: str
) -> None:
    with pytest.raises(InvalidWorkflowError) as refused:
        check_nesting(workflow, {each.id: each for each in others})
    assert refused.value.path == path


def test_a_workflow_may_be_nested_twice_and_one_that_is_not_known_nests_nothing() -> None:
    check_nesting(nesting("a", "b", "c", "b"), {"b": nesting("b", "c"), "c": nesting("c", "unknown")})


def test_nesting_without_circles_is_checked_quickly_however_many_ways_there_are() -> None:
    """Each level nests both of the next: 2^10 chains, which are not walked one by one."""
    others = {
        f"{side}{level}": nesting(f"{side}{level}", *([f"l{level + 1}", f"r{level + 1}"] if level < 10 else []))
        for level in range(1, 11)
        for side in "lr"
    }
    began = time.process_time()
    check_nesting(nesting("top", "l1", "r1"), others)
    assert time.process_time() - began < 0.5


# --- what is left to run ---


DIAMOND = flow(
    {"id": "a", "outputs": ["b", "c"]}, {"id": "b", "outputs": ["d"]}, {"id": "c", "outputs": ["d"]}, {"id": "d"}
)


def test_a_join_is_ready_once_everything_before_it_is_settled() -> None:
    progress = Progress(Dag(DIAMOND))
    assert progress.start() == (["a"], [])
    assert progress.settle("a") == (["b", "c"], [])
    assert progress.settle("b") == ([], [])
    assert progress.settle("c") == (["d"], [])
    assert progress.live_parents("d") == ["b", "c"]
    assert not progress.is_complete
    progress.settle("d")
    assert progress.is_complete


def test_what_is_not_chosen_is_skipped_and_a_join_waits_only_for_what_is_not() -> None:
    progress = Progress(Dag(DIAMOND))
    assert progress.settle("a", ("c",)) == (["c"], ["b"])
    assert progress.settle("b", ()) == ([], [])
    assert progress.settle("c") == (["d"], [])
    assert progress.live_parents("d") == ["c"]


def test_a_node_to_which_no_live_edge_leads_is_skipped() -> None:
    progress = Progress(Dag(DIAMOND))
    assert progress.settle("a", ()) == ([], ["b", "c"])
    assert progress.settle("b", ()) == ([], [])
    assert progress.settle("c", ()) == ([], ["d"])


def test_settling_a_node_again_changes_nothing() -> None:
    progress = Progress(Dag(DIAMOND))
    progress.settle("a")
    progress.settle("b")
    assert progress.settle("b") == ([], [])
    assert progress.left == 2


def test_results_may_be_settled_in_any_order() -> None:
    """After a crash they come as the store gives them."""
    progress = Progress(Dag(DIAMOND))
    ready = [node_id for each in ("c", "d", "b", "a") for node_id in progress.settle(each)[0]]
    assert progress.is_complete
    assert set(ready) == {"b", "c", "d"}


def test_what_no_path_leads_to_is_skipped_from_the_start() -> None:
    """A version that was saved without being checked still comes to an end."""
    progress = Progress(Dag(flow({"id": "a", "outputs": ["c"]}, {"id": "b", "outputs": ["c"]}, {"id": "c"}, entry="a")))
    assert progress.start() == (["a"], ["b"])


# --- policies ---


@pytest.mark.parametrize(
    ("config", "policy"),
    [
        pytest.param({}, RetryPolicy(), id="SPANE's defaults: 3 attempts, 1 s, doubled"),
        pytest.param(
            {"retryPolicy": {"maxAttempts": 5, "backoff": {"type": "fixed", "delay": 20}, "continueOnFail": True}},
            RetryPolicy(max_attempts=5, backoff="fixed", delay_ms=20, continue_on_fail=True),
            id="SPANE's keys",
        ),
        pytest.param({"retry_policy": {"max_attempts": 1}}, RetryPolicy(max_attempts=1), id="ours"),
        pytest.param({"retryPolicy": None}, RetryPolicy(), id="null"),
        pytest.param({"continueOnFail": True}, RetryPolicy(continue_on_fail=True), id="beside the policy"),
    ],
)
def test_a_retry_policy_is_read_from_the_config(config: dict[str, Any], policy: RetryPolicy) -> None:
    assert retry_policy(node(config)) == policy
    assert is_tolerant(node(config)) is policy.continue_on_fail


def test_a_sub_workflow_is_tried_once_unless_it_says_otherwise() -> None:
    """Its own nodes have had their attempts."""
    assert retry_policy(node({"workflowId": "x"}, "sub-workflow")).max_attempts == 1
    assert retry_policy(node({"retryPolicy": {"maxAttempts": 2}}, "sub-workflow")).max_attempts == 2


def test_an_exponential_backoff_doubles_and_a_fixed_one_does_not() -> None:
    exponential, fixed = RetryPolicy(delay_ms=100), RetryPolicy(delay_ms=100, backoff="fixed")
    assert [wait_ms(exponential, attempt) for attempt in (1, 2, 3, 4)] == [100, 200, 400, 800]
    assert [wait_ms(fixed, attempt) for attempt in (1, 2, 3)] == [100, 100, 100]
    assert wait_ms(exponential, 1_000_000) == 24 * 3_600_000


@pytest.mark.parametrize(
    ("config", "milliseconds"),
    [
        ({"duration": 5}, 5),
        ({"durationSeconds": 1.5}, 1_500),
        ({"durationMinutes": 2}, 120_000),
        ({"duration": 0, "durationSeconds": 9}, 0),
        ({"durationSeconds": 1, "durationMinutes": 1}, 1_000),
        ({"duration": None, "duration_seconds": 3}, 3_000),
    ],
)
def test_a_delay_is_milliseconds_else_seconds_else_minutes(config: dict[str, Any], milliseconds: int) -> None:
    assert delay_ms(node(config, "delay")) == milliseconds


@pytest.mark.parametrize(
    ("data", "mapping", "mapped"),
    [
        ({"a": 1, "b": 2}, {"x": "a"}, {"x": 1}),
        ({"a": 1}, {"x": "a", "y": "missing"}, {"x": 1}),
        ({"a": None}, {"x": "a"}, {"x": None}),
        ({"a": 1}, {}, {}),
        ({"a": 1}, None, {"a": 1}),
        ([1, 2], {"x": "a"}, [1, 2]),
        ("text", {"x": "a"}, "text"),
    ],
)
def test_a_mapping_takes_what_is_there(data: Any, mapping: dict[str, str] | None, mapped: Any) -> None:
    """As SPANE's applyInputMapping and applyOutputMapping."""
    assert map_members(data, mapping) == mapped


def test_a_definition_comes_back_as_spane_writes_it() -> None:
    definition = {
        "id": "w",
        "name": "n",
        "entryNodeId": "a",
        "maxConcurrency": 2,
        "nodes": [{"id": "a", "type": "t", "config": {}, "inputs": [], "outputs": [], "position": {"x": 1}}],
        "tags": ["x"],
    }
    assert workflow_document(load_workflow(definition)) == definition
