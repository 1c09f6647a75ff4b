"""A program that runs executions of an engine and notes, outside of the database, what its nodes do.

Arguments: the URL of a migrated database, the file of the notes, how many executions. It makes those that are not
there yet, takes over the others, prints `ready` once nodes run and `done` once every execution has ended.
"""

import asyncio
import os
import sys
import time
from typing import Any, Final

from spane_otel import ExecutionContext, ExecutionResult, NodeRegistry, WorkflowEngine
from spane_otel.stores.postgres import PostgresExecutionStore

BACKOFF: Final = {"maxAttempts": 3, "backoff": {"type": "fixed", "delay": 50}}
INNER: Final[dict[str, Any]] = {
    "id": "inner",
    "nodes": [{"id": "x", "type": "work", "outputs": ["y"]}, {"id": "y", "type": "work"}],
}
OUTER: Final[dict[str, Any]] = {
    "id": "outer",
    "entryNodeId": "a",
    "nodes": [
        {"id": "a", "type": "work", "outputs": ["b", "c", "skipped"]},
        {"id": "b", "type": "flaky", "config": {"retryPolicy": BACKOFF}, "outputs": ["e"]},
        {"id": "c", "type": "sub-workflow", "config": {"workflowId": "inner"}, "outputs": ["e"]},
        {"id": "skipped", "type": "work", "outputs": ["e"]},
        {"id": "e", "type": "work", "outputs": ["wait"]},
        {"id": "wait", "type": "delay", "config": {"duration": 3_000}, "outputs": ["last"]},
        {"id": "last", "type": "work", "config": {"retryPolicy": {"maxAttempts": 1}}},
    ],
}
"""Branches, a join, retries, a wait, a sub-workflow; the last node of every tenth execution fails."""


class Notes:
    """Lines in a file, each written at once: what is written before SIGKILL stays."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, what: str, context: ExecutionContext) -> None:
        words = (what, context.execution_id, context.node_id, context.attempt, time.time_ns(), os.getpid())
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def registry(notes: Notes) -> NodeRegistry:
    async def work(context: ExecutionContext) -> ExecutionResult:
        notes.add("begin", context)
        print("ready", flush=True)
        await asyncio.sleep(0.02)  # what a node does takes its time
        notes.add("end", context)
        if context.node_id == "last" and context.execution_id.endswith("0"):
            return ExecutionResult(success=False, error="every tenth")
        following = ("b", "c") if context.node_id == "a" else None
        return ExecutionResult(success=True, data={context.node_id: context.input_data}, next_nodes=following)

    async def flaky(context: ExecutionContext) -> ExecutionResult:
        notes.add("begin", context)
        if context.attempt < 2:
            raise ConnectionError("not yet")
        return ExecutionResult(success=True, data=context.input_data)

    made = NodeRegistry()
    made.register("work", work)
    made.register("flaky", flaky)
    return made


async def main(url: str, path: str, count: int) -> None:
    async with (
        PostgresExecutionStore(url) as store,
        WorkflowEngine(registry(Notes(path)), store, lease_seconds=1.5, recovery_seconds=0.2) as engine,
    ):
        await engine.register_workflow(INNER)
        await engine.register_workflow(OUTER)
        ids = [f"e{number}" for number in range(count)]
        for execution_id in ids:
            await engine.start("outer", execution_id, execution_id=execution_id)
        await asyncio.gather(*(engine.wait(each) for each in ids))
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
