"""The numbers of executions, counted a page at a time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from asyncpg import Record
from asyncpg.pgproto.pgproto import UUID

from spane_otel.ids import execution_trace_id
from spane_otel.records import TRACE_SPAN_LIMIT, Counts
from spane_otel.stores.admission import is_storable
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.links import read_links, read_owners


async def count_telemetry(session: Session, execution_ids: Sequence[str]) -> dict[str, Counts]:
    """Count for each known execution; see `ExecutionStore.count_telemetry`."""
    wanted = [execution_id for execution_id in dict.fromkeys(execution_ids) if is_storable(execution_id)]
    rows = await session.fetch("list_known_executions", execution_ids=wanted)
    known = {row["execution_id"]: row for row in rows}
    nodes_done: defaultdict[str, set[str]] = defaultdict(set)
    for row in await session.fetch("list_done_nodes", execution_ids=list(known)):
        nodes_done[row["execution_id"]].add(row["node_id"])
    links = await read_links(session, list(known))
    keys_of = {
        each: list(dict.fromkeys((*links[each], UUID(execution_trace_id(each))))) for each in wanted if each in known
    }
    keys = list(dict.fromkeys(key for keys in keys_of.values() for key in keys))
    owners = await read_owners(session, keys)
    shared = {key for key in keys if len(owners[key]) > 1}
    spans = _by_trace(await session.fetch("count_spans", trace_ids=keys, limit=TRACE_SPAN_LIMIT + 1))
    logs = _by_trace(await session.fetch("count_logs", trace_ids=keys, limit=TRACE_SPAN_LIMIT + 1))
    return {
        each: _add_up(
            [[row for row in spans[key] if key not in shared or row["execution_id"] == each] for key in keys],
            [[row for row in logs[key] if key not in shared or row["execution_id"] == each] for key in keys],
            known[each],
            nodes_done[each],
            is_truncated=any(
                sum(row["spans"] for row in spans[key]) > TRACE_SPAN_LIMIT
                or sum(row["logs"] for row in logs[key]) > TRACE_SPAN_LIMIT
                for key in keys
            ),
        )
        for each, keys in keys_of.items()
    }


def _by_trace(rows: Iterable[Record]) -> dict[UUID, list[Record]]:
    by_trace: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        by_trace[row["trace_id"]].append(row)
    return by_trace


def _add_up(
    spans: Sequence[list[Record]],
    logs: Sequence[list[Record]],
    execution: Record,
    nodes_done: set[str],
    *,
    is_truncated: bool,
) -> Counts:
    """Return the sum over an execution's traces, each given as a list of groups.

    A trace counts at most TRACE_SPAN_LIMIT; one row more was counted, to know that there are more. `nodes_done` are
    those whose results say so; those whose spans say so come on top, unless results alone count.
    """
    groups = [row for trace in spans for row in trace]
    is_open: defaultdict[str, int] = defaultdict(int)
    for row in groups:
        if row["node_id"] is not None:
            is_open[row["node_id"]] += row["open"]
    done = nodes_done | {node_id for node_id, open_spans in is_open.items() if open_spans == 0}
    if execution["nodes_total"] is not None and execution["node_ids"] is not None:
        done &= set(execution["node_ids"])
    return Counts(
        spans=sum(min(sum(row["spans"] for row in trace), TRACE_SPAN_LIMIT) for trace in spans),
        errors=sum(row["errors"] for row in groups),
        logs=sum(min(sum(row["logs"] for row in trace), TRACE_SPAN_LIMIT) for trace in logs),
        warnings=sum(row["warnings"] for trace in logs for row in trace),
        nodes_done=len(done) if execution["nodes_done"] is None else execution["nodes_done"],
        nodes_total=execution["nodes_total"],
        truncated=is_truncated,
    )
