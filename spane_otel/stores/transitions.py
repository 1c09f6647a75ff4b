"""Which status of an execution may follow which: the one table, for every store."""

from typing import Final

from spane_otel.errors import InvalidTransitionError
from spane_otel.records import ExecutionStatus

FINAL_STATUSES: Final[frozenset[ExecutionStatus]] = frozenset({"completed", "failed", "cancelled"})

TRANSITIONS: Final[dict[ExecutionStatus, frozenset[ExecutionStatus]]] = {
    "running": frozenset({"paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"running", "completed", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""By the status held. `set_execution_status` and `complete_node` obey it."""

REOPENED_BY_RETRY: Final[frozenset[ExecutionStatus]] = frozenset({"running", "paused", "failed"})
"""Held statuses in which `retry_dead_letter` is taken; a failed execution runs again."""


def changes_status(execution_id: str, held: ExecutionStatus, wanted: ExecutionStatus) -> bool:
    """Whether an execution may and does go from `held` to `wanted`; False where it is there already.

    Raises:
        InvalidTransitionError: it may not.

    """
    if held == wanted:
        return False
    if wanted not in TRANSITIONS[held]:
        raise InvalidTransitionError(execution_id, held, wanted)
    return True
