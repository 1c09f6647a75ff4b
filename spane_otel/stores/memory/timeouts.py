"""Executions by what they have to do with the time."""

import heapq
from collections.abc import Callable, Iterable
from typing import Any, Final

from spane_otel.errors import InvalidValueError
from spane_otel.records import Execution
from spane_otel.stores.admission import check_limit
from spane_otel.stores.memory.held.executions import HeldExecution
from spane_otel.stores.memory.part import Part

_INT64: Final = range(-(2**63), 2**63)


class Timeouts(Part):
    """Executions that take long: those with a time-out, those that run long, those that stand still."""

    async def set_execution_timeout(self, execution_id: str, at_ns: int | None) -> None:
        if at_ns is not None and (type(at_ns) is not int or at_ns not in _INT64):
            raise InvalidValueError("a time-out is integer nanoseconds since 1970", reason="timeout")
        now_ns = self._clock.now_ns()
        with self._lock:
            held, journal = self._load(execution_id)
            if journal.timeout_ns != at_ns:
                journal.timeout_ns = at_ns
                if held.origin == "api":
                    journal.note(execution_id, now_ns, "timeout", actor=self._actor)
                self._announce(execution_id, now_ns)

    async def sweep_timeouts(self, limit: int = 1_000) -> list[str]:
        check_limit(limit)
        now_ns = self._clock.now_ns()
        with self._lock:
            overdue: list[tuple[int, HeldExecution]] = []
            for held in self._state.executions.held.values():
                at_ns = self._state.executions.journals[held.execution_id].timeout_ns
                if at_ns is not None and at_ns <= now_ns and not held.is_final:
                    overdue.append((at_ns, held))
            chosen = [held for _, held in sorted(overdue, key=lambda each: (each[0], each[1].execution_id))[:limit]]
            for held in chosen:
                self._move(held, "failed", now_ns, error="timeout")
        return [held.execution_id for held in chosen]

    async def list_long_running_executions(
        self, longer_than_ns: int, *, workflow_id: str | None = None, limit: int = 100
    ) -> list[Execution]:
        check_limit(limit)
        now_ns = self._clock.now_ns()
        with self._lock:
            found = (
                held
                for held in self._among(workflow_id)
                if not held.is_final and held.started_ns <= now_ns - longer_than_ns
            )
            return self._first(found, limit, now_ns, lambda held: held.order)

    async def list_stuck_executions(
        self, idle_for_ns: int, *, workflow_id: str | None = None, limit: int = 100
    ) -> list[Execution]:
        check_limit(limit)
        now_ns = self._clock.now_ns()
        with self._lock:
            found = (
                held
                for held in self._among(workflow_id)
                if held.status == "running" and self._changed_ns(held) <= now_ns - idle_for_ns
            )
            return self._first(found, limit, now_ns, lambda held: (self._changed_ns(held), held.execution_id))

    def _among(self, workflow_id: str | None) -> Iterable[HeldExecution]:
        held = self._state.executions.held.values()
        return held if workflow_id is None else (each for each in held if each.workflow_id == workflow_id)

    def _changed_ns(self, held: HeldExecution) -> int:
        return max(held.started_ns, self._state.executions.journals[held.execution_id].changed_ns)

    def _first(
        self, found: Iterable[HeldExecution], limit: int, now_ns: int, order: Callable[[HeldExecution], Any]
    ) -> list[Execution]:
        return [self._state.execution(held, now_ns) for held in heapq.nsmallest(limit, found, key=order)]
