"""What every part of the store works with: the store is the sum of its parts, one noun per file."""

import threading

from msgspec.structs import replace

from spane_otel.clock import Clock
from spane_otel.errors import UnknownExecutionError
from spane_otel.records import ExecutionStatus, ResourceRow
from spane_otel.stores.memory.held.executions import HeldExecution
from spane_otel.stores.memory.held.journal import Journal
from spane_otel.stores.memory.held.state import State
from spane_otel.stores.memory.room import Room
from spane_otel.stores.memory.settling import Settled, Settling
from spane_otel.stores.transitions import FINAL_STATUSES


class Part:
    """A part of `InMemoryExecutionStore`, which makes these; methods are the protocols'.

    Every method holds the lock while it touches the state, and awaits nothing meanwhile.
    """

    _clock: Clock
    _lock: threading.Lock
    """For who looks at no spans and logs, or has `_settling` make those of some executions first."""
    _settled: Settled
    """The same lock, for who looks at those of any execution."""
    _settling: Settling
    _state: State
    _room: Room
    _actor: str | None
    """Who is named in the audit where no worker is."""
    _resource: ResourceRow
    """Of spans and logs that are written by hand."""
    _accept_past_days: float
    _past_ns: int
    """The same in nanoseconds."""

    def _load(self, execution_id: str) -> tuple[HeldExecution, Journal]:
        """Return an execution with its journal.

        Raises:
            UnknownExecutionError: there is no such execution.

        """
        held = self._state.executions.held.get(execution_id)
        if held is None:
            raise UnknownExecutionError(execution_id)
        return held, self._state.executions.journals[execution_id]

    def _move(
        self,
        held: HeldExecution,
        status: ExecutionStatus,
        now_ns: int,
        *,
        error: str | None = None,
        result: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Give an execution another status, whatever it has; it is its caller's from now on."""
        journal = self._state.executions.journals[held.execution_id]
        actor = actor or self._actor
        if held.origin == "spans":
            journal.note(held.execution_id, now_ns, "adopted", old=held.status, new=held.status, actor=actor)
        journal.note(held.execution_id, now_ns, "status", old=held.status, new=status, detail=error, actor=actor)
        moved = replace(held, status=status, origin="api", process_id=None)
        if status in FINAL_STATUSES:
            moved = replace(moved, ended_ns=now_ns)
        if error is not None:
            moved = replace(moved, error=error)
        if result is not None:
            moved = replace(moved, result=result)
        self._state.executions.put(moved)
        self._announce(held.execution_id, now_ns)

    def _announce(self, execution_id: str, now_ns: int) -> None:
        self._state.add_execution_changes([execution_id], now_ns)
