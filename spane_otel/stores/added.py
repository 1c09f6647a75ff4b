"""Spans and logs that are written by hand, as rows: the same in every store.

A span's id is any text. Its span id is a hash of execution and text, its trace the parent's, else one that is made from
the execution id (architecture.md, *Order*). What is made here can be stored: ids are checked, texts are cleaned, values
are encoded, so that a row needs no second look.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from spane_otel.errors import InvalidValueError
from spane_otel.identity import resource_row, scope_row
from spane_otel.ids import added_span_id, execution_trace_id, hash16, new_execution_id
from spane_otel.records import LogRow, ResourceRow, ScopeRow, SpanRow, least_severity
from spane_otel.stores.admission import OUT_OF_WINDOW, Window, check_execution_id, check_id, check_text
from spane_otel.values import NAME_CHARACTERS, clean_text, encode_attributes, encode_body, encode_value
from spane_otel.version import __version__

STATUSES: Final = {"running": 0, "completed": 1, "failed": 2, "skipped": 1, "cancelled": 0}
"""What a span that is added by hand may say of itself, with the number of OpenTelemetry's status."""
FINAL: Final = frozenset(STATUSES) - {"running"}
SCOPE: Final[ScopeRow] = scope_row("spane_otel.stores", __version__)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])


def added_resource(service_name: str) -> ResourceRow:
    """Return the resource of what is written by hand through one store."""
    name = clean_text(service_name, NAME_CHARACTERS)
    return resource_row(f'{{"service.name":{encode_value(name)}}}', service=name)


class NewSpan(Struct):
    """What `add_span` was given, checked; its trace and parent are the store's to find."""

    row: SpanRow
    """In the execution's own trace and without a parent, until `place` says otherwise."""
    parent_id: str | None
    has_start: bool

    def place(self, trace_id: bytes, parent_id: int | None) -> None:
        """Put the span below its parent."""
        self.row.trace_id = trace_id
        self.row.parent_id = parent_id

    def is_same(self, held: SpanRow) -> bool:
        """Whether the span that is there was added by the same call: whatever `update_span` changed since."""
        same_start = not self.has_start or held.start_ns == self.row.start_ns
        return same_start and held.added_hash == self.row.added_hash


def new_span(
    execution_id: str,
    *,
    resource: ResourceRow,
    now_ns: int,
    window: Window,
    name: str,
    id: str | None,  # noqa: A002 - the name in the API
    node_id: str | None,
    parent_id: str | None,
    start_ns: int | None,
    status: str,
    error: str | None,
    metadata: Mapping[str, Any] | None,
) -> tuple[str, NewSpan]:
    """Check what `add_span` was given and return the id and the span.

    Raises:
        InvalidValueError: something is of the wrong type or can't be stored; the start is out of the window.

    """
    check_execution_id(execution_id)
    text = new_execution_id() if id is None else id
    _check_ids(text, node_id, parent_id)
    _check_status(status)
    if not isinstance(name, str):
        raise InvalidValueError("a span's name is text", reason="name")
    if start_ns is not None and type(start_ns) is not int:
        raise InvalidValueError("start_ns must be integer nanoseconds", reason="start_ns")
    begins_ns = now_ns if start_ns is None else start_ns
    if not window.earliest_ns <= begins_ns <= window.latest_ns:
        raise InvalidValueError(f"start {begins_ns} is outside what is accepted now", reason=OUT_OF_WINDOW)
    row = span_row(
        execution_id,
        text,
        resource=resource,
        now_ns=now_ns,
        name=name,
        node_id=node_id,
        parent_id=parent_id,
        start_ns=start_ns,
        status=status,
        error=error,
        metadata=metadata,
    )
    return text, NewSpan(row, parent_id, start_ns is not None)


def span_row(
    execution_id: str,
    text: str,
    *,
    resource: ResourceRow,
    now_ns: int,
    name: str,
    node_id: str | None,
    parent_id: str | None,
    start_ns: int | None,
    status: str,
    error: str | None,
    metadata: Mapping[str, Any] | None,
) -> SpanRow:
    """Return the row of a span whose id, node, status and times have been checked, without its parent."""
    begins_ns = now_ns if start_ns is None else start_ns
    attributes = _attributes(metadata)
    message = _message(error)
    return SpanRow(
        trace_id=execution_trace_id(execution_id),
        span_id=added_span_id(execution_id, text),
        start_ns=begins_ns,
        end_ns=max(now_ns, begins_ns) if status in FINAL else None,
        name=clean_text(name, NAME_CHARACTERS),
        resource_id=resource.resource_id,
        scope_id=SCOPE.scope_id,
        service=resource.service,
        kind=1,
        status=STATUSES[status],
        status_message=message,
        state=status,  # type: ignore[arg-type]  # checked before
        attributes=attributes.text,
        dropped_attributes_count=attributes.dropped,
        execution_id=execution_id,
        node_id=node_id,
        added_id=text,
        added_hash=hash16(
            name.encode(errors="surrogatepass"),
            (node_id or "").encode(),
            (parent_id or "").encode(),
            status.encode(),
            message.encode(),
            attributes.text.encode(),
        ),
    )


class SpanChange(Struct, frozen=True):
    """What `update_span` was given, checked."""

    now_ns: int
    end_ns: int | None
    status: str | None
    error: str | None
    attributes: str | None
    """JSON text of an object; None: no metadata was given."""
    times: int = 1
    """How many calls it stands for."""

    @property
    def is_empty(self) -> bool:
        return self.end_ns is None and self.status is None and self.error is None and self.attributes is None

    def apply(self, held: SpanRow) -> SpanRow:
        """Return the next version of a span."""
        end_ns = held.end_ns if self.end_ns is None else self.end_ns
        if end_ns is None and self.status in FINAL:
            end_ns = max(self.now_ns, held.start_ns)
        status = held.status if self.status is None else STATUSES[self.status]
        return replace(
            held,
            end_ns=end_ns,
            status=status,
            state=held.state if self.status is None else self.status,
            status_message=held.status_message if self.error is None else self.error,
            attributes=_merge(held.attributes, self.attributes),
            revision=held.revision + self.times,
        )


def new_change(
    *,
    now_ns: int,
    end_ns: int | None,
    status: str | None,
    error: str | None,
    metadata: Mapping[str, Any] | None,
) -> SpanChange:
    """Check what `update_span` was given.

    Raises:
        InvalidValueError: something is of the wrong type or can't be stored.

    """
    if status is not None:
        _check_status(status)
    if end_ns is not None and (type(end_ns) is not int or not -(2**63) <= end_ns < 2**63):
        raise InvalidValueError("end_ns must be integer nanoseconds", reason="end_ns")
    attributes = None if metadata is None else _attributes(metadata).text
    return SpanChange(now_ns, end_ns, status, None if error is None else _message(error), attributes)


def new_log(
    execution_id: str,
    message: str,
    *,
    resource: ResourceRow,
    now_ns: int,
    window: Window,
    level: str,
    node_id: str | None,
    id: str | None,  # noqa: A002 - the name in the API
    time_ns: int | None,
    metadata: Mapping[str, Any] | None,
) -> tuple[str, LogRow]:
    """Check what `add_log` was given and return the id and the row, without a span.

    Raises:
        InvalidValueError: something is of the wrong type or can't be stored; the time is out of the window.

    """
    check_execution_id(execution_id)
    text = new_execution_id() if id is None else id
    _check_ids(text, node_id, None)
    try:
        least_severity(level)
    except ValueError:
        raise InvalidValueError(f"{level!r} is no level", reason="level") from None
    if time_ns is not None and type(time_ns) is not int:
        raise InvalidValueError("time_ns must be integer nanoseconds", reason="time_ns")
    at_ns = now_ns if time_ns is None else time_ns
    if not window.earliest_ns <= at_ns <= window.latest_ns:
        raise InvalidValueError(f"time {at_ns} is outside what is accepted now", reason=OUT_OF_WINDOW)
    row = log_row(
        execution_id,
        text,
        message,
        resource=resource,
        now_ns=now_ns,
        level=level,
        node_id=node_id,
        time_ns=time_ns,
        metadata=metadata,
    )
    return text, row


def log_row(
    execution_id: str,
    text: str,
    message: str,
    *,
    resource: ResourceRow,
    now_ns: int,
    level: str,
    node_id: str | None,
    time_ns: int | None,
    metadata: Mapping[str, Any] | None,
) -> LogRow:
    """Return the row of a log record whose id, node, level and time have been checked, without a span."""
    attributes = _attributes(metadata)
    return LogRow(
        log_id=added_log_id(execution_id, text),
        trace_key=execution_trace_id(execution_id),
        time_ns=now_ns if time_ns is None else time_ns,
        resource_id=resource.resource_id,
        scope_id=SCOPE.scope_id,
        service=resource.service,
        observed_ns=now_ns,
        severity=least_severity(level),
        severity_text=level.upper(),
        body=encode_body(message),
        attributes=attributes.text,
        dropped_attributes_count=attributes.dropped,
        execution_id=execution_id,
        node_id=node_id,
        uid=text,
    )


def added_log_id(execution_id: str, text: str) -> bytes:
    """Return the id of a log record that is added by hand."""
    return hash16(b"added", execution_id.encode(), text.encode())


def _attributes(metadata: Mapping[str, Any] | None) -> Any:
    if metadata is None:
        return encode_attributes(())
    if not isinstance(metadata, Mapping):
        raise InvalidValueError("metadata must be a mapping", reason="metadata")
    return encode_attributes([(key if type(key) is str else str(key), value) for key, value in metadata.items()])


def _merge(held: str, given: str | None) -> str:
    """Return the JSON text of an object with `given`'s members in place of `held`'s, each value's text as it was."""
    if given is None or given == "{}":
        return held
    merged = {**_MEMBERS.decode(held), **_MEMBERS.decode(given)}
    return msgspec.json.encode(merged).decode()


def _message(error: str | None) -> str:
    return "" if error is None else clean_text(str(error))


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise InvalidValueError(f"{status!r} is no status of a span: {', '.join(STATUSES)}", reason="status")


def _check_ids(text: str, node_id: str | None, parent_id: str | None) -> None:
    for name, each in (("id", text), ("parent id", parent_id)):
        if each is not None:
            if not isinstance(each, str) or not each:
                raise InvalidValueError(f"the {name} must be text", reason="id")
            check_text(each, name)
    if node_id is not None:
        check_id(node_id, "node id")
