"""Executions: read, changed and deleted."""

import heapq
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from spane_otel.errors import InvalidValueError
from spane_otel.jsontext import encode_payload
from spane_otel.records import EXECUTION_STATUSES, Counts, Execution, ExecutionStatus, Page
from spane_otel.state import AuditEntry
from spane_otel.stores.admission import check_limit, check_offset, check_operation, check_status_filter
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.memory.held.executions import HeldExecution
from spane_otel.stores.memory.held.telemetry import count_traces
from spane_otel.stores.memory.part import Part
from spane_otel.stores.protocols import StatusFilter
from spane_otel.stores.transitions import changes_status
from spane_otel.values import clean_text


class Executions(Part):
    """Executions, and the audit of their changes."""

    async def get_execution(self, execution_id: str) -> Execution | None:
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            return None if held is None else self._state.execution(held, now_ns)

    async def list_executions(
        self,
        workflow_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
        *,
        status: StatusFilter | None = None,
        since: int | None = None,
        until: int | None = None,
        cursor: str | None = None,
    ) -> Page[Execution]:
        check_status_filter(status)
        check_limit(limit)
        check_offset(offset)
        before = None if cursor is None else decode_cursor(cursor, int, str)
        now_ns = self._clock.now_ns()
        with self._lock:
            matching = (
                held
                for held in self._state.executions.held.values()
                if (workflow_id is None or held.workflow_id == workflow_id)
                and (since is None or held.started_ns >= since)
                and (until is None or held.started_ns < until)
                and (before is None or held.order < before)
                and (status is None or self._shown_status(held, now_ns) == status)
            )
            found = heapq.nlargest(offset + limit + 1, matching, key=lambda held: held.order)[offset:]
            items = [self._state.execution(held, now_ns) for held in found[:limit]]
        return Page(items, encode_cursor(*found[limit - 1].order) if len(found) > limit else None)

    def _shown_status(self, held: HeldExecution, now_ns: int) -> StatusFilter:
        return held.status if self._state.abandoned_since_ns(held, now_ns) is None else "abandoned"

    async def get_execution_count(self, workflow_id: str | None = None) -> int:
        with self._lock:
            held = self._state.executions.held
            if workflow_id is None:
                return len(held)
            return sum(each.workflow_id == workflow_id for each in held.values())

    async def count_telemetry(self, execution_ids: Sequence[str]) -> dict[str, Counts]:
        with self._lock:
            known = [each for each in execution_ids if each in self._state.executions.held]
            self._settling.settle(*known)
            return {each: self._count(each) for each in known}

    def _count(self, execution_id: str) -> Counts:
        state = self._state
        keys = [key for key in state.keys_of(execution_id) if key in state.telemetry.traces]
        traces = [(state.telemetry.traces[key], state.executions.is_shared(key)) for key in keys]
        journal = state.executions.journals[execution_id]
        counts, ended = count_traces(traces, execution_id)
        held = state.executions.held[execution_id]
        if held.origin == "api" and journal.nodes_total is not None:
            return replace(counts, nodes_done=journal.nodes_done, nodes_total=journal.nodes_total)
        done = ended | {node_id for node_id, node in journal.nodes.items() if node.final is not None}
        if held.workflow_version is not None:
            version = state.workflows.version(held.workflow_id, held.workflow_version)
            if version is not None:
                return replace(counts, nodes_done=len(done & version.nodes.keys()), nodes_total=len(version.nodes))
        return replace(counts, nodes_done=len(done))

    async def set_execution_status(
        self,
        execution_id: str,
        status: ExecutionStatus,
        *,
        error: str | None = None,
        result: Any | UnsetType = UNSET,
        operation: str | None = None,
    ) -> bool:
        if status not in EXECUTION_STATUSES:
            raise InvalidValueError(f"{status!r} is no execution status", reason="status")
        check_operation(operation)
        error = None if error is None else clean_text(str(error))
        text = None if result is UNSET else encode_payload(result)
        now_ns = self._clock.now_ns()
        with self._lock:
            held, journal = self._load(execution_id)
            if operation is not None and operation in journal.operations:
                return True
            if not changes_status(execution_id, held.status, status):
                return False
            self._move(held, status, now_ns, error=error, result=text)
            if operation is not None:
                journal.operations.add(operation)
            return True

    async def update_execution_metadata(self, execution_id: str, metadata: Mapping[str, Any]) -> None:
        if not isinstance(metadata, Mapping):
            raise InvalidValueError("metadata must be a mapping", reason="metadata")
        given = json.loads(encode_payload(dict(metadata)))
        now_ns = self._clock.now_ns()
        with self._lock:
            held, journal = self._load(execution_id)
            merged = encode_payload({**json.loads(journal.metadata), **given})
            if merged == journal.metadata:
                return
            journal.metadata = merged
            if held.origin == "api":
                journal.note(execution_id, now_ns, "metadata", actor=self._actor)
            self._announce(execution_id, now_ns)

    async def delete_execution(self, execution_id: str) -> bool:
        now_ns = self._clock.now_ns()
        with self._lock:
            if execution_id not in self._state.executions.held:
                return False
            self._state.delete_execution(execution_id, now_ns)
            return True

    async def list_audit(self, execution_id: str, *, limit: int = 100, cursor: str | None = None) -> Page[AuditEntry]:
        check_limit(limit)
        (after,) = (0,) if cursor is None else decode_cursor(cursor, int)
        with self._lock:
            journal = self._state.executions.journals.get(execution_id)
            audit = [] if journal is None else journal.audit
            first = bisect_right(audit, after, key=lambda entry: entry.seq)
            found = audit[first : first + limit + 1]
        return Page(found[:limit], encode_cursor(found[limit - 1].seq) if len(found) > limit else None)
