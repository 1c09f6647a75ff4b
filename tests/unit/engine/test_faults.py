"""An engine over a store that does what it is asked and then says that it has not."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from spane_otel.engine import ExecutionResult, WorkflowEngine
from spane_otel.errors import StoreUnavailableError
from tests.conformance.faults import FaultyStore
from tests.unit.engine.lab import Lab, fails, flow, row

DEFINITION = flow(
    {"id": "a", "outputs": ["b", "c", "n"]},
    {"id": "b", "config": {"retryPolicy": {"maxAttempts": 2, "backoff": {"type": "fixed", "delay": 10}}}},
    {"id": "c"},
    {"id": "n", "type": "sub-workflow", "config": {"workflowId": "inner"}},
    {"id": "d", "inputs": ["b", "c", "n"]},
)


SPARED = frozenset({"write", "save_workflow", "sweep_timeouts", "claim_executions", "renew_leases"})


@pytest.mark.parametrize("seed", range(5))
async def test_each_node_runs_once_although_a_fifth_of_all_answers_is_lost(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    store = FaultyStore(lab.store, lambda: chance.random() < 0.2, frozenset({"write"}))
    engine = WorkflowEngine(lab.registry, store, clock=lab.clock)
    lab.engines.append(engine)
    lab.does = {"b": fails("boom", times=1)}
    for definition in (row("x", "y", id="inner"), DEFINITION):
        await _until_told(partial(engine.register_workflow, definition))
    ids = [f"e{number}" for number in range(6)]
    for execution_id in ids:
        await _until_told(partial(engine.start, "w", 1, execution_id=execution_id))
    results = await lab.outlast(_all(engine, ids))
    assert store.faults > 5
    assert [result.data for result in results] == [{"b": 1, "c": 1, "n": 1}] * len(ids)
    once = {"a": 6, "b": 7, "c": 6, "d": 6, "x": 6, "y": 6}  # of `b` one attempt fails
    assert lab.calls == once


async def test_what_was_made_although_nobody_was_told_is_run(lab: Lab) -> None:
    """Its lease is this engine's: it is found when leases are renewed."""
    answers = iter([True])
    store = FaultyStore(lab.store, lambda: next(answers, False), SPARED)
    engine = WorkflowEngine(lab.registry, store, clock=lab.clock)
    lab.engines.append(engine)
    await engine.register_workflow(row("a"))
    with pytest.raises(StoreUnavailableError):
        await engine.start("w", 1)
    (record,) = await lab.store.list_executions()
    assert (await lab.outlast(engine.wait(record.execution_id))).data == 1
    assert lab.calls == {"a": 1}


async def _all(engine: WorkflowEngine, ids: list[str]) -> list[ExecutionResult]:
    return list(await asyncio.gather(*(engine.wait(each) for each in ids)))


async def _until_told(call: Callable[[], Awaitable[object]]) -> None:
    """Repeat a call until its answer arrives, as its caller would."""
    while True:
        try:
            await call()
        except StoreUnavailableError:
            continue
        return
