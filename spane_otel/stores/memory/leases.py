"""Leases: one runner at a time runs an execution, by the store's clock.

A lease is in force until its time is up; whoever let it run out no longer holds it, even if nobody has taken it since.
"""

import heapq
from collections.abc import Sequence

from spane_otel.clock import SECOND
from spane_otel.state import Lease
from spane_otel.stores.admission import check_lease, check_limit
from spane_otel.stores.memory.held.journal import HeldLease
from spane_otel.stores.memory.part import Part


class Leases(Part):
    """The leases of executions."""

    async def acquire_lease(self, execution_id: str, lease: Lease) -> bool:
        check_lease(lease)
        now_ns = self._clock.now_ns()
        with self._lock:
            _, journal = self._load(execution_id)
            if not may_take(journal.lease, lease, now_ns):
                return False
            journal.lease = lease_until(lease, now_ns)
            return True

    async def renew_leases(self, lease: Lease) -> list[str]:
        check_lease(lease)
        now_ns = self._clock.now_ns()
        renewed: list[str] = []
        with self._lock:
            executions = self._state.executions
            for execution_id, journal in executions.journals.items():
                is_held = journal.lease is not None and journal.lease.is_held_by(lease.holder, now_ns)
                if is_held and not executions.held[execution_id].is_final:
                    journal.lease = lease_until(lease, now_ns)
                    renewed.append(execution_id)
        return sorted(renewed)

    async def release_lease(self, execution_id: str, holder: str) -> None:
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            journal = self._state.executions.journals.get(execution_id)
            if held is None or journal is None or journal.lease is None or journal.lease.holder != holder:
                return
            # A failed execution may be retried: its lease is then free for whoever claims it.
            is_over = held.status in ("completed", "cancelled")
            journal.lease = None if is_over else HeldLease(holder, 0)

    async def claim_executions(
        self, lease: Lease, *, workflow_ids: Sequence[str] | None = None, limit: int = 10
    ) -> list[str]:
        check_lease(lease)
        check_limit(limit)
        wanted = None if workflow_ids is None else frozenset(workflow_ids)
        now_ns = self._clock.now_ns()
        with self._lock:
            executions = self._state.executions
            free = (
                held
                for held in executions.held.values()
                if held.status == "running"
                and (wanted is None or held.workflow_id in wanted)
                and (found := executions.journals[held.execution_id].lease) is not None
                and found.expires_ns <= now_ns
            )
            claimed = heapq.nsmallest(limit, free, key=lambda held: held.order)
            for held in claimed:
                executions.journals[held.execution_id].lease = lease_until(lease, now_ns)
        return [held.execution_id for held in claimed]


def may_take(held: HeldLease | None, lease: Lease, now_ns: int) -> bool:
    """Whether a lease can be had: nobody else's is in force."""
    return held is None or held.holder == lease.holder or held.expires_ns <= now_ns


def lease_until(lease: Lease, now_ns: int) -> HeldLease:
    """Return a lease that is taken now."""
    return HeldLease(lease.holder, now_ns + int(lease.seconds * SECOND))
