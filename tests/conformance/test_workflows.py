"""Workflows: immutable, numbered versions; what is listed, what is found."""

import asyncio
from typing import Any

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidValueError, InvalidWorkflowError, UnknownWorkflowError
from spane_otel.graph import load_workflow as workflow_of
from spane_otel.graph import workflow_document
from spane_otel.state import Node, Workflow
from spane_otel.stores.cursors import encode_cursor
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution, load_workflow
from tests.conformance.pages import read_pages
from tests.conformance.subjects import Subject

EVERYTHING: dict[str, Any] = {
    "id": "order",
    "name": "Order ü 😀",
    "nodes": [
        {
            "id": "fetch",
            "type": "http",
            "config": {"url": "https://shop.example/\0", "retryPolicy": {"maxAttempts": 0}, "none": None, "no": False},
            "inputs": [],
            "outputs": ["save", "mail"],
            "position": {"x": 1.5, "y": 2**64},
        },
        {"id": "save", "type": "sql", "config": {}, "inputs": ["fetch"], "outputs": []},
        {"id": "mail", "type": "mail", "config": {}, "inputs": ["fetch"], "outputs": []},
    ],
    "entryNodeId": "fetch",
    "description": "",
    "maxConcurrency": 3,
    "concurrencyLockTTL": 0,
    "triggers": [{"type": "webhook", "path": "/order"}, {"type": "schedule", "cron": "* * * * *"}],
    "priority": 0,
    "delay": 250,
    "jobId": "job",
    "owner": {"team": "shop", "on_call": None},
}


async def test_a_definition_comes_back_as_it_was_saved(store: Store) -> None:
    assert await store.save_workflow(EVERYTHING) == 1
    workflow = await load_workflow(store, "order")
    assert workflow_document(workflow) == EVERYTHING
    assert (workflow.version, workflow.entry_node_id, workflow.max_concurrency) == (1, "fetch", 3)
    assert [node.id for node in workflow.nodes] == ["fetch", "save", "mail"]
    assert workflow.nodes[0].outputs == ("save", "mail")


async def test_a_workflow_with_nothing_but_an_id_is_saved(store: Store) -> None:
    assert await store.save_workflow({"id": "bare"}) == 1
    assert await load_workflow(store, "bare") == Workflow(id="bare", version=1)


async def test_a_mapping_in_either_spelling_and_a_workflow_are_the_same_content(store: Store) -> None:
    camel = chain("a", "b", maxConcurrency=2, concurrencyLockTTL=30, jobId="j")
    snake = chain("a", "b", max_concurrency=2, concurrency_lock_ttl=30, job_id="j")
    snake["entry_node_id"] = snake.pop("entryNodeId")
    reordered = dict(reversed(camel.items()))
    numbered = {**camel, "version": 17}
    for same in (camel, snake, reordered, numbered, workflow_of(camel)):
        assert await store.save_workflow(same) == 1
    assert await store.save_workflow(await load_workflow(store, "order")) == 1
    assert len(await store.list_workflow_versions("order")) == 1


async def test_each_change_of_content_is_a_new_version_and_the_old_ones_stay(store: Store) -> None:
    first, second = chain("a"), chain("a", "b")
    assert [await store.save_workflow(each) for each in (first, second, first)] == [1, 2, 3]
    for version, definition in ((None, first), (1, first), (2, second), (3, first)):
        workflow = await load_workflow(store, "order", version)
        assert workflow_document(workflow) == definition
        assert workflow.version == (version or 3)
    assert await store.get_workflow_version("order") == 3


async def test_every_part_of_the_content_counts(store: Store) -> None:
    node, *others = EVERYTHING["nodes"]
    changes: list[dict[str, Any]] = [{"config": {}}, {"type": "grpc"}, {"outputs": ["mail", "save"]}, {"position": 0}]
    contents = [
        EVERYTHING,
        *(
            {name: EVERYTHING[name] for name in EVERYTHING if name != left_out}
            for left_out in EVERYTHING.keys() - {"id", "nodes"}
        ),
        *({**EVERYTHING, "nodes": [{**node, **change}, *others]} for change in changes),
        {**EVERYTHING, "nodes": [*others, node]},
    ]
    numbers = [await store.save_workflow(content) for content in contents]
    assert numbers == list(range(1, len(contents) + 1))


async def test_versions_are_listed_oldest_first_with_their_notes_and_author(subject: Subject) -> None:
    store = subject.store
    before_ns = subject.now_ns()
    await store.save_workflow(chain("a"), "first \0", "Ada")
    await store.save_workflow(chain("a"), "the same again", "Grace")
    await store.save_workflow(chain("b"))
    await store.save_workflow(chain("a"), change_notes="", created_by="")
    versions = await store.list_workflow_versions("order")
    assert [each.version for each in versions] == [1, 2, 3]
    assert [each.change_notes for each in versions] == ["first \ufffd", None, ""]
    assert [each.created_by for each in versions] == ["Ada", None, ""]
    assert [each.is_current for each in versions] == [False, False, True]
    assert [each.workflow_id for each in versions] == ["order"] * 3
    assert versions[0].content_hash == versions[2].content_hash != versions[1].content_hash
    assert all(len(bytes.fromhex(each.content_hash)) == 16 for each in versions)
    assert all(before_ns - SECOND <= each.created_ns <= subject.now_ns() + SECOND for each in versions)


async def test_the_id_of_a_version_is_unique_over_all_workflows(store: Store) -> None:
    for workflow in ("order", "pay"):
        for node in ("a", "b"):
            await store.save_workflow(chain(node, workflow=workflow))
    ids = [
        await store.get_workflow_version_id(workflow, version) for workflow in ("order", "pay") for version in (1, 2)
    ]
    assert None not in ids
    assert len(set(ids)) == 4
    for workflow in ("order", "pay"):
        listed = [each.version_id for each in await store.list_workflow_versions(workflow)]
        assert listed == [await store.get_workflow_version_id(workflow, version) for version in (1, 2)]
        assert await store.get_workflow_version_id(workflow) == listed[-1]
        assert await store.get_workflow_version(workflow) == 2


async def test_what_is_not_there_reads_as_nothing(store: Store) -> None:
    await store.save_workflow(chain("a"))
    for unknown in ("nobody", "", "a\0b", "\ud800", "x" * 10_000):
        assert await store.get_workflow(unknown) is None
        assert await store.get_workflow_version(unknown) is None
        assert await store.get_workflow_version_id(unknown) is None
        assert await store.list_workflow_versions(unknown) == []
        with pytest.raises(UnknownWorkflowError):
            await store.deactivate_workflow(unknown)
    for version in (0, 2, -1, 2**31, 2**80):
        assert await store.get_workflow("order", version) is None
        assert await store.get_workflow_version_id("order", version) is None


async def test_a_definition_of_the_wrong_shape_is_refused_and_nothing_is_saved(store: Store) -> None:
    node = {"id": "a", "type": "http"}
    no_nodes: list[Any] = ["a", [5], [{}], [{"id": "a"}], [{"id": "", "type": "t"}]]
    wrong: list[Any] = [
        *({}, {"id": ""}, {"id": 5}, {"id": None}, [], "order", None),
        {"id": "order", "nodes": [node, node]},
        *({"id": "order", "nodes": nodes} for nodes in no_nodes),
        {"id": "order", "nodes": [{**node, "inputs": "b"}]},
        {"id": "order", "nodes": [{**node, "outputs": [5]}]},
        {"id": "order", "nodes": [{**node, "config": []}]},
        *({"id": "order", "maxConcurrency": number} for number in ("3", -1, True, 1.5)),
        *(
            {"id": "order", **member}
            for member in ({"name": 5}, {"triggers": "x"}, {"triggers": [1]}, {"description": 1})
        ),
    ]
    for definition in wrong:
        with pytest.raises(InvalidWorkflowError):
            await store.save_workflow(definition)
    unstorable: list[Any] = [
        {"id": "x" * 257},
        {"id": "a\0b"},
        {"id": "order", "nodes": [{"id": "x" * 257, "type": "t"}]},
        {"id": "order", "extra": float("nan")},
        {"id": "order", "extra": object()},
        {"id": "order", "extra": "x" * (2 * 1024 * 1024)},
    ]
    for definition in unstorable:
        with pytest.raises(InvalidValueError):
            await store.save_workflow(definition)
    assert await store.get_workflow_count(active_only=False) == 0


async def test_what_a_reader_or_a_writer_holds_is_its_own(store: Store) -> None:
    given = chain("a", owner={"team": ["shop"]})
    node = Node(id="n", type="t", config={"list": [1]})
    await store.save_workflow(given)
    await store.save_workflow(Workflow(id="built", nodes=(node,)))
    given["owner"]["team"].append("changed")
    given["nodes"].clear()
    node.config["list"].append(2)
    for _ in range(2):
        order, built = await load_workflow(store, "order"), await load_workflow(store, "built")
        assert order.extra == {"owner": {"team": ["shop"]}}
        assert len(order.nodes) == 1
        assert built.nodes[0].config == {"list": [1]}
        order.extra["owner"]["team"].append("changed")
        order.nodes[0].config["changed"] = True
        built.nodes[0].config["list"].append(2)


async def test_many_who_save_at_once_leave_numbers_without_gaps(subject: Subject) -> None:
    store = subject.store
    numbers = await asyncio.gather(*(store.save_workflow(chain(f"n{number % 6}")) for number in range(24)))
    versions = await store.list_workflow_versions("order")
    assert [each.version for each in versions] == list(range(1, len(versions) + 1))
    made = {each.version for each in versions}
    # Who tries again after another saved makes the content current again, as a version that nobody else was told of.
    assert set(numbers) <= made if subject.without_first_answers else set(numbers) == made
    for number, version in enumerate(numbers):
        workflow = await load_workflow(store, "order", version)
        assert workflow.nodes[0].id == f"n{number % 6}"


async def test_many_who_save_the_same_at_once_make_one_version(store: Store) -> None:
    numbers = await asyncio.gather(*(store.save_workflow(chain("a")) for _ in range(16)))
    assert numbers == [1] * 16


async def test_workflows_are_listed_the_one_changed_last_first(subject: Subject) -> None:
    store = subject.store
    for workflow in ("a", "b", "c"):
        await store.save_workflow(chain("n", workflow=workflow, description=f"about {workflow}"))
        await subject.wait(0.002)
    assert [each.id for each in await store.list_workflows()] == ["c", "b", "a"]
    await store.save_workflow(chain("n", workflow="b", description="about b"))
    assert [each.id for each in await store.list_workflows()] == ["c", "b", "a"], "saving the same changes nothing"
    await store.save_workflow(chain("n", "m", workflow="a"))
    listed = await store.list_workflows()
    assert [each.id for each in listed] == ["a", "c", "b"]
    first = listed[0]
    assert (first.name, first.version, first.is_active, first.description) == ("A", 2, True, None)
    assert [node.id for node in first.nodes] == ["n", "m"]
    assert first.created_ns < first.updated_ns
    assert listed[1].description == "about c"
    assert listed[1].created_ns == listed[1].updated_ns


async def test_a_list_of_workflows_is_paged_each_once(subject: Subject) -> None:
    store = subject.store
    ids = [f"w{number}" for number in range(7)]
    for workflow in ids:
        await store.save_workflow({"id": workflow})
    listed = await store.list_workflows()
    order = [(each.updated_ns, each.id) for each in listed]
    assert order == sorted(order, reverse=True)
    assert {each.id for each in listed} == set(ids)
    for limit in (1, 3, 7, 8):
        assert await read_pages(store.list_workflows, limit) == list(listed)
    assert await store.list_workflows(limit=2, offset=3) == list(listed[3:5])
    assert await store.list_workflows(offset=7) == []


async def test_a_page_of_workflows_that_makes_no_sense_is_refused(store: Store) -> None:
    await store.save_workflow({"id": "w"})
    cursors = ("", "x", encode_cursor("a", 1), encode_cursor(2**63, "a"), encode_cursor(1))
    wrong: list[dict[str, Any]] = [
        *({"limit": bad} for bad in (0, -1, 1_001)),
        {"offset": -1},
        *({"cursor": cursor} for cursor in cursors),
    ]
    for arguments in wrong:
        with pytest.raises(InvalidValueError):
            await store.list_workflows(**arguments)


async def test_a_deactivated_workflow_is_out_of_the_list_and_runs_on(store: Store) -> None:
    await store.save_workflow(chain("a"))
    await store.save_workflow(chain("a", workflow="other"))
    await store.create_execution("order", execution_id="before")
    await store.deactivate_workflow("order")
    assert [each.id for each in await store.list_workflows()] == ["other"]
    assert {each.id: each.is_active for each in await store.list_workflows(active_only=False)} == {
        "order": False,
        "other": True,
    }
    assert (await store.get_workflow_count(), await store.get_workflow_count(active_only=False)) == (1, 2)
    assert (await load_workflow(store, "order")).version == 1
    await store.create_execution("order", execution_id="after")
    assert (await load_execution(store, "after")).workflow_version == 1
    assert await store.complete_node("before", "a", {"success": True}) == "completed"


@pytest.mark.first_answers
async def test_deactivating_answers_whether_it_was_active(store: Store) -> None:
    await store.save_workflow(chain("a"))
    assert await store.deactivate_workflow("order") is True
    assert await store.deactivate_workflow("order") is False
    await store.save_workflow(chain("a"))
    assert await store.deactivate_workflow("order") is True


async def test_saving_makes_a_workflow_active_again_whether_its_content_is_new_or_not(store: Store) -> None:
    await store.save_workflow(chain("a"))
    for definition, version in ((chain("a"), 1), (chain("b"), 2)):
        await store.deactivate_workflow("order")
        assert await store.get_workflow_count() == 0
        assert await store.save_workflow(definition) == version
        assert [each.id for each in await store.list_workflows()] == ["order"]


async def test_an_execution_is_pinned_to_the_version_that_is_current_when_it_is_made(store: Store) -> None:
    await store.create_execution("order", execution_id="none")
    await store.save_workflow(chain("a"))
    await store.create_execution("order", execution_id="one")
    await store.save_workflow(chain("a", "b"))
    await store.create_execution("order", execution_id="two")
    await store.save_workflow(chain("c"))
    pinned = [(await load_execution(store, each)).workflow_version for each in ("none", "one", "two")]
    assert pinned == [None, 1, 2]
    counts = await store.count_telemetry(["none", "one", "two"])
    assert [counts[each].nodes_total for each in ("none", "one", "two")] == [None, 1, 2]
    for version, nodes in ((1, ["a"]), (2, ["a", "b"])):
        assert [node.id for node in (await load_workflow(store, "order", version)).nodes] == nodes


async def test_versions_that_are_pinned_while_others_are_saved_all_exist(store: Store) -> None:
    await store.save_workflow(chain("n"))

    async def create(number: int) -> str:
        return await store.create_execution("order", execution_id=f"e{number}")

    async def save(number: int) -> int:
        return await store.save_workflow(chain(f"n{number}"))

    await asyncio.gather(*(call(number) for number in range(10) for call in (save, create)))
    for number in range(10):
        version = (await load_execution(store, f"e{number}")).workflow_version
        assert version is not None
        assert await store.get_workflow("order", version) is not None
