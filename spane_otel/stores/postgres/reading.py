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


class Reading:
    """The spans or logs of one answer, with the resources and scopes that they index in the order of first use."""

    def __init__(self, resources: list[Resource], scopes: list[Scope], processes: dict[str, Process]) -> None:
        self.resources: Final = resources
        self.scopes: Final = scopes
        self._processes = processes
        self._resource_places: dict[UUID, int] = {}
        self._scope_places: dict[UUID, int] = {}

    @classmethod
    async def of(cls, session: Session, rows: Sequence[Record]) -> "Reading":
        """Return a reading for `rows`, having read what they point to and is not known yet."""
        await read_origins(session, rows)
        processes = await read_processes(session, (row["process_id"] for row in rows))
        return cls.known(session, rows, processes)

    @classmethod
    def known(cls, session: Session, rows: Sequence[Record], processes: dict[str, Process]) -> "Reading":
        """Return a reading for `rows`, what they point to having been read before."""
        resource_ids = list(dict.fromkeys([row["resource_id"] for row in rows]))
        scope_ids = list(dict.fromkeys([row["scope_id"] for row in rows]))
        reading = cls(
            [session.resources.get(each) or _NO_RESOURCE for each in resource_ids],
            [session.scopes.get(each) or _NO_SCOPE for each in scope_ids],
            processes,
        )
        reading._resource_places = {each: place for place, each in enumerate(resource_ids)}
        reading._scope_places = {each: place for place, each in enumerate(scope_ids)}
        return reading

    def spans(self, rows: Iterable[Record]) -> list[Span]:
        return [self._span(row) for row in rows]

    def logs(self, rows: Iterable[Record]) -> list[Log]:
        return [self._log(row) for row in rows]

    def _span(self, row: Record) -> Span:
        process = self._processes.get(row["process_id"])
        state = state_of(row, process)
        parent_id = row["parent_id"]
        return Span(
            trace_id=row["trace_id"].hex,
            span_id=span_id_to_hex(row["span_id"]),
            id=row["added_id"],
            parent_span_id=None if parent_id is None else span_id_to_hex(parent_id),
            name=row["name"],
            kind=SPAN_KINDS[row["kind"]],
            start_ns=row["start_ns"],
            end_ns=row["end_ns"],
            status=SPAN_STATUSES[row["status"]],
            status_message=row["status_message"],
            state=state,
            trace_state=row["trace_state"],
            flags=row["flags"],
            attributes=JsonMap(row["attributes"]),
            dropped_attributes_count=row["dropped_attributes_count"],
            events=_items(row["events"]),
            dropped_events_count=row["dropped_events_count"],
            links=_items(row["links"]),
            dropped_links_count=row["dropped_links_count"],
            resource=self._resource_places[row["resource_id"]],
            scope=self._scope_places[row["scope_id"]],
            execution_id=row["execution_id"],
            node_id=row["node_id"],
            last_seen_ns=process.last_seen_ns if state == "abandoned" and process is not None else None,
        )

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
            resource=self._resource_places[row["resource_id"]],
            scope=self._scope_places[row["scope_id"]],
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
    """Read the resources and scopes that rows point to and that this process does not know yet."""
    resource_ids = session.resources.unknown({row["resource_id"] for row in rows})
    if resource_ids:
        for row in await session.fetch("list_resources", ids=resource_ids):
            session.resources.add(row["resource_id"], _resource(row))
    scope_ids = session.scopes.unknown({row["scope_id"] for row in rows})
    if scope_ids:
        for row in await session.fetch("list_scopes", ids=scope_ids):
            session.scopes.add(row["scope_id"], _scope(row))


def _items(text: str | None) -> JsonList:
    return _NO_ITEMS if text is None else JsonList(text)


def _resource(row: Record) -> Resource:
    return Resource(JsonMap(row["attributes"]), row["schema_url"], row["dropped_attributes_count"])


def _scope(row: Record) -> Scope:
    return Scope(
        row["name"], row["version"], JsonMap(row["attributes"]), row["schema_url"], row["dropped_attributes_count"]
    )
