"""Node results: written in groups, read by their latest attempt."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from msgspec import UNSET, UnsetType

from spane_otel.errors import LeaseLostError, UnknownExecutionError
from spane_otel.records import ExecutionStatus
from spane_otel.state import NewDeadLetter, NodeResult, ResultLike
from spane_otel.stores.admission import is_storable
from spane_otel.stores.outcomes import NewNodeResult, new_node_result, state_of
from spane_otel.stores.postgres.columns import NOTHING, Columns
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.group import Group
from spane_otel.stores.postgres.part import Part
from spane_otel.stores.postgres.payloads import CallPayloads, load_payload
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
        await self._write_result(new)

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
        return await self._write_result(new)

    async def cache_node_result(
        self, execution_id: str, node_id: str, result: ResultLike, *, attempt: int = 1, iteration: int = 0
    ) -> None:
        await self.update_node_result(execution_id, node_id, result, attempt=attempt, iteration=iteration)

    async def get_node_results(self, execution_id: str, node_ids: Sequence[str] | None = None) -> dict[str, NodeResult]:
        if not is_storable(execution_id):
            return {}
        wanted = None if node_ids is None else [each for each in node_ids if is_storable(each)]

        async def read(session: Session) -> list[Record]:
            return await session.fetch("list_node_results", execution_id=execution_id, node_ids=wanted)

        rows = await self._database.run("read", read)
        if not _are_told(rows):
            return {row["node_id"]: read_node_result(row) for row in rows if row["node_id"] is not None}
        results = {each.node_id: each for each in await self._told_results(execution_id)}
        return {node_id: each for node_id, each in results.items() if wanted is None or node_id in wanted}

    async def list_node_attempts(self, execution_id: str, node_id: str) -> list[NodeResult]:
        if not is_storable(execution_id) or not is_storable(node_id):
            return []
        rows = await self._attempts(execution_id, node_id)
        if _are_told(rows):
            return [each for each in await self._told_results(execution_id) if each.node_id == node_id]
        return _read_results(rows)

    async def get_pending_node_count(self, execution_id: str, total_nodes: int | None = None) -> int:
        if not is_storable(execution_id):
            return 0

        async def read(session: Session) -> Record | None:
            return await session.fetchrow("count_nodes", execution_id=execution_id)

        row = await self._database.run("read", read)
        if row is None:
            return 0
        if row["nodes_total"] is not None:
            return int(row["nodes_total"]) - int(row["nodes_done"])
        done = int(row["any_done"])
        if row["origin"] == "spans":
            final = {each.node_id for each in await self._told_results(execution_id) if each.is_final}
            if row["node_ids"] is not None:
                return len(set(row["node_ids"]) - final)
            done = len(final)
        return max((total_nodes or 0) - done, 0)

    async def _attempts(self, execution_id: str, node_id: str | None) -> list[Record]:
        async def read(session: Session) -> list[Record]:
            return await session.fetch("list_node_attempts", execution_id=execution_id, node_id=node_id)

        return await self._database.run("read", read)

    async def _told_results(self, execution_id: str) -> list[NodeResult]:
        """Return the results of an execution that spans made, as its spans tell them; what was written to it wins."""
        trace = await self._traces.get(execution_id, include_children=False)
        told = [] if trace is None else node_results_of(trace.spans, execution_id)
        written = _read_results(await self._attempts(execution_id, None))
        merged = {(each.node_id, each.iteration, each.attempt): each for each in (*told, *written)}
        return [merged[key] for key in sorted(merged)]

    async def _write_result(self, new: NewNodeResult) -> ExecutionStatus:
        outcome = await self._node_results.run(new)
        if outcome == "unknown":
            raise UnknownExecutionError(new.execution_id)
        if outcome == "lost":
            raise LeaseLostError(new.execution_id, new.holder or "")
        return cast("ExecutionStatus", outcome)

    @cached_property
    def _node_results(self) -> Group[NewNodeResult, str]:
        return Group(self._write_results, family=_execution_of, key=_node_of)

    async def _write_results(self, results: Sequence[NewNodeResult]) -> Sequence[str]:
        columns = _columns(results)

        async def write(session: Session) -> Sequence[str]:
            now_ns = self._clock.now_ns()
            (row,) = await session.commit("write_node_results", now_ns=now_ns, actor=self._actor, **columns)
            outcomes: Sequence[str] = row["outcomes"]
            return outcomes

        return await self._database.run("write", write)


def _are_told(rows: Sequence[Record]) -> bool:
    """Whether these are rows of an execution that spans made, so that its spans are to be asked."""
    return bool(rows) and rows[0]["origin"] == "spans"


def _read_results(rows: Sequence[Record]) -> list[NodeResult]:
    return [read_node_result(row) for row in rows if row["node_id"] is not None]


def read_node_result(row: Record) -> NodeResult:
    """Return the record of a node result's row, its payloads with it."""
    success, skipped, next_nodes = row["success"], row["skipped"], row["next_nodes"]
    return NodeResult(
        execution_id=row["execution_id"],
        node_id=row["node_id"],
        iteration=row["iteration"],
        attempt=row["attempt"],
        success=success,
        data=load_payload(row["data"], row["packed_data"]),
        has_data=row["data"] is not None or row["data_payload"] is not None,
        error=row["error"],
        next_nodes=None if next_nodes is None else tuple(json.loads(next_nodes)),
        skipped=skipped,
        state=state_of(success=success, skipped=skipped),
        is_final=row["is_final"],
        started_ns=row["started_ns"],
        ended_ns=row["ended_ns"],
        worker=row["worker"],
        input=load_payload(row["input"], row["packed_input"]),
        has_input=row["input"] is not None or row["input_payload"] is not None,
    )


def _execution_of(result: NewNodeResult) -> str:
    return result.execution_id


def _node_of(result: NewNodeResult) -> str:
    """Return the key within its execution: what a commit does to a node is told from what was there before it."""
    return result.node_id


def _columns(results: Sequence[NewNodeResult]) -> Columns:
    """Return the arrays of `write_node_results`."""
    payloads = CallPayloads()
    outputs, output_payloads = payloads.split([each.data for each in results])
    inputs, input_payloads = payloads.split([each.input for each in results])
    execution_results, result_payloads = payloads.split([each.execution_result for each in results])
    return {
        "execution_ids": [each.execution_id for each in results],
        "node_ids": [each.node_id for each in results],
        "iterations": [each.iteration for each in results],
        "attempts": [each.attempt for each in results],
        "started": _given([each.started_ns for each in results]),
        "ended": [each.ended_ns for each in results],
        "are_ends_given": [each.has_end for each in results],
        "successes": [each.success for each in results],
        "skips": [each.skipped for each in results],
        "finals": [each.is_final for each in results],
        "deciders": [each.decides for each in results],
        "workers": _given([each.worker for each in results]),
        "holders": _given([each.holder for each in results]),
        "errors": _given([each.error for each in results]),
        "nexts": _given([each.next_nodes for each in results]),
        "outputs": outputs,
        "output_payloads": output_payloads,
        "inputs": inputs,
        "input_payloads": input_payloads,
        "results": execution_results,
        "result_payloads": result_payloads,
        **_letter_columns(results, payloads),
        **payloads.columns(),
    }


def _letter_columns(results: Sequence[NewNodeResult], payloads: CallPayloads) -> Columns:
    if all(each.dead_letter_id is None for each in results):
        return _NO_LETTERS
    jobs, job_payloads = payloads.split([each.job_data for each in results])
    letter_ids = (each.dead_letter_id for each in results)
    return {
        "letter_ids": [None if letter_id is None else UUID(letter_id) for letter_id in letter_ids],
        "job_ids": [each.job_id for each in results],
        "jobs": jobs,
        "job_payloads": job_payloads,
        "tries": [each.attempts_made for each in results],
    }


_NO_LETTERS: Columns = dict.fromkeys(("letter_ids", "job_ids", "jobs", "job_payloads", "tries"), NOTHING)


def _given(column: list[Any]) -> Sequence[Any]:
    """Return `column`, nothing if all of it is None; zero is a time like any other."""
    return NOTHING if all(each is None for each in column) else column
