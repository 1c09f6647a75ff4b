"""The SDK's spans and log records as rows of a batch; runs in the worker thread, never in `span.end()`."""

import logging
from collections.abc import Iterable, Sequence
from itertools import chain, count, repeat
from typing import Any, Final

from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, StatusCode

from spane_otel import values
from spane_otel.counters import Signal
from spane_otel.derivation import inherit
from spane_otel.identity import log_trace_key, resource_row, scope_row, uid_log_id
from spane_otel.mapping import LOG_RECORD_UID, PROCESS_ID, SPAN_REVISION, read_span
from spane_otel.records import Batch, LogRow, ResourceRow, ScopeRow, SpanRow

HAS_IS_REMOTE: Final = 0x100
IS_REMOTE: Final = 0x200
"""Bits of a span's or a link's flags (OTLP, enum SpanFlags); the low byte is the W3C trace flags."""

_log: Final = logging.getLogger(__name__)
_KINDS: Final = {kind: kind.value + 1 for kind in SpanKind}
_STATUSES: Final = {code: code.value for code in StatusCode}
_WIRE_ONLY: Final = frozenset({SPAN_REVISION})
_CACHED: Final = 1_024
_SEQ_MASK: Final = 2**31 - 1


class RowMaker:
    """Makes the rows of one process. Not thread-safe: one worker uses it."""

    def __init__(self, process_id: str) -> None:
        self._process_id = process_id
        self._seq = count()
        self._resources: dict[int, tuple[Resource, ResourceRow]] = {}
        self._scopes: dict[int, tuple[InstrumentationScope | None, ScopeRow]] = {}

    def make_batch(
        self, ended: Iterable[ReadableSpan | ReadWriteLogRecord], announced: Iterable[ReadableSpan] = ()
    ) -> tuple[Batch, list[Signal]]:
        """Return a batch of ended spans and log records, and of spans that are announced while open.

        What can't become a row costs only itself: its signal is in the list beside the batch.
        """
        batch = Batch()
        failed: list[Signal] = []
        for item, is_open in chain(zip(announced, repeat(True)), zip(ended, repeat(False))):
            is_log = isinstance(item, ReadWriteLogRecord)
            try:
                if isinstance(item, ReadWriteLogRecord):
                    batch.logs.append(self._log_row(batch, item))
                else:
                    batch.spans.append(self._span_row(batch, item, is_open=is_open))
            except Exception:  # noqa: BLE001 - values of user code may raise anything when looked at
                _log.exception("a %s could not be converted", "log record" if is_log else "span")
                failed.append("logs" if is_log else "spans")
        inherit(batch)
        return batch, failed

    def _span_row(self, batch: Batch, span: ReadableSpan, *, is_open: bool) -> SpanRow:
        context, parent, status = span.context, span.parent, span.status
        if context is None:
            raise ValueError("a span without a context")
        attributes = values.encode_attributes(_items(span.attributes), drop=_WIRE_ONLY)
        meaning = read_span(attributes.spane)
        events, dropped_events = _events(span.events)
        links, dropped_links = values.encode_links(map(_link, span.links)) if span.links else (None, 0)
        resource = self._resource(batch, span.resource)
        return SpanRow(
            trace_id=context.trace_id.to_bytes(16, "big"),
            span_id=_signed(context.span_id),
            start_ns=span.start_time or 0,
            end_ns=None if is_open else span.end_time,
            name=_name(span.name),
            resource_id=resource.resource_id,
            scope_id=self._scope(batch, span.instrumentation_scope).scope_id,
            service=resource.service,
            parent_id=_signed(parent.span_id) if parent is not None else None,
            kind=_KINDS[span.kind],
            status=_STATUSES[status.status_code],
            status_message=values.clean_text(status.description) if status.description else "",
            state=meaning.state,
            trace_state=values.clean_text(context.trace_state.to_header()) if context.trace_state else "",
            flags=context.trace_flags | HAS_IS_REMOTE | (IS_REMOTE if parent is not None and parent.is_remote else 0),
            attributes=attributes.text,
            dropped_attributes_count=span.dropped_attributes + attributes.dropped,
            events=events,
            dropped_events_count=span.dropped_events + dropped_events,
            links=links,
            dropped_links_count=span.dropped_links + dropped_links,
            execution_id=meaning.execution_id,
            node_id=meaning.node_id,
            process_id=self._process_id,
            revision=1 if is_open else meaning.revision,
            seq=next(self._seq) & _SEQ_MASK,
            stamp=meaning.stamp,
        )

    def _log_row(self, batch: Batch, entry: ReadWriteLogRecord) -> LogRow:
        record = entry.log_record
        attributes = values.encode_attributes(_items(record.attributes))
        meaning = read_span(attributes.spane)
        uid = str(attributes.spane[LOG_RECORD_UID])
        log_id = uid_log_id(uid)
        trace_id = record.trace_id.to_bytes(16, "big") if record.trace_id else None
        resource = self._resource(batch, entry.resource or Resource.get_empty())
        severity = record.severity_number
        return LogRow(
            log_id=log_id,
            trace_key=log_trace_key(trace_id, meaning.execution_id, log_id),
            time_ns=record.timestamp or record.observed_timestamp,
            resource_id=resource.resource_id,
            scope_id=self._scope(batch, entry.instrumentation_scope).scope_id,
            service=resource.service,
            time_source=0 if record.timestamp else 1,
            observed_ns=record.observed_timestamp,
            severity=severity.value if severity is not None else 0,
            severity_text=values.clean_text(record.severity_text or "", values.NAME_CHARACTERS),
            body=values.encode_body(record.body),
            attributes=attributes.text,
            dropped_attributes_count=entry.dropped_attributes + attributes.dropped,
            event_name=values.clean_text(record.event_name or "", values.NAME_CHARACTERS),
            trace_id=trace_id,
            span_id=_signed(record.span_id) if record.span_id else None,
            flags=int(record.trace_flags or 0),
            execution_id=meaning.execution_id,
            node_id=meaning.node_id,
            process_id=self._process_id,
            uid=uid,
            seq=next(self._seq) & _SEQ_MASK,
        )

    def _resource(self, batch: Batch, resource: Resource) -> ResourceRow:
        cached = self._resources.get(id(resource))
        if cached is None:
            attributes = values.encode_attributes(_items(resource.attributes), drop=frozenset({PROCESS_ID}))
            row = resource_row(
                attributes.text,
                values.clean_text(resource.schema_url or ""),
                attributes.dropped,
                values.service_of(attributes.spane),
            )
            if len(self._resources) >= _CACHED:
                self._resources.clear()
            cached = self._resources[id(resource)] = resource, row
        batch.resources[cached[1].resource_id] = cached[1]
        return cached[1]

    def _scope(self, batch: Batch, scope: InstrumentationScope | None) -> ScopeRow:
        cached = self._scopes.get(id(scope))
        if cached is None:
            row = scope_row() if scope is None else _scope_row(scope)
            if len(self._scopes) >= _CACHED:
                self._scopes.clear()
            cached = self._scopes[id(scope)] = scope, row
        batch.scopes[cached[1].scope_id] = cached[1]
        return cached[1]


def _scope_row(scope: InstrumentationScope) -> ScopeRow:
    attributes = values.encode_attributes(_items(scope.attributes))
    return scope_row(
        values.clean_text(scope.name, values.NAME_CHARACTERS),
        values.clean_text(scope.version or "", values.NAME_CHARACTERS),
        attributes.text,
        values.clean_text(scope.schema_url or ""),
        attributes.dropped,
    )


def _link(link: Link) -> tuple[str, str, str, int, Iterable[tuple[str, Any]], int]:
    context = link.context
    flags = context.trace_flags | HAS_IS_REMOTE | (IS_REMOTE if context.is_remote else 0)
    state = context.trace_state.to_header() if context.trace_state else ""
    ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return *ids, state, flags, _items(link.attributes), link.dropped_attributes


def _events(events: Sequence[Event]) -> tuple[str | None, int]:
    if not events:
        return None, 0
    return values.encode_events(
        (event.name, event.timestamp, _items(event.attributes), event.dropped_attributes) for event in events
    )


def _items(attributes: Any) -> Iterable[tuple[str, Any]]:
    """Return the items of an SDK's mapping, copied at once: the span may be open, and item by item is slow."""
    if not attributes:
        return ()
    copy = getattr(attributes, "copy", None)
    items: Iterable[tuple[str, Any]] = (attributes if copy is None else copy()).items()
    return items


def _name(text: str) -> str:
    if type(text) is not str:
        text = str(text)
    if len(text) <= values.NAME_CHARACTERS and text.isascii() and "\0" not in text:
        return text
    return values.clean_text(text, values.NAME_CHARACTERS)


def _signed(span_id: int) -> int:
    """Return an id of the SDK, which is unsigned, as the storage form has it."""
    return span_id - 2**64 if span_id >= 2**63 else span_id
