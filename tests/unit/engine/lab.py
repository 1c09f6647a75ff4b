"""An engine over the reference store, whose time stands still, and nodes that do what a test says."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

from spane_otel.clock import SECOND
from spane_otel.engine import ExecutionContext, ExecutionResult, ManualEngineClock, NodeRegistry, WorkflowEngine
from spane_otel.records import Execution
from spane_otel.state import NodeResult
from spane_otel.stores.memory import InMemoryExecutionStore

T = TypeVar("T")

Deed = Callable[[ExecutionContext], Awaitable[Any]]


class Lab:
    """Nodes of the type `work` hand on what they are given, unless `does` says what the node of that id does."""

    def __init__(self) -> None:
        self.clock = ManualEngineClock(time.time_ns())
        self.store = InMemoryExecutionStore(clock=self.clock)
        self.registry = NodeRegistry()
        self.registry.register("work", self._work)
        self.does: dict[str, Deed] = {}
        self.contexts: list[ExecutionContext] = []
        self.engines: list[WorkflowEngine] = []

    def engine(self, **options: Any) -> WorkflowEngine:
        """Return another engine over the same store."""
        engine = WorkflowEngine(self.registry, self.store, clock=self.clock, **options)
        self.engines.append(engine)
        return engine

    async def _work(self, context: ExecutionContext) -> Any:
        self.contexts.append(context)
        deed = self.does.get(context.node_id)
        return ExecutionResult(True, context.input_data) if deed is None else await deed(context)

    @property
    def calls(self) -> Counter[str]:
        """How often each node was called."""
        return Counter(context.node_id for context in self.contexts)

    def context(self, node_id: str) -> ExecutionContext:
        """Return what a node was given when it was called last."""
        return next(each for each in reversed(self.contexts) if each.node_id == node_id)

    async def execution(self, execution_id: str | None) -> Execution:
        record = await self.store.get_execution(execution_id or "")
        assert record is not None
        return record

    async def result(self, execution_id: str | None, node_id: str) -> NodeResult:
        return (await self.store.get_node_results(execution_id or ""))[node_id]

    async def outlast(self, waiting: Coroutine[Any, Any, T]) -> T:
        """Return what `waiting` returns, while the time goes on, a minute at most."""
        task = asyncio.create_task(waiting)
        for _ in range(120):
            await turn()
            if task.done():
                return task.result()
            self.clock.advance(0.5)
        task.cancel()
        raise AssertionError("a minute was not enough")

    def later(self, seconds: float) -> int:
        """Return the time in `seconds`."""
        return self.clock.now_ns() + int(seconds * SECOND)


class Gate:
    """A deed that waits until it is opened."""

    def __init__(self, data: Any = None) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.was_cancelled = False
        self._data = data

    async def __call__(self, context: ExecutionContext) -> ExecutionResult:
        self.entered.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return ExecutionResult(True, self._data)


class HeldWrites:
    """Keeps the results of some nodes from being written until they are let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *node_ids: str) -> None:
        self.arrived = {node_id: asyncio.Event() for node_id in node_ids}
        self.let_through = {node_id: asyncio.Event() for node_id in node_ids}
        write = InMemoryExecutionStore.complete_node

        async def complete(
            store: InMemoryExecutionStore, execution_id: str, node_id: str, *rest: Any, **named: Any
        ) -> Any:
            if node_id in self.arrived:
                self.arrived[node_id].set()
                await self.let_through[node_id].wait()
            return await write(store, execution_id, node_id, *rest, **named)

        monkeypatch.setattr(InMemoryExecutionStore, "complete_node", complete)


def returns(data: Any = None, **members: Any) -> Deed:
    """Return a deed that succeeds with `data`."""

    async def deed(_: ExecutionContext) -> ExecutionResult:
        return ExecutionResult(True, data, **members)

    return deed


def fails(error: str = "boom", times: int = 10**9) -> Deed:
    """Return a deed that raises so many times, then succeeds."""
    count = 0

    async def deed(context: ExecutionContext) -> ExecutionResult:
        nonlocal count
        count += 1
        if count <= times:
            raise ValueError(error)
        return ExecutionResult(True, context.input_data)

    return deed


def flow(*nodes: dict[str, Any], id: str = "w", **members: Any) -> dict[str, Any]:  # noqa: A002 - the name in the API
    """Return a definition; nodes are of the type `work` unless they say otherwise."""
    return {"id": id, "name": id, "nodes": [{"type": "work", **node} for node in nodes], **members}


def row(*ids: str, **members: Any) -> dict[str, Any]:
    """Return a definition of nodes one after another."""
    nodes = ({"id": each, "outputs": list(ids[place + 1 : place + 2])} for place, each in enumerate(ids))
    return flow(*nodes, **members)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until `condition` holds."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def turn(times: int = 50) -> None:
    """Let the loop turn, so that whatever could happen has."""
    for _ in range(times):
        await asyncio.sleep(0)
