"""What is recorded of executions: spans, logs, and by whom."""

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry import trace as trace_api

import spane_otel
from spane_otel.engine import ExecutionContext, ExecutionResult, NodeRegistry, WorkflowEngine
from spane_otel.records import Span, Trace
from spane_otel.stores.memory import InMemoryExecutionStore
from tests.unit.engine.lab import Gate, Lab, fails, flow, returns, row, turn

ONCE = {"retryPolicy": {"maxAttempts": 1}}
SOON = {"retryPolicy": {"maxAttempts": 2, "backoff": {"type": "fixed", "delay": 0}}}


async def trace_of(lab: Lab, engine: WorkflowEngine, execution_id: str | None, *, family: bool = False) -> Trace:
    assert await engine.aflush(5)
    trace = await lab.store.get_trace(execution_id or "", include_children=family)
    assert trace is not None
    return trace


def span_of(trace: Trace, name: str) -> Span:
    (found,) = [span for span in trace.spans if span.name == name]
    return found


def parent_of(trace: Trace, span: Span) -> str | None:
    """Return the name of a span's parent."""
    return next((each.name for each in trace.spans if each.span_id == span.parent_span_id), None)


async def test_an_execution_is_a_span_and_each_node_one_below_it(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"b": returns([1])}
    await engine.register_workflow(row("a", "b"))
    result = await engine.execute("w", {"x": 1})
    trace = await trace_of(lab, engine, result.execution_id)
    root = span_of(trace, "w")
    assert (root.parent_span_id, root.state) == (None, "completed")
    assert dict(root.attributes) == {
        "spane.execution.id": result.execution_id,
        "spane.workflow.id": "w",
        "spane.workflow.version": 1,
        "spane.input": '{"x":1}',
        "spane.output": "[1]",
        "spane.state": "completed",
    }
    node = span_of(trace, "b")
    assert (parent_of(trace, node), node.node_id, node.execution_id) == ("w", "b", result.execution_id)
    assert dict(node.attributes) == {
        "spane.execution.id": result.execution_id,
        "spane.node.id": "b",
        "spane.node.attempt": 1,
        "spane.node.iteration": 0,
        "spane.input": '{"x":1}',
        "spane.output": "[1]",
        "spane.state": "completed",
    }


async def test_the_api_owns_the_execution_whatever_its_spans_say(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    result = await engine.execute("w", 1)
    await trace_of(lab, engine, result.execution_id)
    record = await lab.execution(result.execution_id)
    assert (record.origin, record.workflow_version, record.status, len(record.trace_ids)) == ("api", 1, "completed", 1)


async def test_every_attempt_and_every_wait_between_them_is_a_span(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": fails("boom", times=1)}
    await engine.register_workflow(flow({"id": "a", "config": {"retryPolicy": {"maxAttempts": 2}}}))
    running = asyncio.create_task(engine.execute("w"))
    result = await lab.outlast(asyncio.wait_for(running, None))
    trace = await trace_of(lab, engine, result.execution_id)
    first, second = (span for span in trace.spans if span.name == "a")
    assert [(each.state, each.attributes["spane.node.attempt"]) for each in (first, second)] == [
        ("failed", 1),
        ("completed", 2),
    ]
    assert (first.status, first.status_message) == ("error", "ValueError: boom")
    assert [event["name"] for event in first.events] == ["exception"]
    wait = span_of(trace, "wait: retry")
    assert (parent_of(trace, wait), wait.attributes["spane.wait.node_id"]) == ("w", "a")
    assert wait.node_id is None


async def test_skipped_nodes_and_failures_without_exceptions_are_seen(lab: Lab, engine: WorkflowEngine) -> None:
    async def refuse(_: ExecutionContext) -> ExecutionResult:
        return ExecutionResult(False, {"partial": 1}, error="no stock")

    lab.does = {"a": returns(1, next_nodes=["b"]), "b": refuse}
    await engine.register_workflow(flow({"id": "a", "outputs": ["b", "c"]}, {"id": "b", "config": ONCE}, {"id": "c"}))
    result = await engine.execute("w")
    trace = await trace_of(lab, engine, result.execution_id)
    assert (span_of(trace, "b").state, span_of(trace, "b").status_message) == ("failed", "no stock")
    assert span_of(trace, "b").attributes["spane.output"] == '{"partial":1}'
    assert span_of(trace, "c").state == "skipped"
    assert (span_of(trace, "w").state, span_of(trace, "w").status_message) == ("failed", "no stock")


async def test_a_cancelled_execution_and_its_node_are_cancelled_spans(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": (gate := Gate())}
    await engine.register_workflow(row("a"))
    await engine.start("w", execution_id="e")
    await gate.entered.wait()
    await engine.cancel("e")
    await engine.wait("e")
    trace = await trace_of(lab, engine, "e")
    assert {span.name: (span.state, span.status) for span in trace.spans} == {
        "w": ("cancelled", "unset"),
        "a": ("cancelled", "unset"),
    }


async def test_delays_pauses_and_waits_for_a_place_are_spans(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": (gate := Gate())}
    await engine.register_workflow(
        flow(
            {"id": "a", "outputs": ["d"]},
            {"id": "d", "type": "delay", "config": {"duration": 500}},
            maxConcurrency=1,
            delay=500,
        )
    )
    await engine.start("w", execution_id="first")
    await turn()
    await engine.start("w", execution_id="second")
    await lab.clock.until_awaited(lab.later(0.5))
    lab.clock.advance(0.5)
    await gate.entered.wait()
    await engine.pause("first")
    gate.opened.set()
    await turn()
    await engine.resume("first")
    await lab.outlast(engine.wait("first"))
    await lab.outlast(engine.wait("second"))
    first = await trace_of(lab, engine, "first")
    waits = sorted((span.name, parent_of(first, span)) for span in first.spans if span.name.startswith("wait"))
    assert waits == [("wait: delay", "d"), ("wait: delay", "w"), ("wait: paused", "w")]
    second = await trace_of(lab, engine, "second")
    assert parent_of(second, span_of(second, "wait: max_concurrency")) == "w"


async def test_a_sub_workflow_is_below_its_node_in_the_same_trace(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("x", id="inner"))
    await engine.register_workflow(
        flow({"id": "n", "type": "sub-workflow", "config": {"workflowId": "inner"}}, id="outer")
    )
    result = await engine.execute("outer")
    trace = await trace_of(lab, engine, result.execution_id, family=True)
    assert [(span.name, parent_of(trace, span)) for span in trace.spans] == [
        ("outer", None),
        ("n", "outer"),
        ("inner", "n"),
        ("x", "inner"),
    ]
    assert len({span.trace_id for span in trace.spans}) == 1
    inner = span_of(trace, "inner").attributes
    assert inner["spane.execution.parent_id"] == inner["spane.execution.root_id"] == result.execution_id
    assert inner["spane.execution.depth"] == 1


async def test_an_execution_that_is_taken_over_goes_on_in_its_trace(lab: Lab) -> None:
    first = lab.engine()
    lab.does = {"b": (gate := Gate())}
    await first.register_workflow(row("a", "b"))
    await first.start("w", execution_id="e")
    await gate.entered.wait()
    await first.aclose(0)
    lab.does = {}
    second = lab.engine()
    await second.register_workflow(row("a", "b"))
    async with second:
        await lab.outlast(second.wait("e"))
        trace = await trace_of(lab, second, "e")
    assert len({span.trace_id for span in trace.spans}) == 1
    assert [(span.name, parent_of(trace, span), span.state) for span in trace.spans] == [
        ("w", None, "cancelled"),
        ("a", "w", "completed"),
        ("b", "w", "cancelled"),
        ("w", "w", "completed"),
        ("b", "w", "completed"),
    ]


# --- logs ---


async def test_logs_of_a_node_are_tied_to_it(lab: Lab, engine: WorkflowEngine) -> None:
    async def speak(context: ExecutionContext) -> ExecutionResult:
        context.log("by the context", level="warn", amount=7)
        spane_otel.log("by the package")
        logging.getLogger("user").warning("by logging")
        return ExecutionResult(True)

    lab.does = {"a": speak}
    await engine.register_workflow(row("a"))
    result = await engine.execute("w")
    trace = await trace_of(lab, engine, result.execution_id)
    logs = await lab.store.get_logs(result.execution_id or "", node_id="a")
    assert [(each.body, each.level) for each in logs] == [
        ("by the context", "warn"),
        ("by the package", "info"),
        ("by logging", "warn"),
    ]
    assert logs[0].attributes["amount"] == 7
    assert {each.span_id for each in logs} == {span_of(trace, "a").span_id}


async def test_failed_attempts_are_logged(lab: Lab, engine: WorkflowEngine) -> None:
    lab.does = {"a": fails("boom")}
    await engine.register_workflow(flow({"id": "a", "config": SOON}))
    result = await engine.execute("w")
    await engine.aflush(5)
    logs = await lab.store.get_logs(result.execution_id or "")
    assert [(each.level, each.body, each.node_id) for each in logs] == [
        ("warn", "attempt 1 of 2 failed, another follows in 0 ms: ValueError: boom", "a"),
        ("error", "attempt 2 failed for good: ValueError: boom", "a"),
    ]


# --- by whom ---


async def test_without_a_configuration_no_global_provider_is_set_up(lab: Lab, engine: WorkflowEngine) -> None:
    before = trace_api.get_tracer_provider()
    await engine.register_workflow(row("a"))
    await engine.execute("w")
    await engine.aflush(5)
    assert trace_api.get_tracer_provider() is before


async def test_what_the_package_records_inside_a_node_lies_below_it(lab: Lab, engine: WorkflowEngine) -> None:
    async def nest(_: ExecutionContext) -> ExecutionResult:
        with spane_otel.node("inside", input=1) as inside:
            inside.set_result(2)
        return ExecutionResult(True)

    lab.does = {"a": nest}
    await engine.register_workflow(row("a"))
    result = await engine.execute("w")
    trace = await trace_of(lab, engine, result.execution_id)
    assert parent_of(trace, span_of(trace, "inside")) == "a"


async def test_two_engines_record_each_into_its_own_store(lab: Lab, engine: WorkflowEngine) -> None:
    other = Lab()
    other_engine = other.engine()
    for each in (engine, other_engine):
        await each.register_workflow(row("a"))
    mine, theirs = await asyncio.gather(engine.execute("w"), other_engine.execute("w"))
    assert len((await trace_of(lab, engine, mine.execution_id)).spans) == 2
    assert len((await trace_of(other, other_engine, theirs.execution_id)).spans) == 2
    assert (await lab.store.stats()).spans == (await other.store.stats()).spans == 2
    await other_engine.aclose()


async def test_whoever_records_the_process_records_its_engines(lab: Lab, engine: WorkflowEngine) -> None:
    """What user code traces with OpenTelemetry then lies below its node."""
    sink = InMemoryExecutionStore()
    spane_otel.configure("shop", store=sink)

    async def call(_: ExecutionContext) -> ExecutionResult:
        with trace_api.get_tracer("user").start_as_current_span("GET /stock"):
            return ExecutionResult(True)

    lab.does = {"a": call}
    await engine.register_workflow(row("a"))
    result = await engine.execute("w")
    assert await spane_otel.aflush()
    trace = await sink.get_trace(result.execution_id or "")
    assert trace is not None
    assert [(span.name, parent_of(trace, span)) for span in trace.spans] == [
        ("w", None),
        ("a", "w"),
        ("GET /stock", "a"),
    ]
    assert trace.resources[0].attributes["service.name"] == "shop"
    assert (await lab.store.stats()).spans == 0


async def test_an_engine_that_records_itself_takes_no_logs_of_others(lab: Lab, engine: WorkflowEngine) -> None:
    """It was there before somebody began to record the process."""
    await engine.register_workflow(row("a"))
    await engine.execute("w")
    sink = InMemoryExecutionStore()
    spane_otel.configure("shop", store=sink)
    with spane_otel.execution("theirs", "x"):
        logging.getLogger("user").warning("theirs")
    assert await spane_otel.aflush()
    assert [log.body for log in await sink.get_logs("x")] == ["theirs"]
    assert (await lab.store.stats()).logs == 0


async def test_an_execution_begun_inside_a_span_lies_below_it(lab: Lab, engine: WorkflowEngine) -> None:
    """As a request's handler does; the store's execution has no parent for that."""
    sink = InMemoryExecutionStore()
    spane_otel.configure("shop", store=sink)
    await engine.register_workflow(row("a"))
    with trace_api.get_tracer("user").start_as_current_span("POST /orders") as request:
        result = await engine.execute("w")
    assert await spane_otel.aflush()
    trace = await sink.get_trace_by_id(f"{request.get_span_context().trace_id:032x}")
    assert trace is not None
    assert parent_of(trace, span_of(trace, "w")) == "POST /orders"
    assert (await lab.execution(result.execution_id)).parent_execution_id is None


async def test_the_service_of_an_engine_that_records_itself_can_be_named() -> None:
    store, registry = InMemoryExecutionStore(), NodeRegistry()

    async def work(_: Any) -> dict[str, Any]:
        return {"success": True}

    registry.register("work", work)
    async with WorkflowEngine(registry, store, service_name="billing") as engine:
        await engine.register_workflow(row("a"))
        result = await engine.execute("w")
    trace = await store.get_trace(result.execution_id or "")
    assert trace is not None
    assert trace.resources[0].attributes["service.name"] == "billing"


async def test_flushing_the_process_flushes_its_engines(lab: Lab, engine: WorkflowEngine) -> None:
    await engine.register_workflow(row("a"))
    result = await engine.execute("w")
    assert await spane_otel.aflush()
    trace = await lab.store.get_trace(result.execution_id or "")
    assert trace is not None
    assert len(trace.spans) == 2


async def test_what_is_left_is_written_when_the_engine_is_closed(lab: Lab) -> None:
    async with lab.engine() as engine:
        await engine.register_workflow(row("a"))
        result = await engine.execute("w")
    trace = await lab.store.get_trace(result.execution_id or "")
    assert trace is not None
    assert len(trace.spans) == 2


async def test_without_anything_to_record_closing_is_quick(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.engine():
        pass
    assert caplog.records == []
