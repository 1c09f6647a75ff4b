"""What all executions of one engine share."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct, field

from spane_otel.clock import SECOND
from spane_otel.engine.breakers import BreakerRegistry
from spane_otel.engine.metrics import MetricsCollector
from spane_otel.engine.queue import NodeQueue
from spane_otel.engine.recording import Recording
from spane_otel.engine.registry import NodeRegistry
from spane_otel.engine.timing import EngineClock
from spane_otel.engine.versions import Versions
from spane_otel.errors import StoreUnavailableError
from spane_otel.state import Lease
from spane_otel.stores.protocols import Store

if TYPE_CHECKING:
    import asyncio

    from spane_otel.engine.run import Run

T = TypeVar("T")

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
"""Seconds between two tries to write what a store can't take now; doubled each time."""

_log: Final = logging.getLogger(__name__)


class Runtime(Struct, eq=False):
    """The parts of an engine that its runs use."""

    store: Store
    registry: NodeRegistry
    clock: EngineClock
    queue: NodeQueue
    versions: Versions
    recording: Recording
    metrics: MetricsCollector
    breakers: BreakerRegistry | None
    lease: Lease
    places: "Places"
    nest: Any = None
    """Runs a sub-workflow for a node: `Nesting.run_child`."""
    runs: "dict[str, Run]" = field(default_factory=dict)
    """By the id of the execution."""
    is_closed: bool = False
    """Nothing is taken up any more; what does not end soon is left to others."""
    held_until: dict[str, int] = field(default_factory=dict)
    """By node type: none of it begins before, since one of them was rate limited."""

    async def persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Return what `write` returns, as soon as the store can take it: an outage delays an execution, no more."""
        delay = FIRST_DELAY
        while True:
            try:
                return await write()
            except StoreUnavailableError as error:
                if delay == FIRST_DELAY:
                    _log.warning("the store can't take a state now, it is tried again: %s", error)
                await self.clock.sleep_until(self.clock.now_ns() + int(delay * SECOND))
                delay = min(2 * delay, LONGEST_DELAY)


class Places:
    """Sees to `maxConcurrency`: so many executions of a workflow at once in this engine, first come, first served."""

    def __init__(self) -> None:
        self._taken: Final[dict[str, int]] = {}
        self._waiting: Final[dict[str, deque[tuple[int, asyncio.Future[None]]]]] = {}

    def try_enter(self, workflow_id: str, limit: int | None) -> bool:
        """Take a place if one is free and nobody waits."""
        if self._waiting.get(workflow_id) or (limit is not None and self._taken.get(workflow_id, 0) >= limit):
            return False
        self._taken[workflow_id] = self._taken.get(workflow_id, 0) + 1
        return True

    async def enter(self, workflow_id: str, limit: int, place: "asyncio.Future[None]") -> None:
        """Wait for a place; `place` is a new future of the running loop."""
        queue = self._waiting.setdefault(workflow_id, deque())
        queue.append((limit, place))
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.leave(workflow_id)
            else:
                place.cancel()
                self._admit(workflow_id)
            raise

    def leave(self, workflow_id: str) -> None:
        """Give a place back."""
        taken = self._taken.pop(workflow_id) - 1
        if taken:
            self._taken[workflow_id] = taken
        self._admit(workflow_id)

    def _admit(self, workflow_id: str) -> None:
        queue = self._waiting.get(workflow_id)
        while queue:
            limit, place = queue[0]
            if place.done():
                queue.popleft()
            elif self._taken.get(workflow_id, 0) < limit:
                queue.popleft()
                self._taken[workflow_id] = self._taken.get(workflow_id, 0) + 1
                place.set_result(None)
            else:
                return
        self._waiting.pop(workflow_id, None)
