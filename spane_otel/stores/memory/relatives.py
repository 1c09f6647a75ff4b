"""Executions by what they have to do with each other."""

from spane_otel.records import Execution
from spane_otel.state import Family
from spane_otel.stores.memory.held.executions import HeldExecution
from spane_otel.stores.memory.part import Part


class Relatives(Part):
    """The parents and children of executions."""

    async def get_child_executions(self, execution_id: str) -> list[Execution]:
        now_ns = self._clock.now_ns()
        with self._lock:
            return self._children(execution_id, now_ns)

    async def get_parent_execution(self, execution_id: str) -> Execution | None:
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            return None if held is None else self._by_id(held.parent_execution_id, now_ns)

    async def get_execution_family(self, execution_id: str) -> Family:
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            if held is None:
                return Family()
            parent_id = held.parent_execution_id
            siblings = [] if parent_id is None else self._children(parent_id, now_ns)
            return Family(
                root=self._by_id(self._root_of(held), now_ns),
                parent=self._by_id(parent_id, now_ns),
                children=tuple(self._children(execution_id, now_ns)),
                siblings=tuple(each for each in siblings if each.execution_id != execution_id),
            )

    def _root_of(self, held: HeldExecution) -> str | None:
        """Return the id of the root: what is known, else that of the nearest ancestor that knows it or has no parent.

        None if an ancestor isn't there, or is its own.
        """
        seen = {held.execution_id}
        while held.root_execution_id is None and held.parent_execution_id is not None:
            parent = self._state.executions.held.get(held.parent_execution_id)
            if parent is None or parent.execution_id in seen:
                return None
            seen.add(parent.execution_id)
            held = parent
        return held.root_execution_id or held.execution_id

    def _by_id(self, execution_id: str | None, now_ns: int) -> Execution | None:
        held = None if execution_id is None else self._state.executions.held.get(execution_id)
        return None if held is None else self._state.execution(held, now_ns)

    def _children(self, execution_id: str, now_ns: int) -> list[Execution]:
        return [self._state.execution(each, now_ns) for each in self._state.executions.children_of(execution_id)]
