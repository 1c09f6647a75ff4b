"""Spans and logs as rows, a part at a time in the order of their keys, on their way from one store to another."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from spane_otel.archives import TelemetryArchive
from spane_otel.derivation import select_execution
from spane_otel.errors import InvalidValueError
from spane_otel.ids import execution_trace_id, span_id_from_bytes, span_id_from_hex, span_id_to_bytes, span_id_to_hex
from spane_otel.records import Batch, Span
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.links import read_links, read_owners
from spane_otel.stores.postgres.reading import read_log_row, read_resource_row, read_scope_row, read_span_row

Filters = dict[str, Any]
"""Parameters of `list_archived_spans` and `list_archived_logs`; None asks for nothing."""

_EVERYTHING: Final[tuple[Filters, Filters]] = ({}, {})


async def read_telemetry(
    session: Session, execution_id: str | None, limit: int, cursor: str | None
) -> TelemetryArchive:
    """Return some spans or, once there are no more, some logs; see `Archives.read_telemetry`."""
    signal, after = ("spans", {}) if cursor is None else _read_cursor(cursor)
    of_spans, of_logs = _EVERYTHING if execution_id is None else await _belonging_to(session, execution_id)
    if signal == "spans":
        rows = await session.fetch("list_archived_spans", **of_spans, **after, limit=limit + 1)
        if rows:
            spans = rows[:limit]
            go_on = _span_cursor(spans[-1]) if len(rows) > limit else _FIRST_LOG
            return TelemetryArchive(batch=await _batch(session, spans, ()), next=go_on)
        after = {}
    rows = await session.fetch("list_archived_logs", **of_logs, **after, limit=limit + 1)
    logs = rows[:limit]
    following = _log_cursor(logs[-1]) if len(rows) > limit else None
    return TelemetryArchive(batch=await _batch(session, (), logs), next=following)


async def _belonging_to(session: Session, execution_id: str) -> tuple[Filters, Filters]:
    """Return the filters for an execution's spans and for its logs (architecture.md, *Executions* and *Order*)."""
    trace_ids = (await read_links(session, [execution_id]))[execution_id]
    keys = list(dict.fromkeys((*trace_ids, UUID(execution_trace_id(execution_id)))))
    owners = await read_owners(session, keys)
    shared = [key for key in keys if len(owners[key]) > 1]
    of_spans: Filters = {"trace_ids": trace_ids}
    of_logs: Filters = {"trace_keys": keys}
    if shared:
        rows = await session.fetch("list_tree", trace_ids=shared)
        chosen = select_execution(_tree(rows), execution_id, frozenset(key.hex for key in shared))
        # Another execution's first span is shown as a leaf here, but what it logs is the other's.
        own = [span for span in chosen if span.execution_id in (None, execution_id)]
        of_spans |= {"shared_ids": shared, **_span_filter(chosen)}
        of_logs |= {"shared_keys": shared, "execution_id": execution_id, **_span_filter(own)}
    return of_spans, of_logs


def _tree(rows: Iterable[Record]) -> list[Span]:
    return [
        Span(
            trace_id=row["trace_id"].hex,
            span_id=span_id_to_hex(row["span_id"]),
            parent_span_id=None if row["parent_id"] is None else span_id_to_hex(row["parent_id"]),
            execution_id=row["execution_id"],
        )
        for row in rows
    ]


def _span_filter(spans: Sequence[Span]) -> Filters:
    return {
        "span_traces": [UUID(span.trace_id) for span in spans],
        "span_ids": [span_id_from_hex(span.span_id) for span in spans],
    }


async def _batch(session: Session, spans: Sequence[Record], logs: Sequence[Record]) -> Batch:
    """Return rows with the resources and scopes that they point to."""
    resource_ids = list({row["resource_id"] for row in (*spans, *logs)})
    scope_ids = list({row["scope_id"] for row in (*spans, *logs)})
    resources = [read_resource_row(row) for row in await session.fetch("list_resources", ids=resource_ids)]
    scopes = [read_scope_row(row) for row in await session.fetch("list_scopes", ids=scope_ids)]
    return Batch(
        spans=[read_span_row(row) for row in spans],
        logs=[read_log_row(row) for row in logs],
        resources={row.resource_id: row for row in resources},
        scopes={row.scope_id: row for row in scopes},
    )


_FIRST_LOG: Final = encode_cursor("logs", b"", b"", 0)


def _span_cursor(row: Record) -> str:
    return encode_cursor("spans", row["trace_id"].bytes, span_id_to_bytes(row["span_id"]), row["start_ns"])


def _log_cursor(row: Record) -> str:
    return encode_cursor("logs", row["trace_key"].bytes, row["log_id"].bytes, row["time_ns"])


def _read_cursor(cursor: str) -> tuple[str, Filters]:
    """Return which signal is read on, and after which key."""
    signal, key, row_id, time_ns = decode_cursor(cursor, str, bytes, bytes, int)
    match signal, len(key), len(row_id):
        case "logs", 0, 0:
            return "logs", {}
        case "logs", 16, 16:
            return "logs", {"after_key": UUID(key), "after_id": UUID(row_id), "after_ns": time_ns}
        case "spans", 16, 8:
            after = {"after_key": UUID(key), "after_id": span_id_from_bytes(row_id), "after_ns": time_ns}
            return "spans", after
        case _:
            raise InvalidValueError("the cursor is not one of ours", reason="cursor")
