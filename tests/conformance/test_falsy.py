"""0, False, "", [], {} and null are values: they come back as they were, and none of them is absence."""

from typing import Any

import pytest

from spane_otel.records import Stamp
from spane_otel.state import NewDeadLetter
from spane_otel.stores.protocols import Store
from tests.conformance.definitions import chain
from tests.conformance.loading import load_execution, load_logs, load_result, load_spans, load_workflow
from tests.rows import batch, ns, root

FALSY: tuple[Any, ...] = (0, False, "", [], {}, None, 0.0, -0.0)


@pytest.mark.parametrize("value", FALSY, ids=repr)
async def test_a_falsy_payload_comes_back_from_everywhere(store: Store, value: Any) -> None:
    await store.save_workflow(chain("a", "b", tolerant=["b"]))
    await store.create_execution("order", execution_id="e", initial_data=value, metadata={"given": value})
    await store.update_execution_metadata("e", {"merged": value})
    await store.update_node_result("e", "a", {"success": True, "data": value}, input=value)
    failed = {"success": False, "data": value}
    await store.complete_node(
        "e", "b", failed, input=value, dead_letter=NewDeadLetter(job_data=value), execution_result=value
    )
    execution = await load_execution(store, "e")
    assert repr(execution.initial_data) == repr(value)
    assert repr(execution.metadata) == repr({"given": value, "merged": value})
    assert repr(execution.result) == repr(value)
    for node in ("a", "b"):
        result = await load_result(store, "e", node)
        (attempt,) = await store.list_node_attempts("e", node)
        for each in (result, attempt):
            assert (repr(each.data), each.has_data) == (repr(value), True)
            assert (repr(each.input), each.has_input) == (repr(value), True)
    (letter,) = await store.list_dead_letters()
    assert (repr(letter.job_data), letter.has_job_data) == (repr(value), True)


@pytest.mark.parametrize("value", FALSY, ids=repr)
async def test_a_falsy_result_of_a_status_comes_back(store: Store, value: Any) -> None:
    for status in ("paused", "completed", "failed", "cancelled"):
        await store.create_execution("order", execution_id=status)
        await store.set_execution_status(status, status, result=value)
        assert repr((await load_execution(store, status)).result) == repr(value)


@pytest.mark.parametrize("value", FALSY, ids=repr)
async def test_a_falsy_value_replaces_another_and_is_replaced(store: Store, value: Any) -> None:
    await store.create_execution("order", execution_id="e", metadata={"k": "before"})
    await store.update_node_result("e", "a", {"success": True, "data": "before"}, input="before")
    await store.set_execution_status("e", "paused", result="before")
    await store.update_execution_metadata("e", {"k": value})
    await store.update_node_result("e", "a", {"success": True, "data": value}, input=value)
    await store.set_execution_status("e", "running", result=value)
    execution, result = await load_execution(store, "e"), await load_result(store, "e", "a")
    assert {repr(each) for each in (execution.metadata["k"], result.data, result.input, execution.result)} == {
        repr(value)
    }
    await store.update_node_result("e", "a", {"success": True})
    result = await load_result(store, "e", "a")
    assert (result.has_data, result.has_input) == (False, False)


@pytest.mark.parametrize("value", FALSY, ids=repr)
async def test_a_falsy_attribute_of_an_added_span_or_log_comes_back(store: Store, value: Any) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="n", id="s", metadata={"given": value, "k": "before"})
    await store.update_span("e", "s", metadata={"k": value})
    await store.add_log("e", "m", metadata={"given": value})
    (span,) = (await load_spans(store, "e")).values()
    assert repr(dict(span.attributes)) == repr({"given": value, "k": value})
    (log,) = await load_logs(store, "e")
    assert repr(dict(log.attributes)) == repr({"given": value})


@pytest.mark.parametrize("value", FALSY, ids=repr)
async def test_a_falsy_value_in_a_definition_comes_back(store: Store, value: Any) -> None:
    node = {"id": "a", "type": "t", "config": {"k": value}, "inputs": [], "outputs": [], "position": value}
    await store.save_workflow({"id": "order", "nodes": [node], "owner": value})
    workflow = await load_workflow(store, "order")
    assert repr(workflow.extra) == repr({"owner": value})
    assert repr(workflow.nodes[0].config) == repr({"k": value})
    assert repr(workflow.nodes[0].extra) == repr({"position": value})


async def test_falsy_numbers_and_texts_are_not_what_was_not_given(store: Store) -> None:
    await store.save_workflow(
        {"id": "order", "priority": 0, "delay": 0, "maxConcurrency": 0, "concurrencyLockTTL": 0, "description": ""},
        change_notes="",
        created_by="",
    )
    workflow = await load_workflow(store, "order")
    assert (workflow.priority, workflow.delay, workflow.max_concurrency, workflow.concurrency_lock_ttl) == (0, 0, 0, 0)
    assert workflow.description == ""
    (version,) = await store.list_workflow_versions("order")
    assert (version.change_notes, version.created_by) == ("", "")
    (listed,) = await store.list_workflows()
    assert (listed.description, listed.priority, listed.nodes) == ("", 0, ())


async def test_an_empty_error_is_an_error(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", {"success": False, "error": ""})
    assert (await load_result(store, "e", "a")).error == ""
    await store.set_execution_status("e", "failed", error="")
    assert (await load_execution(store, "e")).error == ""
    await store.create_execution("order", execution_id="f")
    await store.complete_node("f", "a", {"success": False, "error": ""}, dead_letter=NewDeadLetter(job_id=""))
    (letter,) = await store.list_dead_letters()
    assert (letter.error, letter.job_id) == ("", "")


async def test_without_an_error_there_is_none(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.complete_node("e", "a", {"success": False}, dead_letter=NewDeadLetter())
    await store.set_execution_status("e", "failed")
    assert (await load_result(store, "e", "a")).error is None
    assert (await load_execution(store, "e")).error is None
    (letter,) = await store.list_dead_letters()
    assert (letter.error, letter.job_id, letter.has_job_data) == (None, None, False)


async def test_the_epoch_is_a_time(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.update_node_result("e", "a", {"success": True}, started_ns=0, ended_ns=0)
    result = await load_result(store, "e", "a")
    assert (result.started_ns, result.ended_ns) == (0, 0)
    await store.set_execution_timeout("e", 0)
    assert (await load_execution(store, "e")).timeout_ns == 0
    assert len(await store.list_executions(since=0)) == 1
    assert await store.list_executions(until=0) == []


async def test_an_empty_name_and_an_empty_message_are_kept(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.add_span("e", name="", id="s", start_ns=ns(1))
    await store.add_log("e", "")
    assert (await load_spans(store, "e"))["s"].name == ""
    (log,) = await load_logs(store, "e")
    assert (log.body, log.message) == ("", "")


@pytest.mark.parametrize("text", ["0", "false", '""', "[]", "{}", "null", "-0.0"])
async def test_a_falsy_input_and_output_of_a_span_come_back(store: Store, text: str) -> None:
    await store.write(batch(root("e", stamp=Stamp(workflow_id="order", input=text, output=text))))
    execution = await load_execution(store, "e")
    expected = {"0": 0, "false": False, '""': "", "[]": [], "{}": {}, "null": None, "-0.0": -0.0}[text]
    assert (repr(execution.initial_data), repr(execution.result)) == (repr(expected), repr(expected))
