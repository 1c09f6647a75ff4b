"""Traces: of an execution, by their id, and in a list by their roots."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID
from msgspec import Struct
from msgspec.structs import replace

from spane_otel.derivation import select_execution
from spane_otel.errors import InvalidValueError
from spane_otel.ids import trace_id_from_hex
from spane_otel.records import TRACE_SPAN_LIMIT, Page, Span, Trace, TraceSummary
from spane_otel.stores.admission import check_limit, is_storable
from spane_otel.stores.cursors import decode_cursor, encode_cursor
from spane_otel.stores.postgres.bounds import bounded_ns
from spane_otel.stores.postgres.database import Database, Session
from spane_otel.stores.postgres.group import Group
from spane_otel.stores.postgres.links import read_descendants, read_links, read_owners
from spane_otel.stores.postgres.processes import read_processes
from spane_otel.stores.postgres.reading import Reading, read_origins, read_summary

_AT_ONCE: Final = 64
"""So many executions are read in one statement at most."""


class _Asked(Struct):
    """One call of `get_trace`."""

    execution_id: str


class Traces:
    """The traces of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Whoever asks at the same time shares a statement; nobody waits for anybody's own.
        self._group: Group[_Asked, Trace | None] = Group(self._read, family=id, key=id)

    async def get(self, execution_id: str, *, include_children: bool) -> Trace | None:
        """Return the spans of an execution; see `TraceReader.get_trace`."""
        if not is_storable(execution_id):
            return None
        if not include_children:
            return await self._group.run(_Asked(execution_id))
        return await self._database.run("read", lambda session: _read_family(session, execution_id, with_children=True))

    async def _read(self, asked: Sequence[_Asked]) -> list[Trace | None]:
        """Return the traces of executions that are asked for at the same time, to each caller one of its own."""
        execution_ids = list(dict.fromkeys(each.execution_id for each in asked))
        traces: dict[str, Trace | None] = {}
        for start in range(0, len(execution_ids), _AT_ONCE):
            traces |= await self._read_part(execution_ids[start : start + _AT_ONCE])
        given: set[str] = set()
        answers: list[Trace | None] = []
        for each in asked:
            trace = traces[each.execution_id]
            answers.append(_copy(trace) if each.execution_id in given else trace)
            given.add(each.execution_id)
        return answers

    async def _read_part(self, execution_ids: Sequence[str]) -> dict[str, Trace | None]:
        async def read(session: Session) -> dict[str, Trace | None]:
            return await _read_executions(session, execution_ids)

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


async def _read_executions(session: Session, execution_ids: Sequence[str]) -> dict[str, Trace | None]:
    """Return the spans of each execution, of all in one statement; None for one that there is not."""
    rows = await session.fetch("list_execution_spans", execution_ids=execution_ids, limit=TRACE_SPAN_LIMIT + 1)
    by_execution: list[list[Record]] = [[] for _ in execution_ids]
    for row in rows:
        by_execution[row["n"] - 1].append(row)
    await read_origins(session, rows)
    processes = await read_processes(session, [row["process_id"] for row in rows])
    traces: dict[str, Trace | None] = {}
    for execution_id, own in zip(execution_ids, by_execution, strict=True):
        if any(row["is_shared"] for row in _links(own)):
            traces[execution_id] = await _read_family(session, execution_id, with_children=False)
        else:
            traces[execution_id] = _trace(Reading(session, processes), execution_id, own) if own else None
    return traces


def _copy(trace: Trace | None) -> Trace | None:
    if trace is None:
        return None
    return replace(trace, spans=list(trace.spans), resources=list(trace.resources), scopes=list(trace.scopes))


def _links(rows: list[Record]) -> list[Record]:
    """Return rows of an execution among which is one of each of its traces: of a single trace one row is enough."""
    match rows[0]["traces"] if rows else None:
        case None:
            return []
        case 1:
            return rows[:1]
        case _:
            return rows


def _trace(reading: Reading, execution_id: str, rows: list[Record]) -> Trace:
    """Return the trace of an execution from its rows: one for each span, and for each trace without one."""
    links = {row["trace_id"]: row["linked_ns"] for row in _links(rows)}
    spans = rows if rows[0]["span_id"] is not None else rows[1:]
    if len(links) > 1:
        spans = sorted((row for row in rows if row["span_id"] is not None), key=_span_order)
    shown = spans[:TRACE_SPAN_LIMIT]
    return Trace(
        spans=reading.spans(shown),
        resources=reading.resources,
        scopes=reading.scopes,
        truncated=len(spans) > len(shown),
        execution_id=execution_id,
        trace_ids=tuple(each.hex for each in sorted(links, key=lambda each: (links[each], each.bytes))),
    )


async def _read_family(session: Session, execution_id: str, *, with_children: bool) -> Trace | None:
    """Return the spans of an execution, and of its descendants, whoever else has a part in their traces."""
    if not await session.fetch("list_known_executions", execution_ids=[execution_id]):
        return None
    family = await read_descendants(session, execution_id) if with_children else [execution_id]
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


def _span_order(row: Record) -> tuple[int, int, int, bytes]:
    return row["start_ns"], row["seq"], row["span_id"], row["trace_id"].bytes


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
