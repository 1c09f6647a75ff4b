"""What a store holds: written as rows, read as records.

A *row* (`SpanRow`, `LogRow`, `ResourceRow` …) is what a sink takes: ids in their storage form, attributes already
sanitised JSON text. A *record* (`Execution`, `Span`, `Log`, `Trace` …) is what a reader returns: hex ids, words
instead of numbers, times in integer nanoseconds since 1970. The vocabulary is architecture.md's.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Generic, Literal, TypeVar, overload

from msgspec import Struct, field

from spane_otel.jsontext import JsonList, JsonMap

ExecutionStatus = Literal["running", "paused", "completed", "failed", "cancelled"]
EXECUTION_STATUSES: Final = ("running", "paused", "completed", "failed", "cancelled")

SpanState = Literal["running", "completed", "failed", "cancelled", "skipped", "abandoned", "open"]
SpanKind = Literal["unspecified", "internal", "server", "client", "producer", "consumer"]
SpanStatus = Literal["unset", "ok", "error"]
Level = Literal["unspecified", "trace", "debug", "info", "warn", "error", "fatal"]

SPAN_KINDS: Final[tuple[SpanKind, ...]] = (
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
)
"""Indexed by OTLP's number."""
SPAN_STATUSES: Final[tuple[SpanStatus, ...]] = ("unset", "ok", "error")
"""Indexed by OTLP's number."""
STATUS_ERROR: Final = 2

STALE_AFTER_SECONDS: Final = 45
"""A process whose last heartbeat is older than this is gone; its open spans are *abandoned*."""
HEARTBEAT_SECONDS: Final = 15

TRACE_SPAN_LIMIT: Final = 10_000
"""At most this many spans of a trace are read or counted at once; `truncated` says when there are more."""

T = TypeVar("T")


class Page(Sequence[T], Generic[T]):
    """A page of a list: a sequence that knows the cursor of the next page, None at the end."""

    def __init__(self, items: Sequence[T], next: str | None = None) -> None:  # noqa: A002 - the name in the API
        self.items: Final = list(items)
        self.next: Final = next

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Page):
            return self.items == other.items and self.next == other.next
        return self.items == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it holds a list

    def __repr__(self) -> str:
        return f"Page({self.items!r}, next={self.next!r})"


# --- rows: what a sink takes -----------------------------------------------------------------------------------


class ResourceRow(Struct, frozen=True):
    """What emitted the telemetry, stored once under the hash of its content."""

    resource_id: bytes
    """16 bytes: a hash of all that follows."""
    attributes: str = "{}"
    schema_url: str = ""
    dropped_attributes_count: int = 0
    service: str = "unknown_service"
    """`service.name`, for lists and indexes."""


class ScopeRow(Struct, frozen=True):
    """The instrumentation scope, stored once under the hash of its content."""

    scope_id: bytes
    name: str = ""
    version: str = ""
    attributes: str = "{}"
    schema_url: str = ""
    dropped_attributes_count: int = 0


class Stamp(Struct, frozen=True):
    """What a span says of its execution beyond its id: the `spane.*` attributes that only a root carries."""

    workflow_id: str | None = None
    """A stamped span with a workflow and without a node is a root of its execution."""
    workflow_version: int | None = None
    version_label: str | None = None
    parent_execution_id: str | None = None
    root_execution_id: str | None = None
    depth: int | None = None
    external_id: str | None = None
    input: str | None = None
    """JSON text."""
    output: str | None = None
    """JSON text."""


class SpanRow(Struct):
    """One version of a span, ready to be stored. Its identity is (trace_id, span_id, start_ns)."""

    trace_id: bytes
    span_id: int
    start_ns: int
    end_ns: int | None
    """None: not ended (OTLP's 0)."""
    name: str
    resource_id: bytes
    scope_id: bytes
    service: str
    parent_id: int | None = None
    kind: int = 0
    status: int = 0
    status_message: str = ""
    state: SpanState | None = None
    """What `spane.state` said, or the status a span was added with by hand; None: derived when read."""
    trace_state: str = ""
    flags: int = 0
    attributes: str = "{}"
    dropped_attributes_count: int = 0
    events: str | None = None
    """JSON text of an array in the shape of the HTTP API; None: there are none."""
    dropped_events_count: int = 0
    links: str | None = None
    dropped_links_count: int = 0
    execution_id: str | None = None
    node_id: str | None = None
    process_id: str | None = None
    """The process that would end it and sends heartbeats; only with one can an open span be *running*."""
    added_id: str | None = None
    """The text it was added with by hand."""
    revision: int = 0
    """Numbers the announcements of one span; of two open versions the greater wins."""
    seq: int = 0
    """Position in its request: orders what starts at the same nanosecond."""
    stamp: Stamp | None = None
    added_hash: bytes | None = None
    """16 bytes of what it was added with, so that adding it again is told from adding another."""


TimeSource = Literal["time", "observed", "receipt"]
TIME_SOURCES: Final[tuple[TimeSource, ...]] = ("time", "observed", "receipt")


class LogRow(Struct):
    """A log record, ready to be stored. Its identity is (trace_key, log_id, time_ns)."""

    log_id: bytes
    """16 bytes: a hash of `log.record.uid`, else of its content and its ordinal among equal records."""
    trace_key: bytes
    """16 bytes: the trace id, else a hash of the execution id, else the log id."""
    time_ns: int
    """When it happened; where that was not sent, when it was observed; else when it was received."""
    resource_id: bytes
    scope_id: bytes
    service: str
    time_source: int = 0
    """Index into TIME_SOURCES: which of the three `time_ns` is."""
    observed_ns: int = 0
    severity: int = 0
    severity_text: str = ""
    body: str = "null"
    """JSON text of any value."""
    attributes: str = "{}"
    dropped_attributes_count: int = 0
    event_name: str = ""
    trace_id: bytes | None = None
    span_id: int | None = None
    flags: int = 0
    execution_id: str | None = None
    node_id: str | None = None
    process_id: str | None = None
    uid: str | None = None
    """`log.record.uid`, or the text it was added with."""
    seq: int = 0


class Batch(Struct):
    """What is written in one transaction: spans, logs, and the resources and scopes they point to.

    `heartbeats` are ids of processes that are alive now. Rows may repeat, come in any order and be written any
    number of times. `inherit` of derivation.py has been applied by whoever made the batch.
    """

    spans: list[SpanRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    resources: dict[bytes, ResourceRow] = field(default_factory=dict)
    scopes: dict[bytes, ScopeRow] = field(default_factory=dict)
    heartbeats: list[str] = field(default_factory=list)


class Rejection(Struct, frozen=True):
    """A row that was not stored; `reason` is a short word of a closed list, `detail` is for people."""

    signal: Literal["spans", "logs"]
    index: int
    """Position in `Batch.spans` or `Batch.logs`."""
    reason: str
    detail: str = ""


class WriteResult(Struct):
    """What became of a batch. Every row not in `rejected` is committed, by this write or an earlier one."""

    spans_stored: int = 0
    logs_stored: int = 0
    spans_duplicate: int = 0
    """Part of `spans_stored`: deliveries whose version was there already or lost to a greater one."""
    logs_duplicate: int = 0
    rejected: list[Rejection] = field(default_factory=list)


# --- records: what a reader returns ----------------------------------------------------------------------------


class Counts(Struct, frozen=True):
    """An execution's numbers."""

    spans: int = 0
    errors: int = 0
    logs: int = 0
    warnings: int = 0
    nodes_done: int = 0
    """With `nodes_total`: of those nodes the ones with a final result, or, in an execution made from spans, whose spans
    have all ended. Without: all that have either, whatever they are called."""
    nodes_total: int | None = None
    """Nodes of the version that it runs, if that is known."""
    truncated: bool = False
    """A trace had more rows than are counted."""


class Execution(Struct, frozen=True, kw_only=True):
    """One run of a workflow's version."""

    execution_id: str
    workflow_id: str | None = None
    workflow_version: int | None = None
    version_label: str | None = None
    external_id: str | None = None
    origin: Literal["api", "spans"] = "api"
    status: ExecutionStatus = "running"
    started_ns: int = 0
    ended_ns: int | None = None
    parent_execution_id: str | None = None
    root_execution_id: str | None = None
    depth: int = 0
    initial_data: Any = None
    result: Any = None
    error: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    trace_ids: tuple[str, ...] = ()
    """Oldest first."""
    abandoned_since_ns: int | None = None
    """When its process was last heard of, if it is running and that process is stale."""
    timeout_ns: int | None = None
    """When it is failed if it still runs then."""


class Resource(Struct, frozen=True):
    """What emitted telemetry, as read."""

    attributes: JsonMap
    schema_url: str = ""
    dropped_attributes_count: int = 0


class Scope(Struct, frozen=True):
    """An instrumentation scope, as read."""

    name: str = ""
    version: str = ""
    attributes: JsonMap = field(default_factory=JsonMap)
    schema_url: str = ""
    dropped_attributes_count: int = 0


class Span(Struct, frozen=True, kw_only=True):
    """A span, as read: the greatest version that arrived."""

    trace_id: str
    span_id: str
    id: str | None = None
    parent_span_id: str | None = None
    name: str = ""
    kind: SpanKind = "unspecified"
    start_ns: int = 0
    end_ns: int | None = None
    status: SpanStatus = "unset"
    status_message: str = ""
    state: SpanState = "completed"
    trace_state: str = ""
    flags: int = 0
    attributes: JsonMap = field(default_factory=JsonMap)
    dropped_attributes_count: int = 0
    events: JsonList = field(default_factory=JsonList)
    dropped_events_count: int = 0
    links: JsonList = field(default_factory=JsonList)
    dropped_links_count: int = 0
    resource: int = 0
    """Index into `Trace.resources`."""
    scope: int = 0
    """Index into `Trace.scopes`."""
    execution_id: str | None = None
    node_id: str | None = None
    last_seen_ns: int | None = None
    """For an abandoned span: when its process was last heard of."""


class Log(Struct, frozen=True, kw_only=True):
    """A log record, as read."""

    log_id: str
    id: str | None = None
    time_ns: int = 0
    observed_ns: int = 0
    time_source: TimeSource = "time"
    severity: int = 0
    severity_text: str = ""
    level: Level = "unspecified"
    body: Any = None
    attributes: JsonMap = field(default_factory=JsonMap)
    dropped_attributes_count: int = 0
    event_name: str = ""
    trace_id: str | None = None
    span_id: str | None = None
    flags: int = 0
    execution_id: str | None = None
    node_id: str | None = None
    resource: int = 0
    scope: int = 0
    body_text: str = "null"
    """The JSON text of `body`, exact."""

    @property
    def message(self) -> str:
        """The body as text: itself if it is a string, else its JSON."""
        return self.body if isinstance(self.body, str) else self.body_text


class Trace(Struct, frozen=True, kw_only=True):
    """Spans in the order (start_ns, seq, span_id), with the resources and scopes they index.

    Either of one trace (`trace_id`) or of one execution (`execution_id` and all its `trace_ids`).
    """

    spans: list[Span] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    truncated: bool = False
    trace_id: str | None = None
    execution_id: str | None = None
    trace_ids: tuple[str, ...] = ()


class LogPage(Page[Log]):
    """A page of logs with the resources and scopes they index."""

    def __init__(
        self,
        items: Sequence[Log],
        next: str | None = None,  # noqa: A002 - the name in the API
        resources: Sequence[Resource] = (),
        scopes: Sequence[Scope] = (),
    ) -> None:
        super().__init__(items, next)
        self.resources: Final = list(resources)
        self.scopes: Final = list(scopes)


class TraceSummary(Struct, frozen=True, kw_only=True):
    """A trace in a list, described by its root: the earliest parentless span, else the earliest entry span."""

    trace_id: str
    root_span_id: str
    name: str
    service: str
    kind: SpanKind
    status: SpanStatus
    status_message: str
    state: SpanState
    start_ns: int
    end_ns: int | None
    execution_ids: tuple[str, ...] = ()
    spans: int = 0
    errors: int = 0
    truncated: bool = False


class Change(Struct, frozen=True):
    """Something was written: readers look again."""

    kind: Literal["spans", "logs", "execution"]
    execution_id: str | None = None
    trace_id: str | None = None


class StoreStats(Struct, frozen=True):
    """How much a store holds; `trimmed` counts what the in-memory store had to let go."""

    executions: int = 0
    spans: int = 0
    logs: int = 0
    approx_bytes: int = 0
    trimmed: int = 0


def level_of(severity: int) -> Level:
    """Return the level of an OpenTelemetry severity number (logs data model, section SeverityNumber)."""
    if not 1 <= severity <= 24:
        return "unspecified"
    levels: tuple[Level, ...] = ("trace", "debug", "info", "warn", "error", "fatal")
    return levels[(severity - 1) // 4]


def least_severity(level: str) -> int:
    """Return the least severity number that `level` admits: `warn` means 13 and above.

    Raises:
        ValueError: `level` is not one of trace, debug, info, warn, error, fatal.

    """
    return ("trace", "debug", "info", "warn", "error", "fatal").index(level) * 4 + 1
