"""Saves workflows and creates executions as it is told, a line of JSON for each line: {"save": id} or {"create": id}.

Arguments: the database's URL, and optionally that of a Redis.
"""

import asyncio
import json
import sys
from typing import Any

from spane_otel.stores.cached.versions import WorkflowCache
from spane_otel.stores.opening import open_store
from tests.conformance.definitions import chain


async def main() -> None:
    async with open_store(sys.argv[1], redis_url=(*sys.argv, None)[2]) as store:
        versions = WorkflowCache(store)
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await obey(store, versions, json.loads(line))), flush=True)


async def obey(store: Any, versions: WorkflowCache, command: dict[str, str]) -> Any:
    if "save" in command:
        return await store.save_workflow(chain(command["save"]))
    execution_id = await store.create_execution("order", execution_id=command["create"])
    execution = await store.get_execution(execution_id)
    version: int = execution.workflow_version
    read = [
        await store.get_workflow("order"),
        await store.get_workflow("order", version),
        await versions.get("order", version),
    ]
    return {"version": version, "nodes": [[node.id for node in workflow.nodes] for workflow in read]}


asyncio.run(main())
