"""From rows to what a reader sees: hex ids, words for numbers, resources and scopes once each."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from spane_otel.derivation import span_state
from spane_otel.ids import span_id_to_hex
from spane_otel.jsontext import JsonList, JsonMap, untag
from spane_otel.records import (
    SPAN_KINDS,
    SPAN_STATUSES,
    STATUS_ERROR,
    TIME_SOURCES,
    TRACE_SPAN_LIMIT,
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
from spane_otel.stores.memory.held.processes import Processes
from spane_otel.stores.memory.held.telemetry import HeldTrace, Telemetry, span_order

Row = TypeVar("Row")
Record = TypeVar("Record")


class Indexed(Generic[Row, Record]):
    """Records that others point to by index, each once, in the order of first use."""

    def __init__(self, rows: dict[bytes, Row], read: Callable[[Row | None], Record]) -> None:
        self.records: list[Record] = []
        self._rows = rows
        self._read = read
        self._places: dict[bytes, int] = {}

    def place_of(self, row_id: bytes) -> int:
        place = self._places.get(row_id)
        if place is None:
            place = self._places[row_id] = len(self.records)
            self.records.append(self._read(self._rows.get(row_id)))
        return place


class Reading:
    """One look at the store at one moment."""

    def __init__(self, telemetry: Telemetry, processes: Processes, now_ns: int) -> None:
        self._processes = processes
        self._now_ns = now_ns
        self._resources = Indexed(telemetry.resources, _resource)
        self._scopes = Indexed(telemetry.scopes, _scope)

    @property
    def resources(self) -> list[Resource]:
        return self._resources.records

    @property
    def scopes(self) -> list[Scope]:
        return self._scopes.records

    def spans(self, rows: Iterable[SpanRow]) -> list[Span]:
        return [self._span(row) for row in rows]

    def logs(self, rows: Iterable[LogRow]) -> list[Log]:
        return [self._log(row) for row in rows]

    def summary(self, trace: HeldTrace, root: SpanRow, execution_ids: Sequence[str]) -> TraceSummary:
        """Return a trace as a list shows it."""
        rows: Iterable[SpanRow] = trace.spans.values()
        truncated = len(trace.spans) > TRACE_SPAN_LIMIT
        if truncated:
            rows = sorted(rows, key=span_order)[:TRACE_SPAN_LIMIT]
        return TraceSummary(
            trace_id=root.trace_id.hex(),
            root_span_id=span_id_to_hex(root.span_id),
            name=root.name,
            service=root.service,
            kind=SPAN_KINDS[root.kind],
            status=SPAN_STATUSES[root.status],
            status_message=root.status_message,
            state=span_state(root.state, root.status, root.end_ns, root.process_id, stale=self._is_stale(root)),
            start_ns=root.start_ns,
            end_ns=root.end_ns,
            execution_ids=tuple(execution_ids),
            spans=min(len(trace.spans), TRACE_SPAN_LIMIT),
            errors=sum(row.status == STATUS_ERROR for row in rows),
            truncated=truncated or trace.trimmed > 0,
        )

    def _is_stale(self, row: SpanRow) -> bool:
        return self._processes.is_stale(row.process_id, self._now_ns)

    def _span(self, row: SpanRow) -> Span:
        state = span_state(row.state, row.status, row.end_ns, row.process_id, stale=self._is_stale(row))
        return Span(
            trace_id=row.trace_id.hex(),
            span_id=span_id_to_hex(row.span_id),
            id=row.added_id,
            parent_span_id=None if row.parent_id is None else span_id_to_hex(row.parent_id),
            name=row.name,
            kind=SPAN_KINDS[row.kind],
            start_ns=row.start_ns,
            end_ns=row.end_ns,
            status=SPAN_STATUSES[row.status],
            status_message=row.status_message,
            state=state,
            trace_state=row.trace_state,
            flags=row.flags,
            attributes=JsonMap(row.attributes),
            dropped_attributes_count=row.dropped_attributes_count,
            events=JsonList(row.events or "[]"),
            dropped_events_count=row.dropped_events_count,
            links=JsonList(row.links or "[]"),
            dropped_links_count=row.dropped_links_count,
            resource=self._resources.place_of(row.resource_id),
            scope=self._scopes.place_of(row.scope_id),
            execution_id=row.execution_id,
            node_id=row.node_id,
            last_seen_ns=self._processes.last_seen_ns(row.process_id) if state == "abandoned" else None,
        )

    def _log(self, row: LogRow) -> Log:
        return Log(
            log_id=row.log_id.hex(),
            id=row.uid,
            time_ns=row.time_ns,
            observed_ns=row.observed_ns,
            time_source=TIME_SOURCES[row.time_source],
            severity=row.severity,
            severity_text=row.severity_text,
            level=level_of(row.severity),
            body=untag(json.loads(row.body)),
            attributes=JsonMap(row.attributes),
            dropped_attributes_count=row.dropped_attributes_count,
            event_name=row.event_name,
            trace_id=None if row.trace_id is None else row.trace_id.hex(),
            span_id=None if row.span_id is None else span_id_to_hex(row.span_id),
            flags=row.flags,
            execution_id=row.execution_id,
            node_id=row.node_id,
            resource=self._resources.place_of(row.resource_id),
            scope=self._scopes.place_of(row.scope_id),
            body_text=row.body,
        )


def message_of(row: LogRow) -> str:
    """Return a log's body as the text that a search looks through: itself if it is a string, else its JSON."""
    body: Any = json.loads(row.body) if row.body.startswith('"') else row.body
    return str(body)


def _resource(row: ResourceRow | None) -> Resource:
    if row is None:
        return Resource(attributes=JsonMap())
    return Resource(JsonMap(row.attributes), row.schema_url, row.dropped_attributes_count)


def _scope(row: ScopeRow | None) -> Scope:
    if row is None:
        return Scope()
    return Scope(row.name, row.version, JsonMap(row.attributes), row.schema_url, row.dropped_attributes_count)
