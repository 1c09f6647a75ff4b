"""`InMemoryExecutionStore`: every method under one lock, nothing awaited inside."""

import heapq
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from msgspec.structs import asdict, replace

from spane_otel.clock import Clock, SystemClock
from spane_otel.derivation import select_execution
from spane_otel.errors import ExecutionExistsError, InvalidTransitionError, InvalidValueError, UnknownExecutionError
from spane_otel.ids import span_id_from_hex, trace_id_from_hex
from spane_otel.records import (
    EXECUTION_STATUSES,
    Batch,
    Change,
    Counts,
    Execution,
    ExecutionStatus,
    LogPage,
    Page,
    SpanRow,
    StoreStats,
    Trace,
    TraceSummary,
    WriteResult,
)
from spane_otel.stores.admission import (
    ACCEPT_PAST_DAYS,
    check_limit,
    check_new_execution,
    check_offset,
    check_status_filter,
    window_at,
)
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.memory.executions import HeldExecution, has_same_content, take_over
from spane_otel.stores.memory.logs import LogFilter, execution_logs, page_logs, severity_of
from spane_otel.stores.memory.room import Room
from spane_otel.stores.memory.state import State
from spane_otel.stores.memory.traces import HeldTrace, count_traces, first_spans
from spane_otel.stores.memory.writing import admit, store_batch
from spane_otel.stores.protocols import StatusFilter
from spane_otel.values import clean_text

MAX_SPANS: Final = 200_000
MAX_LOGS: Final = 200_000


class InMemoryExecutionStore:
    """Keeps everything in this process, for tests, demos and development: what is stored ends with the process.

    May be used from any thread and event loop. Beyond `max_spans` spans or `max_logs` logs the oldest finished
    executions and traces go (`stats().trimmed` counts their spans and logs); what still runs stays, and where nothing
    can go new rows are rejected as `store_full`. Executions without spans and logs are not bounded.

    A start or log time more than `accept_past_days` ago, or more than 24 hours ahead, is rejected as
    `start_out_of_window`.
    """

    address: Final = "memory"

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        accept_past_days: float = ACCEPT_PAST_DAYS,
        max_spans: int = MAX_SPANS,
        max_logs: int = MAX_LOGS,
    ) -> None:
        self._clock: Clock = clock or SystemClock()
        self._accept_past_days = accept_past_days
        self._room = Room(max_spans, max_logs)
        self._lock = threading.Lock()
        self._state = State()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Do nothing: what is held stays readable."""

    async def ping(self) -> None:
        """Return: memory always answers."""

    async def stats(self) -> StoreStats:
        with self._lock:
            telemetry = self._state.telemetry
            return StoreStats(
                executions=len(self._state.executions.held),
                spans=telemetry.span_count,
                logs=telemetry.log_count,
                approx_bytes=telemetry.approx_bytes(),
                trimmed=self._room.trimmed,
            )

    # --- writers ---

    async def write(self, batch: Batch) -> WriteResult:
        now_ns = self._clock.now_ns()
        admitted = admit(batch, window_at(now_ns, self._accept_past_days))
        with self._lock:
            return store_batch(self._state, self._room, batch, admitted, now_ns)

    async def create_execution(
        self,
        workflow_id: str,
        parent_execution_id: str | None = None,
        depth: int = 0,
        initial_data: Any = None,
        *,
        execution_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        new = check_new_execution(workflow_id, parent_execution_id, depth, initial_data, execution_id, metadata)
        now_ns = self._clock.now_ns()
        given = HeldExecution(started_ns=now_ns, **asdict(new))
        with self._lock:
            self._create(given, now_ns)
        return new.execution_id

    def _create(self, given: HeldExecution, now_ns: int) -> None:
        executions = self._state.executions
        held = executions.held.get(given.execution_id)
        if held is not None and held.origin == "api":
            if has_same_content(held, given):
                return
            raise ExecutionExistsError(given.execution_id)
        root = executions.root_of_child(given.parent_execution_id, given.execution_id, given.depth)
        given = replace(given, root_execution_id=root)
        executions.held[given.execution_id] = given if held is None else take_over(held, given)
        self._state.add_execution_changes([given.execution_id], now_ns)

    async def set_execution_status(
        self, execution_id: str, status: ExecutionStatus, *, error: str | None = None
    ) -> bool:
        if status not in EXECUTION_STATUSES:
            raise InvalidValueError(f"{status!r} is no execution status", reason="status")
        error = None if error is None else clean_text(error)
        now_ns = self._clock.now_ns()
        with self._lock:
            held = self._state.executions.held.get(execution_id)
            if held is None:
                raise UnknownExecutionError(execution_id)
            if held.status == status:
                return False
            if held.is_final:
                raise InvalidTransitionError(execution_id, held.status, status)
            changed = replace(held, status=status, origin="api", process_id=None)
            if changed.is_final:
                changed = replace(changed, ended_ns=now_ns)
            if error is not None:
                changed = replace(changed, error=error)
            self._state.executions.held[execution_id] = changed
            self._state.add_execution_changes([execution_id], now_ns)
            return True

    async def delete_execution(self, execution_id: str) -> bool:
        now_ns = self._clock.now_ns()
        with self._lock:
            if execution_id not in self._state.executions.held:
                return False
            self._state.delete_execution(execution_id, now_ns)
            return True

    # --- readers: executions ---

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
            held = self._state.executions.held.values()
            return sum(workflow_id is None or each.workflow_id == workflow_id for each in held)

    async def count_telemetry(self, execution_ids: Sequence[str]) -> dict[str, Counts]:
        with self._lock:
            known = [each for each in execution_ids if each in self._state.executions.held]
            return {each: self._count(each) for each in known}

    def _count(self, execution_id: str) -> Counts:
        state = self._state
        keys = [key for key in state.keys_of(execution_id) if key in state.telemetry.traces]
        traces = [(state.telemetry.traces[key], state.executions.is_shared(key)) for key in keys]
        return count_traces(traces, execution_id)

    # --- readers: traces ---

    async def get_trace(self, execution_id: str, *, include_children: bool = False) -> Trace | None:
        now_ns = self._clock.now_ns()
        with self._lock:
            state = self._state
            if execution_id not in state.executions.held:
                return None
            family = state.executions.with_descendants(execution_id) if include_children else [execution_id]
            trace_ids = list(dict.fromkeys(key for each in family for key in state.executions.trace_ids(each)))
            rows, truncated = first_spans(each for key in trace_ids if (each := state.telemetry.traces.get(key)))
            rows = self._select(rows, family, now_ns)
            trace = self._trace(rows, now_ns, truncated=truncated)
        return replace(trace, execution_id=execution_id, trace_ids=tuple(key.hex() for key in trace_ids))

    def _select(self, rows: list[SpanRow], family: Sequence[str], now_ns: int) -> list[SpanRow]:
        """Return the rows that belong to one of `family`; of shared traces not all do."""
        spans = self._state.spans(rows, now_ns)
        row_of = {id(span): row for span, row in zip(spans, rows, strict=True)}
        chosen: set[int] = set()
        for execution_id in family:
            own_traces = {key.hex() for key in self._state.executions.trace_ids(execution_id)}
            own = [span for span in spans if span.trace_id in own_traces]
            shared = self._state.shared_trace_ids(execution_id)
            chosen.update(id(span) for span in select_execution(own, execution_id, shared))
        return [row_of[id(span)] for span in spans if id(span) in chosen]

    def _trace(self, rows: list[SpanRow], now_ns: int, *, truncated: bool) -> Trace:
        reading = self._state.reading(now_ns)
        spans = reading.spans(rows)
        return Trace(spans=spans, resources=reading.resources, scopes=reading.scopes, truncated=truncated)

    async def get_trace_by_id(self, trace_id: str) -> Trace | None:
        key = trace_id_from_hex(trace_id)
        now_ns = self._clock.now_ns()
        with self._lock:
            held = None if key is None else self._state.telemetry.traces.get(key)
            if held is None or not held.spans:
                return None
            rows, truncated = first_spans([held])
            trace = self._trace(rows, now_ns, truncated=truncated)
        return replace(trace, trace_id=held.trace_key.hex())

    async def list_traces(
        self,
        *,
        service: str | None = None,
        name: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[TraceSummary]:
        check_limit(limit)
        before = None if cursor is None else decode_cursor(cursor, int, bytes)
        now_ns = self._clock.now_ns()
        with self._lock:
            matching = (
                root
                for root in self._state.telemetry.roots()
                if (service is None or root.service == service)
                and (name is None or root.name == name)
                and (since is None or root.start_ns >= since)
                and (until is None or root.start_ns < until)
                and (before is None or (root.start_ns, root.trace_id) < before)
            )
            found = heapq.nlargest(limit + 1, matching, key=lambda root: (root.start_ns, root.trace_id))
            reading = self._state.reading(now_ns)
            items = [
                reading.summary(
                    self._state.telemetry.traces[root.trace_id],
                    root,
                    self._state.executions.executions_of(root.trace_id),
                )
                for root in found[:limit]
            ]
        last = found[limit - 1] if len(found) > limit else None
        return Page(items, None if last is None else encode_cursor(last.start_ns, last.trace_id))

    # --- readers: logs and changes ---

    async def get_logs(
        self,
        execution_id: str,
        *,
        level: str | None = None,
        node_id: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LogPage:
        check_limit(limit)
        wanted = LogFilter(least_severity=severity_of(level), node_id=node_id, text=text)
        now_ns = self._clock.now_ns()
        with self._lock:
            known = execution_id in self._state.executions.held
            rows = execution_logs(self._state, execution_id, now_ns) if known else ()
            return page_logs(self._state, rows, wanted, limit, cursor, now_ns)

    async def list_logs(
        self,
        *,
        trace_id: str | None = None,
        span_id: str | None = None,
        level: str | None = None,
        text: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LogPage:
        check_limit(limit)
        span = None if span_id is None else span_id_from_hex(span_id)
        wanted = LogFilter(least_severity=severity_of(level), span_id=span, text=text, since=since, until=until)
        now_ns = self._clock.now_ns()
        with self._lock:
            traces = [] if span_id is not None and span is None else self._traces_with(trace_id)
            rows = (row for trace in traces for row in trace.logs.values())
            return page_logs(self._state, rows, wanted, limit, cursor, now_ns)

    def _traces_with(self, trace_id: str | None) -> list[HeldTrace]:
        traces = self._state.telemetry.traces
        if trace_id is None:
            return list(traces.values())
        key = trace_id_from_hex(trace_id)
        return [traces[key]] if key in traces else []

    async def poll_changes(self, cursor: str | None = None) -> tuple[str, list[Change]]:
        now_ns = self._clock.now_ns()
        with self._lock:
            state = self._state
            following = state.changes.cursor(now_ns)
            if cursor is None:
                return following, []
            place = state.changes.place_of(cursor)
            changes = state.changes.since(place)
            gone = state.processes.stale_since(place.at_ns, now_ns)
            stale = [Change("execution", each) for each in state.executions.run_by(gone)]
        return following, list(dict.fromkeys((*changes, *stale)))
