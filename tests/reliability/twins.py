"""Two stores that are given the same calls at the same time, and must not be told apart."""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from spane_otel.clock import ManualClock
from spane_otel.errors import InvalidValueError, SpaneError
from spane_otel.records import WriteResult
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.postgres import PostgresExecutionStore
from spane_otel.stores.protocols import Store
from tests.conformance.everything import read_everything, read_execution
from tests.conformance.faults import FaultyStore, RetryingStore, one_in_ten
from tests.conformance.subjects import LARGE

Call = Callable[[Store], Awaitable[Any]]


CLAIMS = frozenset({"claim_executions"})
"""Who claims again because the answer was lost gets the next ones; the first it finds among those it can renew."""


class Twins:
    """An empty store in memory and an empty one in a database, by one clock.

    With a seed, one in ten calls of the database's mutators is executed and then raises, before a caller who tries
    again: its answer may be the second one's and is not compared, what the stores show is.
    """

    def __init__(self, postgres_url: str, now_ns: int, seed: int | None = None) -> None:
        self.clock = ManualClock(now_ns)
        self.memory = InMemoryExecutionStore(clock=self.clock, **LARGE)
        self.postgres: Any = PostgresExecutionStore(postgres_url, clock=self.clock)
        self._has_faults = seed is not None
        if seed is not None:
            self.postgres = RetryingStore(FaultyStore(self.postgres, one_in_ten(seed), spared=CLAIMS))

    async def aclose(self) -> None:
        await self.memory.aclose()
        await self.postgres.aclose()

    async def call(self, call: Call) -> Any:
        """Do the same to both; return what the one in memory answered."""
        first, second = [await _outcome(call, store) for store in (self.memory, self.postgres)]
        if not self._has_faults or isinstance(first, Refusal) or isinstance(second, Refusal):
            _compare(first, second)
        return first

    async def compare_execution(self, execution_id: str) -> None:
        """Compare all that is shown of one execution."""
        await self._compare_shown(lambda store: read_execution(store, execution_id))

    async def compare(self, execution_ids: list[str], workflow_ids: list[str]) -> None:
        """Compare all that is shown of everything."""

        async def show(store: Store) -> dict[str, Any]:
            shown = await read_everything(store, execution_ids, workflow_ids)
            for workflow_id in workflow_ids:
                versions = shown[f"workflow: {workflow_id}"]["versions"]
                versions[:] = [replace(each, version_id=0) for each in versions]  # a row's number is the store's own
            return shown

        await self._compare_shown(show)

    async def _compare_shown(self, show: Call) -> None:
        _compare(await show(self.memory), await show(self.postgres))


class Refusal(Struct, frozen=True):
    """How a store refused a call."""

    kind: type[SpaneError]
    why: str


def _compare(first: Any, second: Any) -> None:
    if first != second:
        raise AssertionError("\n".join(["memory and postgres differ:", *_differences("", first, second)]))


async def _outcome(call: Call, store: Store) -> Any:
    try:
        answer = await call(store)
    except SpaneError as error:
        return Refusal(type(error), error.reason if isinstance(error, InvalidValueError) else str(error))
    if isinstance(answer, WriteResult):
        answer.rejected.sort(key=lambda each: (each.signal, each.index))
    return answer


def _differences(path: str, first: Any, second: Any) -> list[str]:
    """Return the places where two answers differ, one a line."""
    if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
        return [line for key in first for line in _differences(f"{path}/{key}", first[key], second[key])]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [line for place, pair in pairs for line in _differences(f"{path}[{place}]", *pair)]
    fields = getattr(first, "__struct_fields__", None)
    if fields and type(first) is type(second):
        return [
            line
            for name in fields
            for line in _differences(f"{path}.{name}", getattr(first, name), getattr(second, name))
        ]
    return [] if first == second else [f"{path}: {first!r}", f"{' ' * len(path)}  {second!r}"]
