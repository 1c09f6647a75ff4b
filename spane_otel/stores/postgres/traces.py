"""Traces: of an execution, by their id, and in a list by their roots."""

from collections import defaultdict
from collections.abc import Sequence

from asyncpg.pgproto.pgproto import UUID

from spane_otel.derivation import select_execution
from spane_otel.errors import InvalidValueError
from spane_otel.ids import trace_id_from_hex
from spane_otel.records import TRACE_SPAN_LIMIT, Page, Span, Trace, TraceSummary
from spane_otel.stores.admission import check_limit, is_storable
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.bounds import bounded_ns
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.links import read_descendants, read_links, read_owners
from spane_otel.stores.postgres.processes import read_processes
from spane_otel.stores.postgres.reading import Reading, read_summary


class Traces:
    """The traces of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, execution_id: str, *, include_children: bool) -> Trace | None:
        """Return the spans of an execution; see `TraceReader.get_trace`."""
        if not is_storable(execution_id):
            return None

        async def read(session: Session) -> Trace | None:
            if not await session.fetch("list_known_executions", execution_ids=[execution_id]):
                return None
            family = await read_descendants(session, execution_id) if include_children else [execution_id]
            links = await read_links(session, family)
            trace_ids = list(dict.fromkeys(trace_id for each in family for trace_id in links[each]))
            owners = await read_owners(session, trace_ids)
            shared = frozenset(trace_id.hex for trace_id in trace_ids if len(owners[trace_id]) > 1)
            own_traces = {each: frozenset(trace_id.hex for trace_id in links[each]) for each in family}
            rows = await session.fetch("list_spans", trace_ids=trace_ids, limit=TRACE_SPAN_LIMIT + 1)
            is_truncated = len(rows) > TRACE_SPAN_LIMIT
            rows = rows[:TRACE_SPAN_LIMIT]
            if shared:
                spans = (await Reading.of(session, rows)).spans(rows)
                chosen = _select(spans, own_traces, shared)
                rows = [row for row, span in zip(rows, spans, strict=True) if id(span) in chosen]
            reading = await Reading.of(session, rows)
            return Trace(
                spans=reading.spans(rows),
                resources=reading.resources,
                scopes=reading.scopes,
                truncated=is_truncated,
                execution_id=execution_id,
                trace_ids=tuple(trace_id.hex for trace_id in trace_ids),
            )

        return await self._database.run("read", read)

    async def get_by_id(self, trace_id: str) -> Trace | None:
        """Return the spans of a trace; see `TraceReader.get_trace_by_id`."""
        key = trace_id_from_hex(trace_id)
        if key is None:
            return None

        async def read(session: Session) -> Trace | None:
            rows = await session.fetch("list_spans", trace_ids=[UUID(key)], limit=TRACE_SPAN_LIMIT + 1)
            if not rows:
                return None
            shown = rows[:TRACE_SPAN_LIMIT]
            reading = await Reading.of(session, shown)
            return Trace(
                spans=reading.spans(shown),
                resources=reading.resources,
                scopes=reading.scopes,
                truncated=len(rows) > len(shown),
                trace_id=key.hex(),
            )

        return await self._database.run("read", read)

    async def list(
        self,
        service: str | None,
        name: str | None,
        since: int | None,
        until: int | None,
        limit: int,
        cursor: str | None,
    ) -> Page[TraceSummary]:
        """List traces; see `TraceReader.list_traces`."""
        check_limit(limit)
        before_ns, before_id = (None, b"") if cursor is None else decode_cursor(cursor, int, bytes)
        if before_ns is not None and len(before_id) != 16:
            raise InvalidValueError("the cursor is not one of ours", reason="cursor")
        if not is_storable(service or "") or not is_storable(name or ""):
            return Page([])

        async def read(session: Session) -> Page[TraceSummary]:
            rows = await session.fetch(
                "list_roots",
                service=service,
                name=name,
                since=bounded_ns(since),
                until=bounded_ns(until),
                before_ns=before_ns,
                before_id=UUID(before_id) if before_id else None,
                limit=limit + 1,
            )
            shown = rows[:limit]
            trace_ids = [row["trace_id"] for row in shown]
            owners = await read_owners(session, trace_ids)
            counts = await _count(session, trace_ids)
            processes = await read_processes(session, (row["process_id"] for row in shown))
            items = [
                read_summary(
                    row,
                    processes.get(row["process_id"]),
                    owners[row["trace_id"]],
                    counts[row["trace_id"]],
                    TRACE_SPAN_LIMIT,
                )
                for row in shown
            ]
            last = shown[-1] if len(rows) > limit else None
            return Page(items, None if last is None else encode_cursor(last["start_ns"], last["trace_id"].bytes))

        return await self._database.run("read", read)


def _select(spans: Sequence[Span], own_traces: dict[str, frozenset[str]], shared: frozenset[str]) -> set[int]:
    """Return the `id()` of the spans that belong to one of some executions, each given with its traces."""
    chosen: set[int] = set()
    for execution_id, traces in own_traces.items():
        own = [span for span in spans if span.trace_id in traces]
        chosen.update(id(span) for span in select_execution(own, execution_id, shared))
    return chosen


async def _count(session: Session, trace_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    """Return how many spans and errors each trace has, counting one span more than the limit."""
    counts: defaultdict[UUID, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in await session.fetch("count_spans", trace_ids=trace_ids, limit=TRACE_SPAN_LIMIT + 1):
        spans, errors = counts[row["trace_id"]]
        counts[row["trace_id"]] = spans + row["spans"], errors + row["errors"]
    return counts
