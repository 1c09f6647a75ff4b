"""Which try of a node this is: attempts start at 1, iterations at 0 (names.md, *Python*)."""

import asyncio
import threading
from typing import Any
from weakref import WeakKeyDictionary


class Try:
    """One run of a node: its attempt and iteration, and whether it failed."""

    __slots__ = ("attempt", "failed", "iteration")

    def __init__(self, attempt: int, iteration: int) -> None:
        self.attempt = attempt
        self.iteration = iteration
        self.failed = False


class Tries:
    """The latest try of each node of one execution, apart for every task and thread.

    After a failure the same node is another attempt, after a success (or inside itself) another iteration. Each dict
    is touched by its own task or thread alone; adding one is a single operation on the outer dict.
    """

    __slots__ = ("_by_owner",)

    def __init__(self) -> None:
        self._by_owner: WeakKeyDictionary[Any, dict[str, Try]] = WeakKeyDictionary()

    def begin(self, node_id: str, attempt: int | None = None, iteration: int | None = None) -> Try:
        """Return the next try of a node; what is given explicitly holds."""
        owner = _current_owner()
        tries = self._by_owner.get(owner)
        if tries is None:
            tries = self._by_owner[owner] = {}
        last = tries.get(node_id)
        if last is None:
            this = Try(1, 0)
        elif last.failed:
            this = Try(last.attempt + 1, last.iteration)
        else:
            this = Try(1, last.iteration + 1)
        if iteration is not None:
            if last is not None and iteration != last.iteration:
                this.attempt = 1
            this.iteration = iteration
        if attempt is not None:
            this.attempt = attempt
            if iteration is None and attempt > 1 and last is not None:
                this.iteration = last.iteration
        tries[node_id] = this
        return this


def _current_owner() -> Any:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        task = None
    return task if task is not None else threading.current_thread()
