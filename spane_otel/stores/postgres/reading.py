"""From database rows to what a reader sees: hex ids, words for numbers, resources and scopes once each."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from spane_otel.derivation import span_state
from spane_otel.ids import span_id_to_hex
from spane_otel.jsontext import JsonList, JsonMap, untag
from spane_otel.records import (
    SPAN_KINDS,
    SPAN_STATUSES,
    TIME_SOURCES,
    Execution,
    Log,
    LogRow,
    Resource,
    ResourceRow,
    Scope,
    ScopeRow,
    Span,
    SpanRow,
    TraceSummary,
    level_of,
)
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.payloads import load_payload
from spane_otel.stores.postgres.processes import Process, read_processes

_NO_RESOURCE: Final = Resource(attributes=JsonMap())
_NO_SCOPE: Final = Scope()
_NO_ITEMS: Final = JsonList()
_NULL: Final = {None}
_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
"""Makes a signed span id unsigned, for its hex digits."""


class Reading:
    """The spans or logs of one answer, with the resources and scopes that they index in the order of first use."""

    def __init__(self, session: Session, processes: dict[str, Process]) -> None:
        self.resources: Final[list[Resource]] = []
        self.scopes: Final[list[Scope]] = []
        self._session = session
        self._processes = processes
        self._resource_places: dict[UUID, int] = {}
        self._scope_places: dict[UUID, int] = {}

    @classmethod
    async def of(cls, session: Session, rows: Sequence[Record]) -> "Reading":
        """Return a reading for `rows`, having read what they point to."""
        await read_origins(session, rows)
        return cls(session, await read_processes(session, [row["process_id"] for row in rows]))

    def spans(self, rows: Iterable[Record]) -> list[Span]:
        """Return the spans of rows that begin with the columns of `list_spans`."""
        return [self._span(*row) for row in rows]

    def logs(self, rows: Iterable[Record]) -> list[Log]:
        return [self._log(row) for row in rows]

    def _span(
        self,
        trace_id: UUID,
        span_id: int,
        start_ns: int,
        end_ns: int | None,
        parent_id: int | None,
        resource_id: UUID,
        scope_id: UUID,
        flags: int,
        kind: int,
        status: int,
        dropped_attributes_count: int,
        dropped_events_count: int,
        dropped_links_count: int,
        name: str,
        status_message: str,
        state: Any,
        trace_state: str,
        execution_id: str | None,
        node_id: str | None,
        process_id: str | None,
        added_id: str | None,
        attributes: str,
        events: str | None,
        links: str | None,
        *_: Any,
    ) -> Span:
        last_seen_ns = None
        if state is None or (state == "running" and process_id is not None):
            process = None if process_id is None else self._processes.get(process_id)
            is_stale = process is not None and process.is_stale
            state = span_state(state, status, end_ns, process_id, stale=is_stale)
            if process is not None and state == "abandoned":
                last_seen_ns = process.last_seen_ns
        return Span(
            trace_id=trace_id.hex,
            span_id=f"{span_id & _MASK:016x}",
            id=added_id,
            parent_span_id=None if parent_id is None else f"{parent_id & _MASK:016x}",
            name=name,
            kind=SPAN_KINDS[kind],
            start_ns=start_ns,
            end_ns=end_ns,
            status=SPAN_STATUSES[status],
            status_message=status_message,
            state=state,
            trace_state=trace_state,
            flags=flags,
            attributes=JsonMap(attributes),
            dropped_attributes_count=dropped_attributes_count,
            events=_NO_ITEMS if events is None else JsonList(events),
            dropped_events_count=dropped_events_count,
            links=_NO_ITEMS if links is None else JsonList(links),
            dropped_links_count=dropped_links_count,
            resource=self._resource_place(resource_id),
            scope=self._scope_place(scope_id),
            execution_id=execution_id,
            node_id=node_id,
            last_seen_ns=last_seen_ns,
        )

    def _resource_place(self, resource_id: UUID) -> int:
        place = self._resource_places.get(resource_id)
        if place is None:
            place = self._resource_places[resource_id] = len(self.resources)
            self.resources.append(self._session.resources.get(resource_id) or _NO_RESOURCE)
        return place

    def _scope_place(self, scope_id: UUID) -> int:
        place = self._scope_places.get(scope_id)
        if place is None:
            place = self._scope_places[scope_id] = len(self.scopes)
            self.scopes.append(self._session.scopes.get(scope_id) or _NO_SCOPE)
        return place

    def _log(self, row: Record) -> Log:
        trace_id, span_id, severity = row["trace_id"], row["span_id"], row["severity"]
        return Log(
            log_id=row["log_id"].hex,
            id=row["uid"],
            time_ns=row["time_ns"],
            observed_ns=row["observed_ns"],
            time_source=TIME_SOURCES[row["time_source"]],
            severity=severity,
            severity_text=row["severity_text"],
            level=level_of(severity),
            body=untag(json.loads(row["body"])),
            attributes=JsonMap(row["attributes"]),
            dropped_attributes_count=row["dropped_attributes_count"],
            event_name=row["event_name"],
            trace_id=None if trace_id is None else trace_id.hex,
            span_id=None if span_id is None else span_id_to_hex(span_id),
            flags=row["flags"],
            execution_id=row["execution_id"],
            node_id=row["node_id"],
            resource=self._resource_place(row["resource_id"]),
            scope=self._scope_place(row["scope_id"]),
            body_text=row["body"],
        )


def state_of(row: Record, process: Process | None) -> Any:
    """Return the state of a span's row, given what is known of its process."""
    is_stale = process is not None and process.is_stale
    return span_state(row["state"], row["status"], row["end_ns"], row["process_id"], stale=is_stale)


def read_span_row(row: Record) -> SpanRow:
    """Return a span as it was stored; what its stamp said of its execution is kept with the execution."""
    added_hash = row["added_hash"]
    return SpanRow(
        trace_id=row["trace_id"].bytes,
        span_id=row["span_id"],
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        name=row["name"],
        resource_id=row["resource_id"].bytes,
        scope_id=row["scope_id"].bytes,
        service=row["service"],
        parent_id=row["parent_id"],
        kind=row["kind"],
        status=row["status"],
        status_message=row["status_message"],
        state=row["state"],
        trace_state=row["trace_state"],
        flags=row["flags"],
        attributes=row["attributes"],
        dropped_attributes_count=row["dropped_attributes_count"],
        events=row["events"],
        dropped_events_count=row["dropped_events_count"],
        links=row["links"],
        dropped_links_count=row["dropped_links_count"],
        execution_id=row["execution_id"],
        node_id=row["node_id"],
        process_id=row["process_id"],
        added_id=row["added_id"],
        revision=row["revision"],
        seq=row["seq"],
        added_hash=None if added_hash is None else added_hash.bytes,
    )


def read_resource_row(row: Record) -> ResourceRow:
    """Return a resource as it was stored."""
    return ResourceRow(
        row["resource_id"].bytes,
        row["attributes"],
        row["schema_url"],
        row["dropped_attributes_count"],
        row["service"],
    )


def read_scope_row(row: Record) -> ScopeRow:
    """Return an instrumentation scope as it was stored."""
    return ScopeRow(
        row["scope_id"].bytes,
        row["name"],
        row["version"],
        row["attributes"],
        row["schema_url"],
        row["dropped_attributes_count"],
    )


def read_log_row(row: Record) -> LogRow:
    """Return a log record as it was stored."""
    trace_id = row["trace_id"]
    return LogRow(
        log_id=row["log_id"].bytes,
        trace_key=row["trace_key"].bytes,
        time_ns=row["time_ns"],
        resource_id=row["resource_id"].bytes,
        scope_id=row["scope_id"].bytes,
        service=row["service"],
        time_source=row["time_source"],
        observed_ns=row["observed_ns"],
        severity=row["severity"],
        severity_text=row["severity_text"],
        body=row["body"],
        attributes=row["attributes"],
        dropped_attributes_count=row["dropped_attributes_count"],
        event_name=row["event_name"],
        trace_id=None if trace_id is None else trace_id.bytes,
        span_id=row["span_id"],
        flags=row["flags"],
        execution_id=row["execution_id"],
        node_id=row["node_id"],
        process_id=row["process_id"],
        uid=row["uid"],
        seq=row["seq"],
    )


def read_execution(row: Record) -> Execution:
    """Return the record of an execution's row."""
    return Execution(
        execution_id=row["execution_id"],
        workflow_id=row["workflow_id"],
        workflow_version=row["workflow_version"],
        version_label=row["version_label"],
        external_id=row["external_id"],
        origin=row["origin"],
        status=row["status"],
        started_ns=row["started_ns"],
        ended_ns=row["ended_ns"],
        parent_execution_id=row["parent_execution_id"],
        root_execution_id=row["root_execution_id"],
        depth=row["depth"],
        initial_data=load_payload(row["initial_data"], row["initial_data_kept"]),
        result=load_payload(row["result"], row["result_kept"]),
        error=row["error"],
        metadata=load_payload(row["metadata"], row["metadata_kept"]) or {},
        trace_ids=tuple(trace_id.hex for trace_id in row["trace_ids"]),
        abandoned_since_ns=row["abandoned_since_ns"],
        timeout_ns=row["timeout_ns"],
    )


def read_summary(
    row: Record, process: Process | None, execution_ids: Sequence[str], counts: tuple[int, int], limit: int
) -> TraceSummary:
    """Return a trace as a list shows it: its root's row, its executions, its spans and errors."""
    spans, errors = counts
    return TraceSummary(
        trace_id=row["trace_id"].hex,
        root_span_id=span_id_to_hex(row["span_id"]),
        name=row["name"],
        service=row["service"],
        kind=SPAN_KINDS[row["kind"]],
        status=SPAN_STATUSES[row["status"]],
        status_message=row["status_message"],
        state=state_of(row, process),
        start_ns=row["start_ns"],
        end_ns=row["end_ns"],
        execution_ids=tuple(execution_ids),
        spans=min(spans, limit),
        errors=errors,
        truncated=spans > limit,
    )


async def read_origins(session: Session, rows: Sequence[Record]) -> None:
    """Read the resources and scopes that rows point to, if to any, and that this process does not know yet."""
    resource_ids = session.resources.unknown({row["resource_id"] for row in rows} - _NULL)
    if resource_ids:
        for row in await session.fetch("list_resources", ids=resource_ids):
            session.resources.add(row["resource_id"], _resource(row))
    scope_ids = session.scopes.unknown({row["scope_id"] for row in rows} - _NULL)
    if scope_ids:
        for row in await session.fetch("list_scopes", ids=scope_ids):
            session.scopes.add(row["scope_id"], _scope(row))


def _resource(row: Record) -> Resource:
    return Resource(JsonMap(row["attributes"]), row["schema_url"], row["dropped_attributes_count"])


def _scope(row: Record) -> Scope:
    return Scope(
        row["name"], row["version"], JsonMap(row["attributes"]), row["schema_url"], row["dropped_attributes_count"]
    )
