"""Executions as they are held, made by callers or folded from spans."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from spane_otel.derivation import ExecutionTraceRow, fold, supersedes
from spane_otel.records import Execution, ExecutionStatus
from spane_otel.stores.memory.held.journal import Journal
from spane_otel.stores.transitions import FINAL_STATUSES


class HeldExecution(Struct, frozen=True, kw_only=True):
    """An execution; payloads are JSON text, so nobody outside holds a part of it."""

    execution_id: str
    workflow_id: str | None = None
    workflow_version: int | None = None
    version_label: str | None = None
    external_id: str | None = None
    origin: Literal["api", "spans"] = "api"
    status: ExecutionStatus = "running"
    started_ns: int = 0
    ended_ns: int | None = None
    parent_execution_id: str | None = None
    root_execution_id: str | None = None
    depth: int = 0
    initial_data: str | None = None
    result: str | None = None
    error: str | None = None
    process_id: str | None = None

    @property
    def order(self) -> tuple[int, str]:
        return self.started_ns, self.execution_id

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_STATUSES


class HeldExecutions:
    """Every execution with its journal, its rows, its children, and which executions each trace has."""

    def __init__(self) -> None:
        self.held: dict[str, HeldExecution] = {}
        self.journals: dict[str, Journal] = {}
        """One of each execution that is held."""
        self._rows: dict[str, dict[tuple[str, bytes, int, int], ExecutionTraceRow]] = {}
        self._by_trace: dict[bytes, set[str]] = {}
        self._children: dict[str, set[str]] = {}

    def put(self, held: HeldExecution) -> Journal:
        """Hold an execution in the place of the one of its id; return its journal, a new one if it is new."""
        before = self.held.get(held.execution_id)
        self.held[held.execution_id] = held
        old_parent = None if before is None else before.parent_execution_id
        if old_parent != held.parent_execution_id:
            self._move(held.execution_id, old_parent, held.parent_execution_id)
        journal = self.journals.get(held.execution_id)
        if journal is None:
            journal = self.journals[held.execution_id] = Journal()
        return journal

    def _move(self, execution_id: str, from_parent: str | None, to_parent: str | None) -> None:
        if from_parent is not None:
            siblings = self._children[from_parent]
            siblings.discard(execution_id)
            if not siblings:
                del self._children[from_parent]
        if to_parent is not None:
            self._children.setdefault(to_parent, set()).add(execution_id)

    def take_rows(self, rows: Iterable[ExecutionTraceRow]) -> list[str]:
        """Take what spans say of executions; return the ids of those that changed."""
        touched: dict[str, None] = {}
        for row in rows:
            kept = self._rows.setdefault(row.execution_id, {})
            held = kept.get(row.key)
            if held is None or supersedes(row, held):
                kept[row.key] = row
                touched[row.execution_id] = None
            self._by_trace.setdefault(row.trace_id, set()).add(row.execution_id)
        return [execution_id for execution_id in touched if self._refold(execution_id)]

    def _refold(self, execution_id: str) -> bool:
        held = self.held.get(execution_id)
        if held is not None and held.origin == "api":
            return True  # a trace was linked
        derived = _derive(list(self._rows[execution_id].values()))
        self.put(derived)
        return derived != held

    def put_rows(self, execution_id: str, rows: list[ExecutionTraceRow]) -> None:
        """Hold what another store's spans said of an execution that has no rows yet; it stays as it is."""
        if rows:
            self._rows[execution_id] = {row.key: row for row in rows}
        for row in rows:
            self._by_trace.setdefault(row.trace_id, set()).add(execution_id)

    def rows_of(self, execution_id: str) -> list[ExecutionTraceRow]:
        """Return what spans said of an execution, by key."""
        rows = self._rows.get(execution_id, {})
        return [rows[key] for key in sorted(rows)]

    def trace_ids(self, execution_id: str) -> list[bytes]:
        """Return the ids of an execution's traces, oldest first."""
        links = [row for row in self._rows.get(execution_id, {}).values() if row.is_link]
        return [row.trace_id for row in sorted(links, key=lambda row: (row.start_ns, row.trace_id))]

    def executions_of(self, trace_id: bytes) -> list[str]:
        """Return the ids of a trace's executions, the earliest linked first."""
        return sorted(
            self._by_trace.get(trace_id, ()),
            key=lambda each: (self._rows[each][each, trace_id, 0, 0].start_ns, each),
        )

    def is_shared(self, trace_id: bytes) -> bool:
        """Whether a trace holds several executions."""
        return len(self._by_trace.get(trace_id, ())) > 1

    def is_others(self, trace_id: bytes, execution_id: str) -> bool:
        """Whether a trace holds executions other than this one."""
        return bool(self._by_trace.get(trace_id, frozenset()) - {execution_id})

    def children_of(self, execution_id: str) -> list[HeldExecution]:
        """Return the executions whose parent this is, oldest first."""
        children = [self.held[each] for each in self._children.get(execution_id, ())]
        return sorted(children, key=lambda held: held.order)

    def with_descendants(self, execution_id: str) -> list[str]:
        """Return an execution and all that descend from it: by generation, in each the oldest first."""
        family = {execution_id: None}
        parents = [execution_id]
        while parents:
            generation = [child for parent in parents for child in self.children_of(parent)]
            generation.sort(key=lambda held: held.order)
            parents = [child.execution_id for child in generation if child.execution_id not in family]
            family.update(dict.fromkeys(parents))
        return list(family)

    def run_by(self, process_ids: frozenset[str]) -> Iterator[str]:
        """Yield the ids of running executions whose process is one of `process_ids`."""
        for held in self.held.values():
            if held.status == "running" and held.process_id in process_ids:
                yield held.execution_id

    def root_of_child(self, parent_id: str | None, execution_id: str, depth: int) -> str | None:
        """Return the root of an execution that a caller makes (`ExecutionStore.create_execution`)."""
        if parent_id is None:
            return execution_id
        parent = self.held.get(parent_id)
        if parent is not None:
            return parent.root_execution_id
        return parent_id if depth == 1 else None

    def remove(self, execution_id: str) -> None:
        """Forget an execution, its journal and its links; its children stay."""
        held = self.held.pop(execution_id)
        del self.journals[execution_id]
        self._move(execution_id, held.parent_execution_id, None)
        for row in self._rows.pop(execution_id, {}).values():
            owners = self._by_trace.get(row.trace_id, set())
            owners.discard(execution_id)
            if not owners:
                self._by_trace.pop(row.trace_id, None)


def take_over(derived: HeldExecution, given: HeldExecution) -> HeldExecution:
    """Return a span-derived execution as its caller's; where spans knew more than was given, that stays."""
    return replace(
        given,
        started_ns=derived.started_ns,
        workflow_version=derived.workflow_version,
        version_label=derived.version_label,
        external_id=derived.external_id,
    )


def execution_record(
    held: HeldExecution, journal: Journal, trace_ids: Iterable[bytes], abandoned_since_ns: int | None
) -> Execution:
    """Return what a reader sees of an execution; its payloads are the reader's own."""
    return Execution(
        execution_id=held.execution_id,
        workflow_id=held.workflow_id,
        workflow_version=held.workflow_version,
        version_label=held.version_label,
        external_id=held.external_id,
        origin=held.origin,
        status=held.status,
        started_ns=held.started_ns,
        ended_ns=held.ended_ns,
        parent_execution_id=held.parent_execution_id,
        root_execution_id=held.root_execution_id,
        depth=held.depth,
        initial_data=_load(held.initial_data),
        result=_load(held.result),
        error=held.error,
        metadata=json.loads(journal.metadata),
        trace_ids=tuple(trace_id.hex() for trace_id in trace_ids),
        abandoned_since_ns=abandoned_since_ns,
        timeout_ns=journal.timeout_ns,
    )


def _derive(rows: list[ExecutionTraceRow]) -> HeldExecution:
    derived = fold(rows)
    stamp = derived.stamp
    return HeldExecution(
        execution_id=derived.execution_id,
        workflow_id=stamp.workflow_id,
        workflow_version=stamp.workflow_version,
        version_label=stamp.version_label,
        external_id=stamp.external_id,
        origin="spans",
        status=derived.status,
        started_ns=derived.started_ns,
        ended_ns=derived.ended_ns,
        parent_execution_id=derived.parent_execution_id,
        root_execution_id=derived.root_execution_id,
        depth=derived.depth,
        initial_data=stamp.input,
        result=stamp.output,
        error=derived.error,
        process_id=derived.process_id,
    )


def _load(text: str | None) -> Any:
    return None if text is None else json.loads(text)
