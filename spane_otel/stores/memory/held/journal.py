"""What is kept beside an execution: metadata, node results, audit, dead letters, lease. Payloads are JSON text."""

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from spane_otel.jsontext import encode_payload
from spane_otel.state import AuditChange, AuditEntry, DeadLetter, NodeResult
from spane_otel.stores.admission import NewExecution
from spane_otel.stores.outcomes import NewNodeResult

Try = tuple[int, int]
"""Iteration and attempt."""

_CONTENT: Final = ("success", "skipped", "is_final", "data", "error", "next_nodes", "input", "started_ns", "worker")
"""What tells the result of a try from another of the same try."""


class HeldNode(Struct):
    """What the tries of one node came to."""

    tries: dict[Try, NewNodeResult] = field(default_factory=dict)
    latest: Try = (0, 0)
    final: Try | None = None
    """The latest try after which no other follows."""

    def put(self, new: NewNodeResult) -> NewNodeResult | None:
        """Hold a result in the place of what its try had; return that."""
        key = new.iteration, new.attempt
        before = self.tries.get(key)
        self.tries[key] = new
        self.latest = max(self.latest, key)
        if new.is_final:
            self.final = key if self.final is None else max(self.final, key)
        elif self.final == key:
            self.final = max((each for each, result in self.tries.items() if result.is_final), default=None)
        return before

    @property
    def outcome(self) -> NewNodeResult | None:
        """The final result, None while there is none."""
        return None if self.final is None else self.tries[self.final]


class HeldLease(Struct, frozen=True):
    """Who runs an execution, and until when nobody else may."""

    holder: str
    expires_ns: int
    """0: given up."""

    def is_held_by(self, holder: str, now_ns: int) -> bool:
        return self.holder == holder and self.expires_ns > now_ns


class HeldDeadLetter(Struct, frozen=True, kw_only=True):
    """A dead letter."""

    dead_letter_id: str
    workflow_id: str | None
    """Its execution's, when the node failed."""
    node_id: str
    iteration: int
    attempt: int
    job_id: str | None
    job_data: str | None
    """JSON text."""
    error: str | None
    failed_ns: int
    attempts_made: int
    retried_ns: int | None = None

    @property
    def order(self) -> tuple[int, str]:
        return self.failed_ns, self.dead_letter_id


class Journal(Struct):
    """All that an execution collects while it lives; one made from spans has one too."""

    metadata: str = "{}"
    """JSON text of an object."""
    content: NewExecution | bytes | None = None
    """What `create_execution` was given, or the hash of it; None: made from spans."""
    timeout_ns: int | None = None
    changed_ns: int = 0
    """The last state change; 0: none."""
    pinned: Mapping[str, bool] | None = None
    """Whether each node of the pinned version may fail; None: there is no such version here."""
    nodes_total: int | None = None
    nodes: dict[str, HeldNode] = field(default_factory=dict)
    nodes_done: int = 0
    """Of the pinned version's nodes, those with a final result."""
    nodes_failed: int = 0
    """Of those, failures that nobody tolerates."""
    audit: list[AuditEntry] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)
    """Keys of the status changes that were made."""
    dead_letters: dict[str, HeldDeadLetter] = field(default_factory=dict)
    lease: HeldLease | None = None

    @property
    def content_hash(self) -> bytes | None:
        return self.content.content_hash() if isinstance(self.content, NewExecution) else self.content

    def pin(self, nodes: Mapping[str, bool] | None) -> None:
        """Count results against these nodes from now on."""
        self.pinned = nodes
        self.nodes_total = None if nodes is None else len(nodes)
        self.nodes_done = self.nodes_failed = 0
        for node_id, node in self.nodes.items():
            self._count(node_id, node, 1)

    def put_result(self, new: NewNodeResult) -> NewNodeResult | None:
        """Hold a result in the place of what its try had; return that."""
        node = self.nodes.get(new.node_id)
        if node is None:
            node = self.nodes[new.node_id] = HeldNode()
        self._count(new.node_id, node, -1)
        before = node.put(new)
        self._count(new.node_id, node, 1)
        return before

    def _count(self, node_id: str, node: HeldNode, by: int) -> None:
        outcome = node.outcome
        if outcome is None or self.pinned is None:
            return
        is_tolerant = self.pinned.get(node_id)
        if is_tolerant is None:
            return
        self.nodes_done += by
        if not (outcome.success or outcome.skipped or is_tolerant):
            self.nodes_failed += by

    @property
    def is_complete(self) -> bool:
        """Whether every node of the pinned version has a final result."""
        return self.pinned is not None and self.nodes_done == self.nodes_total

    def failure(self) -> NewNodeResult | None:
        """Return the earliest final failure that nobody tolerates."""
        failures = [
            outcome
            for node_id, node in self.nodes.items()
            if (outcome := node.outcome) is not None
            and not (outcome.success or outcome.skipped)
            and (self.pinned or {}).get(node_id) is False
        ]
        return min(failures, key=lambda each: (each.ended_ns, each.node_id), default=None)

    def results(self) -> list[NewNodeResult]:
        """Return every result, by node, iteration and attempt."""
        found = [result for node in self.nodes.values() for result in node.tries.values()]
        return sorted(found, key=lambda each: (each.node_id, each.iteration, each.attempt))

    def note(
        self,
        execution_id: str,
        now_ns: int,
        change: AuditChange,
        *,
        old: str | None = None,
        new: str | None = None,
        of: NewNodeResult | HeldDeadLetter | None = None,
        detail: str | None = None,
        actor: str | None = None,
    ) -> None:
        """Add a state change to the audit; `of` is the try that it is about."""
        self.changed_ns = now_ns
        entry = AuditEntry(
            execution_id=execution_id,
            seq=self.audit[-1].seq + 1 if self.audit else 1,
            changed_ns=now_ns,
            change=change,
            old_value=old,
            new_value=new,
            node_id=None if of is None else of.node_id,
            iteration=None if of is None else of.iteration,
            attempt=None if of is None else of.attempt,
            detail=detail,
            actor=actor,
        )
        self.audit.append(entry)


def is_same_result(held: NewNodeResult, new: NewNodeResult) -> bool:
    """Whether a try's result says what is held already; an end that the store filled in says nothing."""
    same_end = not new.has_end or held.ended_ns == new.ended_ns
    return same_end and all(getattr(held, name) == getattr(new, name) for name in _CONTENT)


def result_record(held: NewNodeResult) -> NodeResult:
    """Return what a reader sees of a result; its payloads are the reader's own."""
    return NodeResult(
        execution_id=held.execution_id,
        node_id=held.node_id,
        iteration=held.iteration,
        attempt=held.attempt,
        success=held.success,
        data=_load(held.data),
        has_data=held.data is not None,
        error=held.error,
        next_nodes=None if held.next_nodes is None else tuple(json.loads(held.next_nodes)),
        skipped=held.skipped,
        state=held.state,
        is_final=held.is_final,
        started_ns=held.started_ns,
        ended_ns=held.ended_ns,
        worker=held.worker,
        input=_load(held.input),
        has_input=held.input is not None,
    )


def dead_letter_record(held: HeldDeadLetter, execution_id: str) -> DeadLetter:
    """Return what a reader sees of a dead letter."""
    return DeadLetter(
        dead_letter_id=held.dead_letter_id,
        execution_id=execution_id,
        node_id=held.node_id,
        iteration=held.iteration,
        attempt=held.attempt,
        job_id=held.job_id,
        job_data=_load(held.job_data),
        has_job_data=held.job_data is not None,
        error=held.error,
        failed_ns=held.failed_ns,
        attempts_made=held.attempts_made,
        retried_ns=held.retried_ns,
        workflow_id=held.workflow_id,
    )


def held_result(record: NodeResult) -> NewNodeResult:
    """Return a result of another store as it is held here."""
    return NewNodeResult(
        execution_id=record.execution_id,
        node_id=record.node_id,
        iteration=record.iteration,
        attempt=record.attempt,
        success=record.success,
        skipped=record.skipped,
        is_final=record.is_final,
        decides=False,
        data=encode_payload(record.data) if record.has_data else None,
        error=record.error,
        next_nodes=None if record.next_nodes is None else encode_payload(list(record.next_nodes)),
        input=encode_payload(record.input) if record.has_input else None,
        started_ns=record.started_ns,
        ended_ns=record.ended_ns or 0,
        has_end=True,
        worker=record.worker,
        holder=None,
    )


def held_dead_letter(record: DeadLetter) -> HeldDeadLetter:
    """Return a dead letter of another store as it is held here."""
    return HeldDeadLetter(
        dead_letter_id=record.dead_letter_id,
        workflow_id=record.workflow_id,
        node_id=record.node_id,
        iteration=record.iteration,
        attempt=record.attempt,
        job_id=record.job_id,
        job_data=encode_payload(record.job_data) if record.has_job_data else None,
        error=record.error,
        failed_ns=record.failed_ns,
        attempts_made=record.attempts_made,
        retried_ns=record.retried_ns,
    )


def _load(text: str | None) -> Any:
    return None if text is None else json.loads(text)
