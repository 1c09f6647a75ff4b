"""Writing what nodes came to for good."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import UNSET, UnsetType

from spane_otel.engine.results import Settled
from spane_otel.engine.runtime import Runtime
from spane_otel.errors import InvalidValueError
from spane_otel.records import ExecutionStatus

Entry = tuple[Settled, dict[str, Any]]
"""A final result, and what else `complete_node` is told: `started_ns`, `ended_ns`, `input`, `dead_letter`."""


class Ledger:
    """Writes the final results of one execution, such that the last one to be written is the one written last."""

    def __init__(self, runtime: Runtime, execution_id: str, fail: Callable[[str], Awaitable[None]]) -> None:
        self._runtime: Final = runtime
        self._execution_id: Final = execution_id
        self._fail: Final = fail
        """Makes the execution fail."""
        self._pending = 0
        self._arrived: Final = asyncio.Event()
        """Set whenever a write has come to its end."""

    @property
    def is_writing(self) -> bool:
        return self._pending > 0

    async def write(self, entries: list[Entry], last: Entry | None, result: Any | UnsetType = UNSET) -> ExecutionStatus:
        """Write results together and return the status of the execution afterwards.

        `last` is written once every other write of this execution has arrived: with it go what the execution came to.
        """
        if last is None and len(entries) == 1:
            return await self._write(entries[0], UNSET)
        statuses = await asyncio.gather(*(self._write(entry, UNSET) for entry in entries))
        if last is None:
            return statuses[-1]
        while self._pending:
            self._arrived.clear()
            await self._arrived.wait()
        return await self._write(last, result)

    async def _write(self, entry: Entry, result: Any | UnsetType) -> ExecutionStatus:
        self._pending += 1
        try:
            return await self._write_or_fail(entry, result)
        finally:
            self._pending -= 1
            self._arrived.set()

    async def _write_or_fail(self, entry: Entry, result: Any | UnsetType) -> ExecutionStatus:
        try:
            return await self._complete_node(entry, result)
        except InvalidValueError as error:
            if result is UNSET:
                raise
            # The outputs of several exit nodes, each of which fits, may be too much together.
            await self._fail(f"the result can't be stored: {error}")
            return await self._complete_node(entry, UNSET)

    async def _complete_node(self, entry: Entry, result: Any | UnsetType) -> ExecutionStatus:
        settled, facts = entry
        runtime, holder = self._runtime, self._runtime.lease.holder
        return await runtime.persist(
            lambda: runtime.store.complete_node(
                self._execution_id,
                settled.node_id,
                settled.result(),
                attempt=settled.attempt,
                iteration=settled.iteration,
                worker=holder,
                holder=holder,
                execution_result=result,
                **facts,
            )
        )
