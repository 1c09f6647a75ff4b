"""What benchmarks ask of a state store: each operation with what has to be there before, and a look at what it left."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct
from rounds import drive

from spane_otel.stores.protocols import Store

NODES: Final = 5
WORKFLOW: Final = "benchmark-linear"
_NODES_OF_ONE: Final = 1_000
_RESULT: Final = {"success": True, "data": {"order": 4711, "total": 249.5, "currency": "EUR", "items": ["a", "b"]}}
_STRIPE: Final = 512
"""So many executions are worked on at the same time, so that callers meet on one by chance only."""
SPANS_OF_A_TRACE: Final = 12
EXECUTIONS: Final = 1_000
"""That spans and logs are spread over."""


class Work(Struct, frozen=True):
    """A round, ready to run: its operation by number, and a check of what was left."""

    run: Callable[[int], Awaitable[object]]
    check: Callable[[], Awaitable[None]]


Prepare = Callable[[Store, str, int], Awaitable[Work]]
"""Makes a round of so many operations ready; the text is part of every id, and new in each round."""


async def save_workflows(store: Store) -> None:
    """Save what executions are made of: five nodes in a row, and very many beside each other."""
    linear = [_node(f"node-{number}") for number in range(NODES)]
    await store.save_workflow({"id": WORKFLOW, "nodes": linear})
    wide = [*(_node(f"node-{number}") for number in range(_NODES_OF_ONE)), _node("last")]
    await store.save_workflow({"id": f"{WORKFLOW}-wide", "nodes": wide})


async def complete_spread(store: Store, name: str, operations: int) -> Work:
    """Complete nodes of many executions, each of which completes with its last node."""
    executions = await create_executions(store, name, -(-operations // NODES))

    async def run(number: int) -> object:
        execution_id, node = _place(executions, number)
        return await store.complete_node(execution_id, f"node-{node}", _RESULT)

    async def check() -> None:
        whole = [each for each in executions if len(await store.get_node_results(each)) == NODES]
        statuses = [await store.get_execution(each) for each in whole[:100]]
        assert len(whole) > operations / NODES * 0.8
        assert {None if each is None else each.status for each in statuses} == {"completed"}

    return Work(run, check)


async def complete_on_one(store: Store, name: str, operations: int) -> Work:
    """Complete nodes of one execution, which completes after all of them."""
    execution_id = await store.create_execution(f"{WORKFLOW}-wide", execution_id=f"{name}-one")

    async def run(number: int) -> object:
        iteration, node = divmod(number, _NODES_OF_ONE)
        return await store.complete_node(execution_id, f"node-{node}", _RESULT, iteration=iteration)

    async def check() -> None:
        left = await store.get_pending_node_count(execution_id)
        assert left == _NODES_OF_ONE + 1 - min(operations, _NODES_OF_ONE)

    return Work(run, check)


async def update_results(store: Store, name: str, operations: int) -> Work:
    """Write results of many executions, which completes none."""
    executions = await create_executions(store, name, -(-operations // NODES))

    async def run(number: int) -> None:
        execution_id, node = _place(executions, number)
        await store.update_node_result(execution_id, f"node-{node}", _RESULT)

    async def check() -> None:
        execution = await store.get_execution(executions[0])
        assert execution is not None
        assert execution.status == "running"
        assert len(await store.get_node_results(executions[0])) == NODES

    return Work(run, check)


async def create(store: Store, name: str, operations: int) -> Work:
    """Create executions with a little initial data, pinned to their workflow's version."""
    before = await store.get_execution_count(WORKFLOW)

    async def run(number: int) -> object:
        return await store.create_execution(
            WORKFLOW, initial_data={"order": number}, execution_id=f"{name}-created-{number}"
        )

    async def check() -> None:
        assert await store.get_execution_count(WORKFLOW) == before + operations

    return Work(run, check)


async def create_and_complete(store: Store, name: str, operations: int) -> Work:
    """Create executions and complete each at once; in memory all beyond the limit go again."""

    async def run(number: int) -> object:
        execution_id = f"{name}-completed-{number}"
        await store.create_execution(WORKFLOW, initial_data={"order": number}, execution_id=execution_id)
        return await store.set_execution_status(execution_id, "completed")

    async def check() -> None:
        assert await store.get_execution(f"{name}-completed-{operations - 1}") is not None

    return Work(run, check)


async def add_spans(store: Store, name: str, operations: int) -> Work:
    """Add spans to many executions."""
    executions = await create_executions(store, name, EXECUTIONS)

    async def run(number: int) -> object:
        return await add_span(store, executions[number % EXECUTIONS], f"span-{number}")

    async def check() -> None:
        trace = await store.get_trace(executions[0])
        assert trace is not None
        assert len(trace.spans) == -(-operations // EXECUTIONS)

    return Work(run, check)


async def update_spans(store: Store, name: str, operations: int) -> Work:
    """End spans that were added before."""
    executions = await create_executions(store, name, EXECUTIONS)
    await drive(lambda number: add_span(store, executions[number % EXECUTIONS], f"span-{number}"), operations, 64)

    async def run(number: int) -> None:
        await store.update_span(
            executions[number % EXECUTIONS],
            f"span-{number}",
            end_ns=time.time_ns(),
            status="completed",
            metadata={"http.response.status_code": 200},
        )

    async def check() -> None:
        trace = await store.get_trace(executions[0])
        assert trace is not None
        assert {span.state for span in trace.spans} == {"completed"}

    return Work(run, check)


async def add_logs(store: Store, name: str, operations: int) -> Work:
    """Add log records to many executions."""
    executions = await create_executions(store, name, EXECUTIONS)

    async def run(number: int) -> object:
        return await store.add_log(
            executions[number % EXECUTIONS],
            "order received from the web shop",
            node_id="node-0",
            metadata={"order": number},
        )

    async def check() -> None:
        assert len(await store.get_logs(executions[0])) == -(-operations // EXECUTIONS)

    return Work(run, check)


async def get_traces(store: Store, name: str, operations: int) -> Work:
    """Read traces of SPANS_OF_A_TRACE spans, each several times."""
    executions = await create_executions(store, name, min(operations, 100))
    spans = len(executions) * SPANS_OF_A_TRACE
    await drive(lambda number: add_span(store, executions[number % len(executions)], f"span-{number}"), spans, 64)

    async def run(number: int) -> object:
        return await store.get_trace(executions[number % len(executions)])

    async def check() -> None:
        trace = await store.get_trace(executions[0])
        assert trace is not None
        assert len(trace.spans) == SPANS_OF_A_TRACE

    return Work(run, check)


async def create_executions(store: Store, name: str, number: int) -> list[str]:
    """Create executions of the linear workflow and return their ids."""
    ids = [f"{name}-{each}" for each in range(number)]
    await drive(lambda each: store.create_execution(WORKFLOW, execution_id=ids[each]), number, 64)
    return ids


async def add_span(store: Store, execution_id: str, span_id: str) -> str:
    """Add a span as an engine would."""
    return await store.add_span(
        execution_id,
        id=span_id,
        node_id="node-0",
        name="charge_card",
        status="running",
        metadata={"http.request.method": "POST", "url.full": "https://payments.example/charges", "retry": 0},
    )


def _place(executions: list[str], number: int) -> tuple[str, int]:
    """Return the execution and the node that a number stands for: each once, neighbours in different executions."""
    stripe, place = divmod(number, _STRIPE * NODES)
    width = min(_STRIPE, len(executions) - stripe * _STRIPE)
    node, execution = divmod(place, width)
    return executions[stripe * _STRIPE + execution], node


def _node(node_id: str) -> dict[str, Any]:
    return {"id": node_id, "type": "noop"}
