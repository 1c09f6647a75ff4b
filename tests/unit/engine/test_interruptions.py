"""However often an execution is interrupted, and wherever: it comes to what it would have come to."""

import asyncio
import random
from typing import Any

import pytest
from msgspec import Struct

from spane_otel.engine import ExecutionContext, ExecutionResult
from tests.unit.engine.lab import Lab, flow, turn

NOT_LONG = {"type": "fixed", "delay": 10}


class Outcome(Struct, frozen=True):
    """All that is visible of an execution, but for times and who did it."""

    status: str
    result: Any
    nodes: dict[str, tuple[Any, ...]]
    status_changes: list[tuple[str | None, str | None]]


def random_workflow(chance: random.Random) -> dict[str, Any]:
    """Return a graph of up to ten nodes: choices, joins, delays, sub-workflows, failures that pass or are tolerated."""
    count = chance.randint(2, 10)
    nodes: list[dict[str, Any]] = []
    for place in range(count):
        inputs = chance.sample(range(place), k=min(place, chance.randint(0 if place < 2 else 1, 3)))
        node: dict[str, Any] = {"id": f"n{place}", "inputs": [f"n{each}" for each in inputs]}
        kind = chance.choice(["work", "work", "work", "delay", "sub-workflow"])
        if kind == "delay":
            node |= {"type": kind, "config": {"duration": chance.randint(0, 2_000)}}
        elif kind == "sub-workflow":
            node |= {"type": kind, "config": {"workflowId": "inner"}}
        else:
            policy = {"maxAttempts": chance.randint(1, 3), "backoff": NOT_LONG, "continueOnFail": True}
            node["config"] = {
                "retryPolicy": policy,
                "fails": chance.choice([0, 0, 1, 2, 5]),
                "chooses": chance.random() < 0.3,
            }
        nodes.append(node)
    return flow(*nodes)


class Interrupter:
    """Does what the nodes' config says, and says when a number of nodes has been called."""

    def __init__(self, chance: random.Random | None) -> None:
        self._chance = chance
        self.is_due = asyncio.Event()
        self._left = 0
        self.wind()

    def wind(self) -> None:
        self.is_due.clear()
        self._left = 10**9 if self._chance is None else self._chance.randint(1, 4)

    async def execute(self, context: ExecutionContext) -> ExecutionResult:
        self._left -= 1
        if not self._left:
            self.is_due.set()
        await asyncio.sleep(0)
        config = context.node_config
        if context.attempt <= config.get("fails", 0):
            raise ValueError(f"attempt {context.attempt}")
        # What is chosen must follow from the node alone, or a second run might choose otherwise.
        following = tuple(f"n{place}" for place in range(10) if (sum(context.node_id.encode()) + place) % 3)
        return ExecutionResult(
            True, [context.node_id, context.input_data], next_nodes=following if config.get("chooses") else None
        )


async def outcome_of(definition: dict[str, Any], chance: random.Random | None) -> tuple[Outcome, int]:
    """Run a workflow, interrupted by `chance` or not at all; return its outcome and how often it was interrupted."""
    lab = Lab()
    doing = Interrupter(chance)
    lab.registry.register("work", doing)
    interruptions = 0
    while True:
        engine = lab.engine(recovery_seconds=0.5)
        await engine.register_workflow(flow({"id": "x", "outputs": ["y"]}, {"id": "y"}, id="inner"))
        await engine.register_workflow(definition)
        doing.wind()
        async with engine:
            await engine.start("w", "seed", execution_id="e")
            ended = asyncio.create_task(engine.wait("e"))
            while not ended.done() and not doing.is_due.is_set():
                await turn(20)
                lab.clock.advance(0.25)
            is_over = ended.done()
            await engine.aclose(0)
            await asyncio.gather(ended, return_exceptions=True)
        if is_over:
            return await _read(lab), interruptions
        interruptions += 1


async def _read(lab: Lab) -> Outcome:
    record = await lab.execution("e")
    results = await lab.store.get_node_results("e")
    audit = await lab.store.list_audit("e", limit=1_000)
    finals = [(entry.node_id, entry.attempt) for entry in audit if entry.change == "node_result"]
    assert len(finals) == len(set(finals)), "a result was written twice"
    return Outcome(
        record.status,
        record.result,
        {
            node_id: (
                each.state,
                each.is_final,
                each.attempt,
                each.data,
                each.has_data,
                each.error,
                each.input,
                each.has_input,
            )
            for node_id, each in sorted(results.items())
        },
        [(entry.old_value, entry.new_value) for entry in audit if entry.change == "status"],
    )


@pytest.mark.parametrize("block", range(5))
async def test_an_interrupted_execution_comes_to_the_same(block: int) -> None:
    total = 0
    for seed in range(5 * block, 5 * block + 5):
        definition = random_workflow(random.Random(seed))
        whole, _ = await outcome_of(definition, None)
        assert whole.status_changes == [("running", "completed")]
        for attempt in range(3):
            interrupted, times = await outcome_of(definition, random.Random(1_000 * seed + attempt))
            assert interrupted == whole, f"seed {seed}, interrupted {times} times"
            total += times
    assert total > 0
