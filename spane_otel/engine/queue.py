"""Where nodes wait to be run: in this process, until a queue over several machines takes its place."""

import asyncio
import heapq
from itertools import count
from typing import Final, Protocol

from msgspec import Struct


class NodeJob(Struct, frozen=True):
    """One attempt at one node, to be made by whoever takes it."""

    execution_id: str
    node_id: str
    attempt: int = 1
    iteration: int = 0
    priority: int = 0
    """Of the workflow, 1 to 10; the greater goes first."""


class NodeQueue(Protocol):
    """Hands out nodes. What is put is handed out at least once; the node's result decides whether it is still due."""

    async def put(self, job: NodeJob) -> None:
        """Take a node that may run now."""
        ...

    async def get(self) -> NodeJob:
        """Wait for the next node and return it, by priority, then in the order in which they were put."""
        ...

    async def aclose(self) -> None:
        """Release what it holds; safe to call twice."""
        ...


class InProcessQueue:
    """A queue in the memory of one event loop. Nothing is lost with it: what was due is told from the node results."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, NodeJob]] = []
        self._order: Final = count()
        self._takers: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    async def put(self, job: NodeJob) -> None:
        heapq.heappush(self._waiting, (-job.priority, next(self._order), job))
        self._wake()

    async def get(self) -> NodeJob:
        while not self._waiting:
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled() and self._waiting:
                    self._wake()  # it was this one's turn: the next one's now
                raise
        return heapq.heappop(self._waiting)[2]

    async def aclose(self) -> None:
        self._waiting.clear()

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.pop(0)
            if not taker.done():
                taker.set_result(None)
                return
