"""`CachedStore`: a store behind Redis, which answers what is over and can't change but by the writers named here."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from spane_otel.archives import ExecutionArchive
from spane_otel.clock import SECOND, Clock, SystemClock
from spane_otel.counters import Sample
from spane_otel.errors import ConfigurationError
from spane_otel.ids import new_execution_id
from spane_otel.records import Batch, Execution, ExecutionStatus, WriteResult
from spane_otel.state import Lease, NodeResult, ResultLike, Workflow
from spane_otel.stores.cached.entries import REST_SECONDS, TIMEOUT_SECONDS, Entries, Entry
from spane_otel.stores.cached.links import Link, RecentLinks
from spane_otel.stores.cached.texts import decode_record, encode_record
from spane_otel.stores.protocols import Store
from spane_otel.stores.transitions import FINAL_STATUSES

TTL_SECONDS: Final = 3_600.0
"""SPANE's."""
SETTLE_SECONDS: Final = 60.0
"""Spans of an execution still come for a while after its end, from processes that may know nothing of this cache."""

LINK_SECONDS: Final = 30.0
"""How long it is remembered that a trace was linked to an execution; at most half of `settle_seconds`."""

_EXECUTION: Final = "execution"
_RESULTS: Final = "results"

T = TypeVar("T")


class CachedStore:
    """Reads a store through Redis: versions of workflows, finished executions and final node results.

    Kept of an execution is only what is the caller's own (origin `api`): the record and its node results once it has
    been over for `settle_seconds`, and while it runs the results of single nodes that were asked for and are final.
    All else, and every method that is not defined here, goes to the store inside. A writer that changes what may be
    kept forgets it before it returns, in Redis and so for every process that uses the same one; whoever writes to the
    database without it is heard of after `ttl_seconds` at the latest. An execution that is run through this object (it
    holds the lease) is always read from the store.

    A Redis that is dead or slow costs `timeout_seconds` once in `rest_seconds`, and changes no answer. `identify` names
    the data inside, so that two databases never share an entry; without it nothing is shared with other objects.

    Raises:
        ConfigurationError: `redis_url` is none of a Redis, or a number is out of range.

    """

    def __init__(
        self,
        inner: Store,
        redis_url: str,
        *,
        identify: Callable[[], Awaitable[str]] | None = None,
        ttl_seconds: float = TTL_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
        rest_seconds: float = REST_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        if ttl_seconds <= 0 or timeout_seconds <= 0 or settle_seconds < 0 or rest_seconds < 0:
            raise ConfigurationError("the times of a cache must be more than 0 seconds")
        self.inner: Final = inner
        self._settle_ns: Final = int(settle_seconds * SECOND)
        self._clock: Final = clock or SystemClock()
        self._entries: Final = Entries(
            redis_url,
            identify or _name_nothing_else(),
            ttl_seconds=ttl_seconds,
            timeout_seconds=timeout_seconds,
            rest_seconds=rest_seconds,
        )
        self._links: Final = RecentLinks(min(settle_seconds / 2, LINK_SECONDS))
        self._run_here: Final[dict[str, str]] = {}
        """Executions whose lease was taken through this object, and by whom."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._entries.aclose()
        await self.inner.__aexit__(exc_type, exc, traceback)

    async def aclose(self) -> None:
        await self._entries.aclose()
        await self.inner.aclose()

    def samples(self) -> Iterator[Sample]:
        """Yield what the cache has to say on `/metrics`."""
        return self._entries.samples()

    # --- readers ---

    async def get_workflow(self, workflow_id: str, version: int | None = None) -> Workflow | None:
        if version is None:  # what is current is asked anew each time
            return await self.inner.get_workflow(workflow_id)
        name = f"w:{version}:{workflow_id}"
        found = _decode(await self._entries.get(name), Workflow)
        self._entries.count(hit=found is not None)
        if found is not None:
            return found
        workflow = await self.inner.get_workflow(workflow_id, version)
        if workflow is not None:
            await self._entries.set(name, encode_record(workflow))
        return workflow

    async def get_execution(self, execution_id: str) -> Execution | None:
        entry = await self._look_up(execution_id, _EXECUTION)
        found = None if entry is None else _decode(entry.values[0], Execution)
        if found is not None:
            return found
        execution = await self.inner.get_execution(execution_id)
        if entry is not None and execution is not None and self._is_settled(execution):
            await self._entries.keep(entry, execution_id, {_EXECUTION: encode_record(execution)})
        return execution

    async def get_node_results(self, execution_id: str, node_ids: Sequence[str] | None = None) -> dict[str, NodeResult]:
        wanted = None if node_ids is None else list(dict.fromkeys(node_ids))
        fields = [_RESULTS] if wanted is None else [_RESULTS, *(_field(each) for each in wanted)]
        entry = await self._look_up(execution_id, *fields)
        if entry is None:
            return await self.inner.get_node_results(execution_id, wanted)
        everything = _decode(entry.values[0], dict[str, NodeResult])
        if everything is not None:
            return everything if wanted is None else {each: everything[each] for each in wanted if each in everything}
        if wanted is None:
            return await self._read_all_results(entry, execution_id)
        found = {
            each: result
            for each, value in zip(wanted, entry.values[1:], strict=True)
            if (result := _decode(value, NodeResult)) is not None
        }
        missing = [each for each in wanted if each not in found]
        if missing:
            found |= await self._read_results(entry, execution_id, missing)
        return {each: found[each] for each in wanted if each in found}

    async def _look_up(self, execution_id: str, *fields: str) -> Entry | None:
        if execution_id in self._run_here:
            return None
        entry = await self._entries.look_up(execution_id, fields)
        if entry is not None:
            self._entries.count(hit=any(value is not None for value in entry.values))
        return entry

    async def _read_all_results(self, entry: Entry, execution_id: str) -> dict[str, NodeResult]:
        """Read every node's result, and keep them together if no more can come."""
        execution = await self.inner.get_execution(execution_id)  # before the results: they are of its end or later
        results = await self.inner.get_node_results(execution_id)
        if execution is not None and self._is_settled(execution):
            await self._entries.keep(entry, execution_id, {_RESULTS: encode_record(results)})
        return results

    async def _read_results(self, entry: Entry, execution_id: str, node_ids: Sequence[str]) -> dict[str, NodeResult]:
        """Read the results of some nodes, and keep those that are final."""
        is_ours = entry.counts  # nothing is kept of an execution that is read from spans
        if not is_ours:
            execution = await self.inner.get_execution(execution_id)
            is_ours = execution is not None and execution.origin == "api"
        results = await self.inner.get_node_results(execution_id, node_ids)
        final = {_field(each): encode_record(result) for each, result in results.items() if result.is_final}
        if is_ours and final:
            await self._entries.keep(entry, execution_id, final)
        return results

    def _is_settled(self, execution: Execution) -> bool:
        return (
            execution.origin == "api"
            and execution.status in FINAL_STATUSES
            and execution.ended_ns is not None
            and execution.ended_ns + self._settle_ns <= self._clock.now_ns()
        )

    # --- writers that change what is over ---

    async def delete_execution(self, execution_id: str) -> bool:
        async with self._changing(execution_id):
            deleted = await self.inner.delete_execution(execution_id)
        self._run_here.pop(execution_id, None)
        return deleted

    async def retry_dead_letter(self, execution_id: str, dead_letter_id: str) -> bool:
        async with self._changing(execution_id):
            return await self.inner.retry_dead_letter(execution_id, dead_letter_id)

    async def write_execution(self, archive: ExecutionArchive) -> None:
        async with self._changing(archive.execution.execution_id):
            await self.inner.write_execution(archive)

    async def update_execution_metadata(self, execution_id: str, metadata: Mapping[str, Any]) -> None:
        async with self._changing(execution_id):
            await self.inner.update_execution_metadata(execution_id, metadata)

    async def set_execution_timeout(self, execution_id: str, at_ns: int | None) -> None:
        async with self._changing(execution_id):
            await self.inner.set_execution_timeout(execution_id, at_ns)

    @asynccontextmanager
    async def _changing(self, execution_id: str) -> AsyncIterator[None]:
        """Keep nothing of an execution until the block ends, however it ends: what raised may have been executed."""
        await self._entries.forget([execution_id], hold=True)
        async with self._forgetting([execution_id]):
            yield

    @asynccontextmanager
    async def _forgetting(self, execution_ids: Iterable[str], *fields: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._entries.forget(execution_ids, *fields)

    # --- writers of node results ---

    async def update_node_result(self, execution_id: str, node_id: str, result: ResultLike, **options: Any) -> None:
        async with self._forgetting([execution_id], _RESULTS, _field(node_id)):
            await self.inner.update_node_result(execution_id, node_id, result, **options)

    async def complete_node(
        self, execution_id: str, node_id: str, result: ResultLike, **options: Any
    ) -> ExecutionStatus:
        async with self._forgetting([execution_id], _RESULTS, _field(node_id)):
            return await self.inner.complete_node(execution_id, node_id, result, **options)

    async def cache_node_result(self, execution_id: str, node_id: str, result: ResultLike, **options: Any) -> None:
        """Write a result and have it read back through Redis, for who asks next."""
        async with self._forgetting([execution_id], _RESULTS, _field(node_id)):
            await self.inner.cache_node_result(execution_id, node_id, result, **options)
        await self.get_node_results(execution_id, [node_id])

    # --- writers of spans: an execution's record names its traces ---

    async def write(self, batch: Batch) -> WriteResult:
        async with self._linking(_links(batch)):
            return await self.inner.write(batch)

    async def write_telemetry(self, batch: Batch) -> WriteResult:
        async with self._linking(_links(batch)):
            return await self.inner.write_telemetry(batch)

    async def add_span(self, execution_id: str, **options: Any) -> str:
        async with self._linking([(execution_id, b"")]):  # its own trace, or its parent's, which is linked already
            return await self.inner.add_span(execution_id, **options)

    @asynccontextmanager
    async def _linking(self, links: Iterable[Link]) -> AsyncIterator[None]:
        """Forget the executions to which the block links a trace, but those to which it was linked just now."""
        fresh = self._links.select_fresh(links)
        async with self._forgetting([execution_id for execution_id, _ in fresh], _EXECUTION):
            yield
        self._links.note(fresh)

    # --- leases: who runs an execution decides by what is stored ---

    async def create_execution(self, *arguments: Any, lease: Lease | None = None, **options: Any) -> str:
        execution_id = await self.inner.create_execution(*arguments, lease=lease, **options)
        if lease is not None:
            self._run_here[execution_id] = lease.holder
        return execution_id

    async def acquire_lease(self, execution_id: str, lease: Lease) -> bool:
        if not await self.inner.acquire_lease(execution_id, lease):
            return False
        self._run_here[execution_id] = lease.holder
        return True

    async def claim_executions(
        self, lease: Lease, *, workflow_ids: Sequence[str] | None = None, limit: int = 10
    ) -> list[str]:
        claimed = await self.inner.claim_executions(lease, workflow_ids=workflow_ids, limit=limit)
        self._run_here.update(dict.fromkeys(claimed, lease.holder))
        return claimed

    async def renew_leases(self, lease: Lease) -> list[str]:
        known = {each for each, holder in list(self._run_here.items()) if holder == lease.holder}
        held = await self.inner.renew_leases(lease)
        for execution_id in known - set(held):
            self._run_here.pop(execution_id, None)
        return held

    async def release_lease(self, execution_id: str, holder: str) -> None:
        await self.inner.release_lease(execution_id, holder)
        if self._run_here.get(execution_id) == holder:
            self._run_here.pop(execution_id, None)


def _decode(value: bytes | None, kind: type[T]) -> T | None:
    """Return the record in `value`, None if there is none that is of ours."""
    if value is None:
        return None
    try:
        return decode_record(value, kind)
    except ValueError:
        return None


def _field(node_id: str) -> str:
    return f"n:{node_id}"


def _links(batch: Batch) -> set[Link]:
    return {(row.execution_id, row.trace_id) for row in batch.spans if row.execution_id is not None}


def _name_nothing_else() -> Callable[[], Awaitable[str]]:
    async def identify(name: str) -> str:
        return name

    return partial(identify, new_execution_id())
