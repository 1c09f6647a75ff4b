"""`execution(...)`: one run of a workflow as a root span."""

import asyncio
import uuid
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from spane_otel import aflush, current_execution, execution, flush, node
from spane_otel.stores.memory import InMemoryExecutionStore
from tests.unit.telemetry.sinks import RecordingSink, attributes_of


async def test_an_execution_is_stored_with_what_was_given_and_set(store: InMemoryExecutionStore) -> None:
    with execution("order", execution_id="o-1", input={"amount": 2**53 + 1}, version="2026-11") as run:
        run.set_result(["done"])
    assert await aflush()
    stored = await store.get_execution("o-1")
    assert stored is not None
    assert (stored.workflow_id, stored.version_label, stored.status, stored.origin) == (
        "order",
        "2026-11",
        "completed",
        "spans",
    )
    assert stored.initial_data == {"amount": 2**53 + 1}
    assert stored.result == ["done"]
    assert stored.ended_ns is not None
    assert stored.started_ns < stored.ended_ns
    assert (stored.parent_execution_id, stored.root_execution_id, stored.depth) == (None, "o-1", 0)


def test_a_new_execution_id_is_a_uuid_of_version_7(sink: RecordingSink) -> None:
    with execution("order") as run:
        pass
    assert flush()
    assert uuid.UUID(run.execution_id).version == 7
    assert sink.span("order").execution_id == run.execution_id


def test_a_long_execution_id_ends_in_a_hash(sink: RecordingSink) -> None:
    with execution("order", execution_id="x" * 300) as run:
        pass
    assert flush()
    assert len(run.execution_id) == 233
    assert sink.span("order").execution_id == run.execution_id


def test_the_root_span_alone_carries_the_workflow(sink: RecordingSink) -> None:
    with execution("order") as run, node("pay"), trace.get_tracer("t").start_as_current_span("inner"):
        pass
    assert flush()
    assert attributes_of(sink.span("order")) == {
        "spane.execution.id": run.execution_id,
        "spane.workflow.id": "order",
        "spane.state": "completed",
    }
    for name in ("pay", "inner"):
        assert "spane.workflow.id" not in attributes_of(sink.span(name))


async def test_an_execution_inside_another_is_its_child(store: InMemoryExecutionStore) -> None:
    with execution("a") as a, node("n"), execution("b") as b, execution("c") as c:
        assert current_execution() is c
    assert await aflush()
    child, grandchild = await store.get_execution(b.execution_id), await store.get_execution(c.execution_id)
    assert child is not None
    assert grandchild is not None
    assert (child.parent_execution_id, child.root_execution_id, child.depth) == (a.execution_id, a.execution_id, 1)
    assert (grandchild.parent_execution_id, grandchild.root_execution_id) == (b.execution_id, a.execution_id)
    assert grandchild.depth == 2
    assert child.trace_ids == grandchild.trace_ids


def test_the_current_execution_is_the_innermost_and_ends_with_its_block(sink: RecordingSink) -> None:
    assert current_execution() is None
    with execution("a") as a:
        assert current_execution() is a
        with execution("b") as b, node("n"):
            assert current_execution() is b
        assert current_execution() is a
    assert current_execution() is None


class OddError(Exception):
    """An exception that says nothing of itself."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "state", "status", "message"),
    [
        (ValueError("no stock"), "failed", 2, "ValueError: no stock"),
        (KeyError("sku"), "failed", 2, "KeyError: 'sku'"),
        (SystemExit(3), "failed", 2, "SystemExit: 3"),
        (RuntimeError(), "failed", 2, "RuntimeError"),
        (OddError(), "failed", 2, "OddError: <unprintable>"),
        (SystemExit(0), "completed", 0, ""),
        (SystemExit(), "completed", 0, ""),
        (asyncio.CancelledError(), "cancelled", 0, ""),
        (KeyboardInterrupt(), "cancelled", 0, ""),
        (GeneratorExit(), "cancelled", 0, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_the_exception_decides_the_state_and_goes_on_unchanged(
    sink: RecordingSink, error: BaseException, state: str, status: int, message: str
) -> None:
    with pytest.raises(type(error)) as caught, execution("order"):
        raise error
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert flush()
    span = sink.span("order")
    assert (span.state, span.status, span.status_message) == (state, status, message)
    assert (span.events is not None) == (state == "failed")


async def test_the_error_of_an_execution_is_the_message_of_its_root(store: InMemoryExecutionStore) -> None:
    with pytest.raises(ValueError, match="no stock"), execution("order") as run, node("pay"):
        raise ValueError("no stock")
    assert await aflush()
    stored = await store.get_execution(run.execution_id)
    assert stored is not None
    assert (stored.status, stored.error) == ("failed", "ValueError: no stock")
    found = await store.get_trace(run.execution_id)
    assert found is not None
    for span in found.spans:
        (event,) = span.events
        assert event["name"] == "exception"
        assert event["attributes"]["exception.type"] == "ValueError"
        assert "raise ValueError" in event["attributes"]["exception.stacktrace"]
        assert event["attributes"]["exception.escaped"] == "True"


def test_code_that_sets_an_error_itself_has_failed(sink: RecordingSink) -> None:
    with execution("order") as run:
        run.span.set_status(StatusCode.ERROR, "half of it is missing")
    assert flush()
    span = sink.span("order")
    assert (span.state, span.status, span.status_message) == ("failed", 2, "half of it is missing")


async def test_a_cancelled_task_cancels_its_execution(store: InMemoryExecutionStore) -> None:
    begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with execution("order") as run, node("wait"):
            begun.set_result(run.execution_id)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    execution_id = await begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await aflush()
    stored = await store.get_execution(execution_id)
    assert stored is not None
    assert (stored.status, stored.error) == ("cancelled", None)


def test_the_version_defaults_to_that_of_the_service(monkeypatch: pytest.MonkeyPatch, sink: RecordingSink) -> None:
    from spane_otel.telemetry.process import PROCESS

    assert PROCESS.pipeline is not None
    monkeypatch.setattr(PROCESS.pipeline, "version_label", "1.4.2")
    with execution("order"):
        pass
    with execution("invoice", version="draft"):
        pass
    assert flush()
    labels: dict[str, Any] = {span.name: span.stamp.version_label for span in sink.spans if span.stamp is not None}
    assert labels == {"order": "1.4.2", "invoice": "draft"}


def test_our_own_attributes_survive_a_flood_of_others(sink: RecordingSink) -> None:
    """The SDK's limit pushes out the oldest attributes, which would be ours."""
    with execution("order") as run, node("pay") as step:
        for number in range(300):
            run.span.set_attribute(f"key-{number}", number)
            step.span.set_attribute(f"key-{number}", number)
    assert flush()
    root, inner = sink.span("order"), sink.span("pay")
    assert root.stamp is not None
    assert root.stamp.workflow_id == "order"
    assert root.dropped_attributes_count > 0
    assert (inner.execution_id, inner.node_id) == (run.execution_id, "pay")
    assert attributes_of(inner)["spane.node.attempt"] == 1
