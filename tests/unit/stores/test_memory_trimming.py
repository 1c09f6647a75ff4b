"""Which of the spans and logs that were added to one execution are held: exactly those that the rule says."""

import random

import pytest
from msgspec import Struct

from spane_otel.clock import SECOND, ManualClock
from spane_otel.stores.memory import InMemoryExecutionStore
from tests.rows import BASE_NS


class Held(Struct):
    """A span, as far as it matters to what goes."""

    text: str
    seq: int
    parent: str | None
    start_ns: int
    end_ns: int | None

    @property
    def order(self) -> tuple[int, int, int]:
        """Ended before running, all with a parent before those without, then the oldest."""
        rank = (self.parent is None) * 2 + (self.end_ns is None)
        return rank, self.start_ns if self.end_ns is None else self.end_ns, self.seq


def trim(held: dict[str, Held], most: int, newest: str) -> None:
    """Do what the store promises, the slow way."""
    while len(held) > max(most, 1):
        parents = {each.parent for each in held.values()}
        others = [each for each in held.values() if each.text != newest]
        leaves = [each for each in others if each.text not in parents]
        below = [each for each in others if each.parent is not None]
        goes = min(leaves, key=lambda each: each.order) if leaves else (below or others)[0]
        del held[goes.text]


async def test_of_a_full_execution_as_much_is_held_as_spane_holds() -> None:
    async with InMemoryExecutionStore() as store:
        execution_id = await store.create_execution("order")
        await store.add_span(execution_id, name="root", id="root")
        for number in range(599):
            await store.add_span(execution_id, name="leaf", id=f"s{number}", parent_id="root", status="completed")
        stats = await store.stats()
        assert (stats.spans, stats.trimmed) == (500, 100)
        trace = await store.get_trace(execution_id)
        assert trace is not None
        assert [each.id for each in trace.spans] == ["root", *(f"s{number}" for number in range(100, 599))]
        for number in range(1_001):
            await store.add_log(execution_id, f"m{number}")
        logs = await store.get_logs(execution_id, limit=1_000)
        assert [each.message for each in logs] == [f"m{number}" for number in range(1, 1_001)]
        assert (await store.stats()).trimmed == 101


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_came_before_those_go_that_the_rule_says(seed: int) -> None:
    chance = random.Random(seed)
    clock = ManualClock(BASE_NS + 3_600 * SECOND)
    most = chance.choice([1, 2, 5, 12, 40])
    store = InMemoryExecutionStore(clock=clock, max_spans_per_execution=most, max_logs_per_execution=most)
    await store.create_execution("order", execution_id="e")
    spans: dict[str, Held] = {}
    logs: list[tuple[int, int]] = []
    for number in range(200):
        clock.advance(chance.choice([0, 0.001, 1]))
        now_ns = clock.now_ns()
        dice, text = chance.random(), f"s{number}"
        if dice < 0.6 or not spans:
            parent = chance.choice([None, *spans])
            start_ns = now_ns - chance.choice([0, 5 * SECOND])
            ended = chance.random() < 0.4
            await store.add_span(
                "e", name="n", id=text, parent_id=parent, start_ns=start_ns, status="completed" if ended else "running"
            )
            spans[text] = Held(text, number, parent, start_ns, now_ns if ended else None)
            trim(spans, most, text)
        elif dice < 0.85:
            span = chance.choice(list(spans.values()))
            if span.end_ns is None:
                span.end_ns = now_ns - chance.choice([0, SECOND])
                await store.update_span("e", span.text, status="completed", end_ns=span.end_ns)
        else:
            logs.append((now_ns - chance.choice([0, SECOND]), number))
            await store.add_log("e", "m", id=str(number), time_ns=logs[-1][0])
            logs = sorted(logs)[-most:]
        if chance.random() < 0.3:
            trace = await store.get_trace("e")
            assert trace is not None
            assert {each.id for each in trace.spans} == set(spans)
    assert [each.id for each in await store.get_logs("e")] == [str(number) for _, number in logs]
