"""Arguments of a wrong type, or with values that nobody means: refused alike in every store, never half believed."""

from typing import Any

import pytest

from spane_otel.errors import InvalidValueError, UnknownDeadLetterError, UnknownWorkflowError
from spane_otel.state import NewDeadLetter
from tests.conformance.definitions import chain
from tests.conformance.subjects import Subject

NO_TEXT: list[Any] = [None, 0, 1.5, True]


@pytest.mark.parametrize("given", NO_TEXT)
async def test_what_is_no_text_names_nothing(subject: Subject, given: Any) -> None:
    store = subject.store
    assert await store.get_execution(given) is None
    assert await store.get_trace(given) is None
    assert await store.get_trace_by_id(given) is None
    assert not await store.get_logs(given)
    assert await store.get_node_results(given) == {}
    assert await store.get_workflow(given) is None
    assert await store.get_workflow_version(given) is None
    assert await store.list_workflow_versions(given) == []
    assert not await store.delete_execution(given)
    with pytest.raises(UnknownWorkflowError):
        await store.deactivate_workflow(given)


@pytest.mark.parametrize("version", ["", "1", 1.0, 1.5, True])
async def test_a_version_is_found_by_its_whole_number_alone(subject: Subject, version: Any) -> None:
    await subject.store.save_workflow(chain("a", workflow="typed"))
    assert await subject.store.get_workflow("typed", version) is None
    assert await subject.store.get_workflow_version_id("typed", version) is None


@pytest.mark.parametrize("given", [None, "", "5", 5.0, True])
async def test_the_length_of_a_page_and_what_it_leaves_out_are_whole_numbers(subject: Subject, given: Any) -> None:
    store = subject.store
    for refused in (
        store.list_executions(limit=given),
        store.list_executions(offset=given),
        store.list_workflows(limit=given),
        store.list_workflows(offset=given),
        store.get_logs("any", limit=given),
        store.list_audit("any", limit=given),
        store.list_dead_letters(limit=given),
        store.list_traces(limit=given),
        store.list_stuck_executions(0, limit=given),
    ):
        with pytest.raises(InvalidValueError):
            await refused


async def test_a_cursor_is_text(subject: Subject) -> None:
    cursor: Any = 7
    with pytest.raises(InvalidValueError, match="cursor"):
        await subject.store.list_executions(cursor=cursor)


async def test_an_error_may_be_an_exception(subject: Subject) -> None:
    error: Any = ValueError("no such file")
    execution_id = await subject.store.create_execution("w")
    await subject.store.set_execution_status(execution_id, "failed", error=error)
    failed = await subject.store.get_execution(execution_id)
    assert failed is not None
    assert failed.error == "no such file"


async def test_notes_author_and_the_key_of_an_operation_are_text(subject: Subject) -> None:
    store = subject.store
    given: Any = 7
    execution_id = await store.create_execution("w")
    for refused in (
        store.save_workflow(chain("a", workflow="noted"), given),
        store.save_workflow(chain("a", workflow="noted"), None, given),
        store.set_execution_status(execution_id, "completed", operation=given),
    ):
        with pytest.raises(InvalidValueError, match="text"):
            await refused
    assert await store.get_workflow("noted") is None


async def test_a_dead_letter_is_checked_before_the_result_is_written(subject: Subject) -> None:
    store = subject.store
    given: Any = "7"
    number: Any = 7
    execution_id = await store.create_execution("w")
    for letter in (NewDeadLetter(attempts_made=given), NewDeadLetter(job_id=number), NewDeadLetter(attempts_made=-1)):
        with pytest.raises(InvalidValueError):
            await store.complete_node(execution_id, "a", {"success": False}, dead_letter=letter)
    assert await store.get_node_results(execution_id) == {}
    with pytest.raises(UnknownDeadLetterError):
        await store.retry_dead_letter(execution_id, number)


async def test_an_end_at_zero_is_an_end(subject: Subject) -> None:
    execution_id = await subject.store.create_execution("w")
    await subject.store.add_span(execution_id, name="early", id="early")
    await subject.store.update_span(execution_id, "early", end_ns=0)
    trace = await subject.store.get_trace(execution_id)
    assert trace is not None
    assert trace.spans[0].end_ns == 0
