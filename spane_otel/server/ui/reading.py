"""What a page of an execution or a trace shows, read from the store in one go."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from spane_otel.mapping import EXECUTION_PARENT_ID
from spane_otel.records import Counts, Execution, Log, LogPage, Span, Trace
from spane_otel.stores.protocols import Store
from spane_otel.traces.origin import Origin, find_origin, first_root, is_failed
from spane_otel.traces.rows import Rows, build_rows
from spane_otel.traces.tree import SpanKey, Tree, build_tree, missing_parents

LOGS_READ: Final = 1000
"""Logs read for marks, for the panel and for a page of the Logs tab."""
LONG_TRACE: Final = 1000
"""Spans from which on the work is measured in tens of milliseconds."""


class View(Struct):
    """A trace, or an execution's traces, ready to be shown."""

    trace: Trace
    tree: Tree
    timeline: Rows
    logs: LogPage
    origin: Origin | None
    now_ns: int
    execution: Execution | None = None
    counts: Counts = Counts()

    @property
    def root(self) -> Span | None:
        """The span that stands for all: the first without a parent."""
        index = first_root(self.tree)
        return None if index is None else self.tree.rows[index].span

    def find_row(self, key: str) -> int | None:
        """Return the index of the row with this key."""
        return next((index for index, row in enumerate(self.timeline.rows) if row.key == key), None)


async def read_execution(store: Store, execution_id: str, now_ns: int, *, cursor: str | None = None) -> View | None:
    """Return the view of an execution and of the executions inside it; None if there is none of this id."""
    execution = await store.get_execution(execution_id)
    if execution is None:
        return None
    trace = await store.get_trace(execution_id, include_children=True) or Trace(execution_id=execution_id)
    logs = await _read_execution_logs(store, execution, trace, cursor)
    counts = (await store.count_telemetry([execution_id])).get(execution_id, Counts())
    outside = await _find_outside(store, trace.spans)
    view = await _make_view(trace, logs, now_ns, execution_id=execution_id, outside=outside)
    view.execution = execution
    view.counts = counts
    return view


async def read_trace(store: Store, trace_id: str, now_ns: int, *, cursor: str | None = None) -> View | None:
    """Return the view of a trace; None if there is none of this id."""
    trace = await store.get_trace_by_id(trace_id)
    if trace is None or not trace.spans:
        return None
    logs = await store.list_logs(trace_id=trace_id, limit=LOGS_READ, cursor=cursor)
    view = await _make_view(trace, logs, now_ns)
    errors = sum(is_failed(span) for span in trace.spans)
    warnings = sum(log.level == "warn" for log in logs)
    view.counts = Counts(spans=len(trace.spans), errors=errors, logs=len(logs), warnings=warnings)
    return view


async def _make_view(
    trace: Trace,
    logs: LogPage,
    now_ns: int,
    *,
    execution_id: str | None = None,
    outside: frozenset[SpanKey] = frozenset(),
) -> View:
    """Return what `make_view` does; a long trace is worked out in a thread, so that requests beside it are answered."""
    make = partial(make_view, trace, logs, now_ns, execution_id=execution_id, outside=outside)
    return make() if len(trace.spans) <= LONG_TRACE else await asyncio.to_thread(make)


def make_view(
    trace: Trace,
    logs: LogPage,
    now_ns: int,
    *,
    execution_id: str | None = None,
    outside: frozenset[SpanKey] = frozenset(),
) -> View:
    """Return the view of what was read."""
    tree = build_tree(trace.spans, outside=outside)
    origin = find_origin(tree)
    timeline = build_rows(trace, tree, now_ns=now_ns, origin=origin, logs=logs, execution_id=execution_id)
    return View(trace=trace, tree=tree, timeline=timeline, logs=logs, origin=origin, now_ns=now_ns)


async def _read_execution_logs(store: Store, execution: Execution, trace: Trace, cursor: str | None) -> LogPage:
    """Return the execution's logs; where it holds other executions, those of its traces, which theirs are among."""
    inner = {span.execution_id for span in trace.spans} - {execution.execution_id, None}
    if inner and len(execution.trace_ids) == 1:
        page = await store.list_logs(trace_id=execution.trace_ids[0], limit=LOGS_READ, cursor=cursor)
        mine = {(span.trace_id, span.span_id) for span in trace.spans}
        items = [log for log in page if log.execution_id in inner or _belongs(log, execution, mine)]
        return LogPage(items, page.next, page.resources, page.scopes)
    return await store.get_logs(execution.execution_id, limit=LOGS_READ, cursor=cursor)


def _belongs(log: Log, execution: Execution, spans: set[SpanKey]) -> bool:
    if log.execution_id is not None:
        return log.execution_id == execution.execution_id
    return log.trace_id is not None and log.span_id is not None and (log.trace_id, log.span_id) in spans


async def _find_outside(store: Store, spans: Sequence[Span]) -> frozenset[SpanKey]:
    """Return the missing parents that exist outside this execution, so that only lost ones are called not received."""
    missing = missing_parents(spans)
    known = {
        (span.trace_id, span.parent_span_id)
        for span in spans
        if span.parent_span_id is not None and f'"{EXECUTION_PARENT_ID}"' in span.attributes.text
    }
    unclear = missing - known
    for trace_id in sorted({trace_id for trace_id, _ in unclear}):
        whole = await store.get_trace_by_id(trace_id)
        if whole is not None:
            known |= {(span.trace_id, span.span_id) for span in whole.spans}
    return frozenset(missing & known)
