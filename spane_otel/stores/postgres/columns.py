"""From rows to the arrays that a statement unnests: one for each column.

This is where a span costs the traced process its time, so each column is one comprehension. A column that holds
nothing but its default is sent as an empty array, which unnest fills with nulls and the statement with the default.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncpg.pgproto.pgproto import UUID

from spane_otel.derivation import DerivedExecution, ExecutionTraceRow
from spane_otel.records import Change, LogRow, ResourceRow, ScopeRow, SpanRow

Columns = dict[str, Sequence[Any]]
NOTHING: Final[Sequence[Any]] = ()


class Uuids(dict[bytes, UUID]):
    """UUIDs by their bytes, each made once: a batch repeats its traces, resources and scopes."""

    def __missing__(self, key: bytes) -> UUID:
        value = self[key] = UUID(key)
        return value


def span_columns(rows: Sequence[SpanRow]) -> Columns:
    """Return the arrays of `upsert_spans`."""
    uuids = Uuids()
    return {
        "trace_id": [uuids[row.trace_id] for row in rows],
        "span_id": [row.span_id for row in rows],
        "start_ns": [row.start_ns for row in rows],
        "end_ns": [row.end_ns for row in rows],
        "parent_id": [row.parent_id for row in rows],
        "resource_id": [uuids[row.resource_id] for row in rows],
        "scope_id": [uuids[row.scope_id] for row in rows],
        "flags": given([row.flags for row in rows]),
        "revision": given([row.revision for row in rows]),
        "seq": given([row.seq for row in rows]),
        "kind": given([row.kind for row in rows]),
        "status": given([row.status for row in rows]),
        "dropped_attributes_count": given([row.dropped_attributes_count for row in rows]),
        "dropped_events_count": given([row.dropped_events_count for row in rows]),
        "dropped_links_count": given([row.dropped_links_count for row in rows]),
        "name": [row.name for row in rows],
        "service": [row.service for row in rows],
        "status_message": given([row.status_message for row in rows]),
        "state": given([row.state for row in rows]),
        "trace_state": given([row.trace_state for row in rows]),
        "execution_id": given([row.execution_id for row in rows]),
        "node_id": given([row.node_id for row in rows]),
        "process_id": given([row.process_id for row in rows]),
        "added_id": given([row.added_id for row in rows]),
        "attributes": [row.attributes for row in rows],
        "events": given([row.events for row in rows]),
        "links": given([row.links for row in rows]),
        "added_hash": given([None if row.added_hash is None else UUID(row.added_hash) for row in rows]),
    }


def log_columns(rows: Sequence[LogRow]) -> Columns:
    """Return the arrays of `insert_logs`."""
    uuids = Uuids()
    return {
        "trace_key": [uuids[row.trace_key] for row in rows],
        "log_id": [UUID(row.log_id) for row in rows],
        "time_ns": [row.time_ns for row in rows],
        "observed_ns": given([row.observed_ns for row in rows]),
        "trace_id": given([None if row.trace_id is None else uuids[row.trace_id] for row in rows]),
        "span_id": given([row.span_id for row in rows]),
        "resource_id": [uuids[row.resource_id] for row in rows],
        "scope_id": [uuids[row.scope_id] for row in rows],
        "flags": given([row.flags for row in rows]),
        "dropped_attributes_count": given([row.dropped_attributes_count for row in rows]),
        "seq": given([row.seq for row in rows]),
        "severity": given([row.severity for row in rows]),
        "time_source": given([row.time_source for row in rows]),
        "severity_text": given([row.severity_text for row in rows]),
        "event_name": given([row.event_name for row in rows]),
        "service": [row.service for row in rows],
        "execution_id": given([row.execution_id for row in rows]),
        "node_id": given([row.node_id for row in rows]),
        "process_id": given([row.process_id for row in rows]),
        "uid": given([row.uid for row in rows]),
        "body": [row.body for row in rows],
        "attributes": [row.attributes for row in rows],
    }


def added_span_columns(rows: Sequence[SpanRow]) -> Columns:
    """Return the arrays of `add_spans` that rows hold."""
    uuids = Uuids()
    return {
        "execution_id": [row.execution_id for row in rows],
        "trace_id": [uuids[row.trace_id] for row in rows],
        "span_id": [row.span_id for row in rows],
        "start_ns": [row.start_ns for row in rows],
        "end_ns": given([row.end_ns for row in rows]),
        "parent_id": given([row.parent_id for row in rows]),
        "seq": given([row.seq for row in rows]),
        "status": given([row.status for row in rows]),
        "dropped_attributes_count": given([row.dropped_attributes_count for row in rows]),
        "name": [row.name for row in rows],
        "status_message": given([row.status_message for row in rows]),
        "state": [row.state for row in rows],
        "node_id": given([row.node_id for row in rows]),
        "added_id": [row.added_id for row in rows],
        "attributes": [row.attributes for row in rows],
        "added_hash": [None if row.added_hash is None else UUID(row.added_hash) for row in rows],
    }


def changed_span_columns(rows: Sequence[SpanRow]) -> Columns:
    """Return the arrays of `update_spans`: of each span its next version."""
    uuids = Uuids()
    return {
        "execution_id": [row.execution_id for row in rows],
        "trace_id": [uuids[row.trace_id] for row in rows],
        "span_id": [row.span_id for row in rows],
        "start_ns": [row.start_ns for row in rows],
        "revision": [row.revision for row in rows],
        "end_ns": [row.end_ns for row in rows],  # 0 is a time
        "status": given([row.status for row in rows]),
        "status_message": given([row.status_message for row in rows]),
        "state": [row.state for row in rows],
        "attributes": [row.attributes for row in rows],
    }


def added_log_columns(rows: Sequence[LogRow]) -> Columns:
    """Return the arrays of `add_logs` that rows hold."""
    uuids = Uuids()
    return {
        "execution_id": [row.execution_id for row in rows],
        "log_id": [UUID(row.log_id) for row in rows],
        "trace_key": [uuids[row.trace_key] for row in rows],
        "trace_id": given([None if row.trace_id is None else uuids[row.trace_id] for row in rows]),
        "span_id": given([row.span_id for row in rows]),
        "time_ns": [row.time_ns for row in rows],
        "observed_ns": [row.observed_ns for row in rows],
        "seq": given([row.seq for row in rows]),
        "severity": [row.severity for row in rows],
        "dropped_attributes_count": given([row.dropped_attributes_count for row in rows]),
        "severity_text": [row.severity_text for row in rows],
        "node_id": given([row.node_id for row in rows]),
        "uid": [row.uid for row in rows],
        "body": [row.body for row in rows],
        "attributes": [row.attributes for row in rows],
    }


def resource_columns(rows: Sequence[ResourceRow]) -> Columns:
    """Return the arrays of `insert_resources`."""
    return {
        "resource_id": [UUID(row.resource_id) for row in rows],
        "attributes": [row.attributes for row in rows],
        "schema_url": [row.schema_url for row in rows],
        "dropped_attributes_count": [row.dropped_attributes_count for row in rows],
        "service": [row.service for row in rows],
    }


def scope_columns(rows: Sequence[ScopeRow]) -> Columns:
    """Return the arrays of `insert_scopes`."""
    return {
        "scope_id": [UUID(row.scope_id) for row in rows],
        "name": [row.name for row in rows],
        "version": [row.version for row in rows],
        "attributes": [row.attributes for row in rows],
        "schema_url": [row.schema_url for row in rows],
        "dropped_attributes_count": [row.dropped_attributes_count for row in rows],
    }


def execution_trace_columns(rows: Sequence[ExecutionTraceRow]) -> Columns:
    """Return the arrays of `upsert_execution_traces`."""
    return {
        "execution_id": [row.execution_id for row in rows],
        "trace_id": [UUID(row.trace_id) for row in rows],
        "root_span_id": [row.root_span_id for row in rows],
        "root_start_ns": [row.root_start_ns for row in rows],
        "start_ns": [row.start_ns for row in rows],
        "end_ns": [row.end_ns for row in rows],
        "revision": [row.revision for row in rows],
        "workflow_version": [row.stamp.workflow_version for row in rows],
        "depth": [row.stamp.depth for row in rows],
        "state": [row.state for row in rows],
        "process_id": [row.process_id for row in rows],
        "error": [row.error for row in rows],
        "workflow_id": [row.stamp.workflow_id for row in rows],
        "version_label": [row.stamp.version_label for row in rows],
        "external_id": [row.stamp.external_id for row in rows],
        "parent_execution_id": [row.stamp.parent_execution_id for row in rows],
        "root_execution_id": [row.stamp.root_execution_id for row in rows],
        "input": [row.stamp.input for row in rows],
        "output": [row.stamp.output for row in rows],
    }


def derived_columns(rows: Sequence[DerivedExecution]) -> Columns:
    """Return the arrays of `update_derived_executions`."""
    return {
        "execution_id": [row.execution_id for row in rows],
        "status": [row.status for row in rows],
        "started_ns": [row.started_ns for row in rows],
        "ended_ns": [row.ended_ns for row in rows],
        "workflow_id": [row.stamp.workflow_id for row in rows],
        "workflow_version": [row.stamp.workflow_version for row in rows],
        "version_label": [row.stamp.version_label for row in rows],
        "external_id": [row.stamp.external_id for row in rows],
        "parent_execution_id": [row.parent_execution_id for row in rows],
        "root_execution_id": [row.root_execution_id for row in rows],
        "depth": [row.depth for row in rows],
        "process_id": [row.process_id for row in rows],
        "error": [row.error for row in rows],
        "initial_data": [row.stamp.input for row in rows],
        "result": [row.stamp.output for row in rows],
    }


def change_columns(changes: Iterable[Change]) -> Columns:
    """Return the arrays of `insert_changes`."""
    rows = list(changes)
    return {
        "kind": [row.kind for row in rows],
        "execution_id": [row.execution_id for row in rows],
        "trace_id": [None if row.trace_id is None else UUID(row.trace_id) for row in rows],
    }


def given(column: list[Any]) -> Sequence[Any]:
    """Return `column`, nothing if it holds only defaults (0, the empty text, None)."""
    return column if any(column) else NOTHING
