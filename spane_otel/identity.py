"""Identities made from content: resources, scopes and logs (architecture.md, *Order* and *Load path*)."""

from spane_otel.ids import execution_trace_id, hash16
from spane_otel.records import LogRow, ResourceRow, ScopeRow

UNKNOWN_SERVICE = "unknown_service"


def resource_row(
    attributes: str = "{}", schema_url: str = "", dropped_attributes_count: int = 0, service: str = UNKNOWN_SERVICE
) -> ResourceRow:
    """Return the row of a resource, its id a hash of its content. `attributes` is JSON text without our process id."""
    dropped = str(dropped_attributes_count).encode()
    return ResourceRow(
        resource_id=hash16(b"resource", attributes.encode(), schema_url.encode(), dropped),
        attributes=attributes,
        schema_url=schema_url,
        dropped_attributes_count=dropped_attributes_count,
        service=service,
    )


def scope_row(
    name: str = "", version: str = "", attributes: str = "{}", schema_url: str = "", dropped_attributes_count: int = 0
) -> ScopeRow:
    """Return the row of an instrumentation scope, its id a hash of its content."""
    dropped = str(dropped_attributes_count).encode()
    return ScopeRow(
        scope_id=hash16(b"scope", name.encode(), version.encode(), attributes.encode(), schema_url.encode(), dropped),
        name=name,
        version=version,
        attributes=attributes,
        schema_url=schema_url,
        dropped_attributes_count=dropped_attributes_count,
    )


def uid_log_id(uid: str) -> bytes:
    """Return the log id of a record that carries `log.record.uid`: a hash of it."""
    return hash16(b"uid", uid.encode())


def content_log_id(record: LogRow, ordinal: int) -> bytes:
    """Return the log id of a record without a uid: a hash of all that it, its scope and its resource carry.

    `ordinal` is its place among equal records of its request (0 for the first), so that a redelivery is the same
    record and two equal lines of one request are two.
    """
    numbers = (
        record.time_ns if record.time_source == 0 else 0,
        record.observed_ns,
        record.severity,
        record.dropped_attributes_count,
        record.flags,
        record.span_id,
        ordinal,
    )
    return hash16(
        b"content",
        record.resource_id,
        record.scope_id,
        record.severity_text.encode(),
        record.body.encode(),
        record.attributes.encode(),
        record.event_name.encode(),
        record.trace_id or b"",
        repr(numbers).encode(),
    )


def log_trace_key(trace_id: bytes | None, execution_id: str | None, log_id: bytes) -> bytes:
    """Return what places a log beside its trace: the trace id, else a hash of the execution id, else the log id."""
    if trace_id is not None:
        return trace_id
    return execution_trace_id(execution_id) if execution_id is not None else log_id
