"""Node results: written with their execution's completion, read by their latest attempt."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from spane_otel.errors import LeaseLostError
from spane_otel.records import ExecutionStatus
from spane_otel.state import NewDeadLetter, NodeResult, ResultLike
from spane_otel.stores.memory.held.executions import HeldExecution
from spane_otel.stores.memory.held.journal import HeldDeadLetter, Journal, is_same_result, result_record
from spane_otel.stores.memory.part import Part
from spane_otel.stores.outcomes import NewNodeResult, new_node_result
from spane_otel.traces.results import node_results_of


class NodeResults(Part):
    """What each attempt at each node came to."""

    async def update_node_result(
        self,
        execution_id: str,
        node_id: str,
        result: ResultLike,
        *,
        attempt: int = 1,
        iteration: int = 0,
        started_ns: int | None = None,
        ended_ns: int | None = None,
        worker: str | None = None,
        input: Any | UnsetType = UNSET,  # noqa: A002 - the name in records
        holder: str | None = None,
    ) -> None:
        new = new_node_result(
            execution_id,
            node_id,
            result,
            now_ns=self._clock.now_ns(),
            decides=False,
            attempt=attempt,
            iteration=iteration,
            started_ns=started_ns,
            ended_ns=ended_ns,
            worker=worker,
            input=input,
            holder=holder,
        )
        self._write(new)

    async def complete_node(
        self,
        execution_id: str,
        node_id: str,
        result: ResultLike,
        *,
        attempt: int = 1,
        iteration: int = 0,
        started_ns: int | None = None,
        ended_ns: int | None = None,
        worker: str | None = None,
        input: Any | UnsetType = UNSET,  # noqa: A002 - the name in records
        holder: str | None = None,
        dead_letter: NewDeadLetter | None = None,
        execution_result: Any | UnsetType = UNSET,
    ) -> ExecutionStatus:
        new = new_node_result(
            execution_id,
            node_id,
            result,
            now_ns=self._clock.now_ns(),
            decides=True,
            attempt=attempt,
            iteration=iteration,
            started_ns=started_ns,
            ended_ns=ended_ns,
            worker=worker,
            input=input,
            holder=holder,
            dead_letter=dead_letter,
            execution_result=execution_result,
        )
        return self._write(new)

    async def cache_node_result(
        self, execution_id: str, node_id: str, result: ResultLike, *, attempt: int = 1, iteration: int = 0
    ) -> None:
        await self.update_node_result(execution_id, node_id, result, attempt=attempt, iteration=iteration)

    def _write(self, new: NewNodeResult) -> ExecutionStatus:
        now_ns = self._clock.now_ns()
        with self._lock:
            held, journal = self._load(new.execution_id)
            if new.holder is not None and (journal.lease is None or not journal.lease.is_held_by(new.holder, now_ns)):
                raise LeaseLostError(new.execution_id, new.holder)
            self._keep_result(held, journal, new, now_ns)
            if new.decides:
                held = self._decide(held, journal, new, now_ns)
            new.execution_result = new.job_data = None  # kept elsewhere, if at all
            return held.status

    def _keep_result(self, held: HeldExecution, journal: Journal, new: NewNodeResult, now_ns: int) -> None:
        """Hold a result, and its dead letter, unless the same is held."""
        node = journal.nodes.get(new.node_id)
        before = None if node is None else node.tries.get((new.iteration, new.attempt))
        is_same = before is not None and is_same_result(before, new)
        if not is_same:
            journal.put_result(new)
            journal.note(
                new.execution_id,
                now_ns,
                "node_result",
                old=None if before is None else before.state,
                new=new.state,
                of=new,
                detail=new.error,
                actor=new.worker or self._actor,
            )
            self._announce(new.execution_id, now_ns)
        if new.dead_letter_id is not None and not (is_same and new.dead_letter_id in journal.dead_letters):
            self._bury(journal, held.workflow_id, new, new.dead_letter_id, now_ns)

    def _bury(
        self, journal: Journal, workflow_id: str | None, new: NewNodeResult, dead_letter_id: str, now_ns: int
    ) -> None:
        letter = HeldDeadLetter(
            dead_letter_id=dead_letter_id,
            workflow_id=workflow_id,
            node_id=new.node_id,
            iteration=new.iteration,
            attempt=new.attempt,
            job_id=new.job_id,
            job_data=new.job_data,
            error=new.error,
            failed_ns=new.ended_ns,
            attempts_made=new.attempt if new.attempts_made is None else new.attempts_made,
        )
        journal.dead_letters[dead_letter_id] = letter
        actor = new.worker or self._actor
        journal.note(
            new.execution_id, now_ns, "dead_letter", new="failed", of=letter, detail=dead_letter_id, actor=actor
        )

    def _decide(self, held: HeldExecution, journal: Journal, new: NewNodeResult, now_ns: int) -> HeldExecution:
        """Complete an execution if nothing of it is left; return it as it is then."""
        if held.is_final or not journal.is_complete:
            return held
        if journal.nodes_failed:
            failure = journal.failure()
            error = None if failure is None else failure.error
            self._move(held, "failed", now_ns, error=error, actor=new.worker)
        else:
            self._move(held, "completed", now_ns, result=new.execution_result, actor=new.worker)
        return self._state.executions.held[held.execution_id]

    async def get_node_results(self, execution_id: str, node_ids: Sequence[str] | None = None) -> dict[str, NodeResult]:
        wanted = None if node_ids is None else frozenset(node_ids)
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            if held is None:
                return {}
            if held.origin == "spans":
                latest = {each.node_id: each for each in self._results(held, now_ns)}
            else:
                nodes = self._state.executions.journals[execution_id].nodes
                latest = {
                    node_id: result_record(node.tries[node.latest])
                    for node_id, node in sorted(nodes.items())
                    if wanted is None or node_id in wanted
                }
        return {node_id: each for node_id, each in latest.items() if wanted is None or node_id in wanted}

    async def list_node_attempts(self, execution_id: str, node_id: str) -> list[NodeResult]:
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            results = [] if held is None else self._results(held, now_ns)
        return [each for each in results if each.node_id == node_id]

    async def get_pending_node_count(self, execution_id: str, total_nodes: int | None = None) -> int:
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            if held is None:
                return 0
            journal = self._state.executions.journals[execution_id]
            if held.origin == "api" and journal.pinned is not None:
                return len(journal.pinned) - journal.nodes_done
            final = {each.node_id for each in self._results(held, now_ns) if each.is_final}
            version = held.workflow_version
            pinned = None if version is None else self._state.workflows.version(held.workflow_id, version)
        if pinned is not None:
            return len(pinned.nodes.keys() - final)
        return max((total_nodes or 0) - len(final), 0)

    def _results(self, held: HeldExecution, now_ns: int) -> list[NodeResult]:
        """Return every result by node, iteration and attempt; of what spans made also what their spans say."""
        journal = self._state.executions.journals[held.execution_id]
        written = [result_record(each) for each in journal.results()]
        if held.origin == "api":
            return written
        self._settling.settle(held.execution_id)
        told = node_results_of(self._state.own_spans(held.execution_id, now_ns), held.execution_id)
        merged = {(each.node_id, each.iteration, each.attempt): each for each in (*told, *written)}
        return [merged[key] for key in sorted(merged)]
