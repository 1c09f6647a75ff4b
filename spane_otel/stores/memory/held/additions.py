"""Spans and logs that were written by hand, by the text that they were added with.

What an addition says is checked when it is made; its row is made when somebody looks (`settling.py`). Until then it is
kept as it was given, which costs a tenth.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct, field

from spane_otel.ids import execution_trace_id
from spane_otel.records import Change, LogRow, SpanRow
from spane_otel.stores.added import added_log_id

SpanKey = tuple[bytes, int, int]
"""Trace id, span id, start."""
LogKey = tuple[bytes, bytes, int]
"""Trace key, log id, time."""
FOLDED_METADATA: Final = 64
"""Changes of so many keys are kept together at most, well below what one item may hold (`values.Limits`)."""


class GivenSpan(Struct, gc=False):
    """What `add_span` was given."""

    now_ns: int
    name: str
    node_id: str | None
    parent_id: str | None
    start_ns: int | None
    status: str
    error: str | None
    metadata: Mapping[str, Any] | None


class GivenLog(Struct, gc=False):
    """What `add_log` was given."""

    now_ns: int
    message: str
    level: str
    node_id: str | None
    time_ns: int | None
    span_id: str | None
    metadata: Mapping[str, Any] | None


class GivenChange(Struct, gc=False):
    """What `update_span` was given."""

    now_ns: int
    end_ns: int | None
    status: str | None
    error: str | None
    metadata: Mapping[str, Any] | None

    @property
    def is_empty(self) -> bool:
        return self.end_ns is None and self.status is None and self.error is None and self.metadata is None


class FoldedChange(Struct, gc=False):
    """What calls of `update_span` said since the row was last looked at, folded into one."""

    times: int = 0
    end_ns: int | None = None
    status: str | None = None
    error: str | None = None
    metadata: dict[str, Any] | None = None


class AddedSpan(Struct, gc=False):
    """A span that was added to an execution."""

    text: str
    start_ns: int
    seq: int
    end_ns: int | None = None
    has_parent: bool = False
    parent: "AddedSpan | None" = None
    """The added span of the same execution that its parent is; None: it has none, or another."""
    given: GivenSpan | None = None
    """What its row is made of; None: it is made."""
    children: int = 0
    """How many of the execution's added spans have it as their parent."""
    change: FoldedChange | None = None
    """What its row lacks."""
    key: SpanKey | None = None
    """Where its row is."""
    is_gone: bool = False

    @property
    def rank_to_go(self) -> int:
        """Which leaves go first: the least; ended before running, all with a parent before those without."""
        return (not self.has_parent) * 2 + (self.end_ns is None)

    @property
    def order_to_go(self) -> tuple[int, int]:
        """Which of one rank go first: the least, of equals the one added first."""
        return self.start_ns if self.end_ns is None else self.end_ns, self.seq


class AddedLog(Struct, gc=False):
    """A log record that was added to an execution."""

    text: str
    time_ns: int
    seq: int
    given: GivenLog | None = None
    """What its row is made of; None: it is made."""
    key: LogKey | None = None
    """Where its row is."""
    is_gone: bool = False


class ExecutionAdditions(Struct):
    """What was added to one execution."""

    execution_id: str
    trace_id: bytes
    """The execution's own trace."""
    spans: dict[str, AddedSpan] = field(default_factory=dict)
    logs: dict[str, AddedLog] = field(default_factory=dict)
    pending: list[AddedSpan | AddedLog] = field(default_factory=list)
    """Those whose rows are to be made or changed, each once; of what is gone some are still here."""
    linked_ns: int | None = None
    """The least start of the spans for which its own trace was linked to it."""
    trimmed: int = 0
    """How many spans went before they had a row, since it was last looked at."""
    going: list[AddedSpan] = field(default_factory=list)
    """The spans that go next, the very next last, found together; empty: they are to be found."""
    going_rank: int = 0
    """What all of them are, by `rank_to_go`."""
    newest: AddedSpan | None = None
    """The span that came when some went last."""
    going_logs: list[AddedLog] = field(default_factory=list)
    """The logs that go next, the very next last; empty: they are to be found."""
    has_spans: bool = False
    """Whether spans were added or changed since that was last announced."""
    has_logs: bool = False
    """Whether logs without a span were added since that was last announced."""
    has_span_logs: bool = False
    """Whether logs with a span were added since that was last announced."""

    def is_own(self, span: AddedSpan) -> bool:
        """Whether a span is in the execution's own trace."""
        return span.key is None or span.key[0] == self.trace_id

    def take_news(self) -> Iterator[Change]:
        """Yield what is to be announced, once."""
        trace_id = self.trace_id.hex()
        if self.has_spans:
            yield Change("spans", self.execution_id, trace_id)
        if self.has_logs:
            yield Change("logs", self.execution_id)
        if self.has_span_logs:
            yield Change("logs", self.execution_id, trace_id)
        self.has_spans = self.has_logs = self.has_span_logs = False

    def put_span(self, span: AddedSpan) -> None:
        """Hold a span that is new here."""
        if span.parent is not None:
            span.parent.children += 1
        self.spans[span.text] = span

    def drop_span(self, span: AddedSpan) -> None:
        """Let go of a span."""
        del self.spans[span.text]
        span.is_gone = True
        if span.parent is not None:
            span.parent.children -= 1
            self.reconsider(span.parent)

    def reconsider(self, span: AddedSpan) -> None:
        """Forget which spans go next, if this one, which has ended or lost its last child, might go before them."""
        if self.going and not span.children:
            rank = span.rank_to_go
            if rank < self.going_rank or (rank == self.going_rank and span.order_to_go < self.going[0].order_to_go):
                self.going.clear()


class Additions:
    """What was added to each execution."""

    def __init__(self) -> None:
        self.of: dict[str, ExecutionAdditions] = {}
        """By execution, those that have any."""
        self.unsettled: dict[str, ExecutionAdditions] = {}
        """Those with pending ones."""
        self.unannounced: dict[str, ExecutionAdditions] = {}
        """Those with news."""
        self.new_spans: int = 0
        """How many spans have no row yet."""
        self.new_logs: int = 0
        """How many log records have no row yet."""
        self.seq: int = 0
        """Orders rows that are written one by one and start together."""

    def of_execution(self, execution_id: str) -> ExecutionAdditions:
        """Return what was added to an execution, nothing yet if it is the first time."""
        found = self.of.get(execution_id)
        if found is None:
            found = self.of[execution_id] = ExecutionAdditions(execution_id, execution_trace_id(execution_id))
        return found

    def wait(self, of: ExecutionAdditions, added: AddedSpan | AddedLog) -> None:
        """Note that a row is to be made or changed; called once until that is done."""
        of.pending.append(added)
        self.unsettled[of.execution_id] = of

    def next_seq(self) -> int:
        self.seq = (self.seq + 1) % 2**31
        return self.seq

    def take_spans(self, rows: Iterable[SpanRow]) -> None:
        """Take those rows of another store that were added by hand there."""
        taken: list[tuple[SpanRow, AddedSpan]] = []
        for row in rows:
            if row.execution_id is None or row.added_id is None:
                continue
            spans = self.of_execution(row.execution_id).spans
            held = spans.get(row.added_id)
            if held is None:
                held = AddedSpan(row.added_id, row.start_ns, row.seq, has_parent=row.parent_id is not None)
                held.key = row.trace_id, row.span_id, row.start_ns
                spans[held.text] = held
                taken.append((row, held))
            held.end_ns = row.end_ns
        places = {(row.execution_id, row.trace_id, row.span_id): span for row, span in taken}
        for row, span in taken:
            parent = None if row.parent_id is None else places.get((row.execution_id, row.trace_id, row.parent_id))
            if parent is not None and parent is not span:
                span.parent = parent
                parent.children += 1

    def take_logs(self, rows: Iterable[LogRow]) -> None:
        """Take those rows of another store that were added by hand there."""
        for row in rows:
            if row.execution_id is None or row.uid is None or row.log_id != added_log_id(row.execution_id, row.uid):
                continue
            of = self.of_execution(row.execution_id)
            log = AddedLog(row.uid, row.time_ns, row.seq, key=(row.trace_key, row.log_id, row.time_ns))
            of.logs.setdefault(log.text, log)

    def remove(self, execution_id: str) -> None:
        """Forget what was added to an execution."""
        self.unsettled.pop(execution_id, None)
        self.unannounced.pop(execution_id, None)
        of = self.of.pop(execution_id, None)
        if of is not None:
            for added in of.pending:
                if added.given is not None and not added.is_gone:
                    self.new_spans -= isinstance(added, AddedSpan)
                    self.new_logs -= isinstance(added, AddedLog)
