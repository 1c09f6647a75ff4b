"""Logs: of an execution, of a trace, of a time."""

import json
from typing import Any, Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from spane_otel.derivation import select_execution
from spane_otel.errors import InvalidValueError
from spane_otel.ids import execution_trace_id, span_id_from_hex, trace_id_from_hex
from spane_otel.records import TRACE_SPAN_LIMIT, LogPage, least_severity
from spane_otel.stores.admission import check_limit, is_storable
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.bounds import bounded_ns
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.links import read_links, read_owners
from spane_otel.stores.postgres.reading import Reading

SCAN_LIMIT: Final = 50_000
"""At most so many logs are looked through for a text; then the page is cut short, and its cursor goes on."""
_SCAN_PAGE: Final = 2_000

Filters = dict[str, Any]
"""Parameters of the statement `list_logs`; None asks for nothing."""


class Logs:
    """The logs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(
        self,
        execution_id: str,
        level: str | None,
        node_id: str | None,
        text: str | None,
        limit: int,
        cursor: str | None,
    ) -> LogPage:
        """Return the logs of an execution; see `LogReader.get_logs`."""
        check_limit(limit)
        filters = {"least_severity": _severity_of(level), "node_id": node_id, **_after(cursor)}
        if not is_storable(execution_id) or not is_storable(node_id or ""):
            return LogPage([])

        async def read(session: Session) -> LogPage:
            if not await session.fetch("list_known_executions", execution_ids=[execution_id]):
                return LogPage([])
            whose = await _belonging_to(session, execution_id)
            return await _page(session, {**whose, **filters}, text, limit)

        return await self._database.run("read", read)

    async def list(
        self,
        trace_id: str | None,
        span_id: str | None,
        level: str | None,
        text: str | None,
        since: int | None,
        until: int | None,
        limit: int,
        cursor: str | None,
    ) -> LogPage:
        """Return logs of a trace, a span, or all; see `LogReader.list_logs`."""
        check_limit(limit)
        trace = None if trace_id is None else trace_id_from_hex(trace_id)
        span = None if span_id is None else span_id_from_hex(span_id)
        filters = {
            "trace_keys": None if trace is None else [UUID(trace)],
            "span_id": span,
            "least_severity": _severity_of(level),
            "since": bounded_ns(since),
            "until": bounded_ns(until),
            **_after(cursor),
        }
        if (trace is None) is not (trace_id is None) or (span is None) is not (span_id is None):
            return LogPage([])  # what is no id has no logs

        async def read(session: Session) -> LogPage:
            return await _page(session, filters, text, limit)

        return await self._database.run("read", read)


async def _belonging_to(session: Session, execution_id: str) -> Filters:
    """Return the filter for an execution's logs (architecture.md, *Order*)."""
    links = await read_links(session, [execution_id])
    keys = list(dict.fromkeys((*links[execution_id], UUID(execution_trace_id(execution_id)))))
    owners = await read_owners(session, keys)
    shared = [key for key in keys if len(owners[key]) > 1]
    filters: Filters = {"trace_keys": keys}
    if shared:
        rows = await session.fetch("list_spans", trace_ids=shared, limit=TRACE_SPAN_LIMIT)
        spans = (await Reading.of(session, rows)).spans(rows)
        chosen = select_execution(spans, execution_id, frozenset(key.hex for key in shared))
        # Another execution's first span is shown as a leaf here, but what it logs is the other's.
        own = [span for span in chosen if span.execution_id in (None, execution_id)]
        filters |= {
            "shared_keys": shared,
            "execution_id": execution_id,
            "span_traces": [UUID(span.trace_id) for span in own],
            "span_ids": [span_id_from_hex(span.span_id) for span in own],
        }
    return filters


async def _page(session: Session, filters: Filters, text: str | None, limit: int) -> LogPage:
    if text is None:
        rows = await session.fetch("list_logs", **filters, limit=limit + 1)
        has_more = len(rows) > limit
        rows = rows[:limit]
        last = rows[-1] if has_more else None
    else:
        rows, last = await _search(session, filters, text, limit)
    reading = await Reading.of(session, rows)
    return LogPage(reading.logs(rows), None if last is None else _cursor_of(last), reading.resources, reading.scopes)


async def _search(session: Session, filters: Filters, text: str, limit: int) -> tuple[list[Record], Record | None]:
    """Return the logs whose message holds `text`, and the row after which to go on, if there may be more.

    Letters are compared here, as every store does: how a database folds them depends on its locale.
    """
    sought = text.lower()
    found: list[Record] = []
    scanned = 0
    while True:
        rows = await session.fetch("list_logs", **filters, limit=_SCAN_PAGE)
        for row in rows:
            if sought in _message_of(row["body"]).lower():
                if len(found) == limit:
                    return found, found[-1]
                found.append(row)
        scanned += len(rows)
        if len(rows) < _SCAN_PAGE:
            return found, None
        if scanned >= SCAN_LIMIT:
            return found, rows[-1]
        filters = {**filters, **_after_row(rows[-1])}


def _message_of(body: str) -> str:
    return str(json.loads(body)) if body.startswith('"') else body


def _severity_of(level: str | None) -> int | None:
    if level is None:
        return None
    try:
        return least_severity(level)
    except ValueError:
        raise InvalidValueError(f"{level!r} is no level", reason="level") from None


def _cursor_of(row: Record) -> str:
    return encode_cursor(row["time_ns"], row["seq"], row["log_id"].bytes, row["trace_key"].bytes)


def _after_row(row: Record) -> Filters:
    return {
        "after_ns": row["time_ns"],
        "after_seq": row["seq"],
        "after_id": row["log_id"],
        "after_key": row["trace_key"],
    }


def _after(cursor: str | None) -> Filters:
    if cursor is None:
        return {}
    time_ns, seq, log_id, trace_key = decode_cursor(cursor, int, int, bytes, bytes)
    if len(log_id) != 16 or len(trace_key) != 16 or not 0 <= seq < 2**31:
        raise InvalidValueError("the cursor is not one of ours", reason="cursor")
    return {"after_ns": time_ns, "after_seq": seq, "after_id": UUID(log_id), "after_key": UUID(trace_key)}
