"""`node(...)`: tries of a node, and which attempt and iteration each is."""

import asyncio
import threading
from collections.abc import Iterable

import pytest

from spane_otel import aflush, execution, flush, node
from spane_otel.stores.memory import InMemoryExecutionStore
from tests.unit.telemetry.sinks import RecordingSink, attributes_of


def tries(sink: RecordingSink, node_id: str) -> list[tuple[int, int]]:
    """Return attempt and iteration of each try of a node, in the order of their starts."""
    spans = sorted((span for span in sink.spans if span.node_id == node_id), key=lambda span: span.start_ns)
    return [
        (attributes["spane.node.attempt"], attributes["spane.node.iteration"])
        for attributes in map(attributes_of, spans)
    ]


def end(outcome: str) -> None:
    if outcome == "fail":
        raise ValueError(outcome)
    if outcome == "cancel":
        raise asyncio.CancelledError


def run_tries(outcomes: Iterable[str], *, attempt: int | None = None, iteration: int | None = None) -> None:
    for outcome in outcomes:
        try:
            with node("n", attempt=attempt, iteration=iteration):
                end(outcome)
        except (ValueError, asyncio.CancelledError):
            pass


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["ok"], [(1, 0)]),
        (["ok", "ok", "ok"], [(1, 0), (1, 1), (1, 2)]),
        (["fail", "fail", "ok"], [(1, 0), (2, 0), (3, 0)]),
        (["fail", "ok", "ok", "fail", "ok"], [(1, 0), (2, 0), (1, 1), (1, 2), (2, 2)]),
        (["cancel", "ok"], [(1, 0), (2, 0)]),
    ],
)
def test_after_a_failure_comes_another_attempt_and_after_a_success_another_iteration(
    sink: RecordingSink, outcomes: list[str], expected: list[tuple[int, int]]
) -> None:
    with execution("order"):
        run_tries(outcomes)
    assert flush()
    assert tries(sink, "n") == expected


def test_explicit_numbers_win(sink: RecordingSink) -> None:
    with execution("order"):
        run_tries(["fail"], attempt=7)
        run_tries(["ok"])
        run_tries(["ok"], iteration=5)
        run_tries(["ok"], attempt=3, iteration=9)
        run_tries(["ok"])
    assert flush()
    assert tries(sink, "n") == [(7, 0), (8, 0), (1, 5), (3, 9), (1, 10)]


def test_a_node_inside_itself_is_another_iteration(sink: RecordingSink) -> None:
    with execution("order"), node("n"), node("n"):
        pass
    assert flush()
    assert tries(sink, "n") == [(1, 0), (1, 1)]


def test_each_execution_counts_for_itself(sink: RecordingSink) -> None:
    for _ in range(2):
        with execution("order"):
            run_tries(["ok"])
    assert flush()
    assert tries(sink, "n") == [(1, 0), (1, 0)]


async def test_each_task_counts_for_itself(sink: RecordingSink) -> None:
    async def branch() -> None:
        for _ in range(2):
            with node("n"):
                await asyncio.sleep(0)

    with execution("order"):
        await asyncio.gather(branch(), branch())
    assert await aflush()
    assert sorted(tries(sink, "n")) == [(1, 0), (1, 0), (1, 1), (1, 1)]


def test_each_thread_counts_for_itself(sink: RecordingSink) -> None:
    import contextvars

    with execution("order") as run:
        run_tries(["ok"])
        thread = threading.Thread(target=contextvars.copy_context().run, args=(run_tries, ["ok", "ok"]))
        thread.start()
        thread.join()
    assert flush()
    assert sorted(tries(sink, "n")) == [(1, 0), (1, 0), (1, 1)]
    assert {span.execution_id for span in sink.spans} == {run.execution_id}


def test_tries_of_tasks_that_are_gone_are_forgotten(sink: RecordingSink) -> None:
    async def branch() -> None:
        with node("n"):
            pass

    async def work() -> None:
        for _ in range(50):
            await asyncio.create_task(branch())

    with execution("order") as run:
        asyncio.run(work())
        assert len(run.tries._by_owner) < 10


def test_a_node_outside_of_any_execution_is_a_span_with_a_node(sink: RecordingSink) -> None:
    with node("lonely") as step:
        assert (step.attempt, step.iteration) == (1, 0)
    assert flush()
    span = sink.span("lonely")
    assert (span.execution_id, span.node_id, span.state) == (None, "lonely", "completed")


async def test_input_and_result_of_a_node_stand_on_its_span(store: InMemoryExecutionStore) -> None:
    async with execution("order") as run, node("pay", input={"amount": 3}) as step:
        step.set_result("receipt")
    assert await aflush()
    found = await store.get_trace(run.execution_id)
    assert found is not None
    (span,) = [span for span in found.spans if span.node_id == "pay"]
    assert span.attributes["spane.input"] == '{"amount":3}'
    assert span.attributes["spane.output"] == '"receipt"'
