"""What a store takes: rows within the window of times and what a column can hold, and arguments that make sense.

Every store refuses the same things for the same reasons, so the rule stands here once. A refused row costs only itself.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from spane_otel.clock import SECOND
from spane_otel.errors import InvalidValueError
from spane_otel.ids import ZERO_TRACE_ID, hash16, new_execution_id
from spane_otel.jsontext import encode_payload
from spane_otel.records import EXECUTION_STATUSES, SPAN_KINDS, SPAN_STATUSES, TIME_SOURCES, LogRow, SpanRow, Stamp
from spane_otel.state import MAX_DEPTH, Lease

OUT_OF_WINDOW: Final = "start_out_of_window"
"""The reason of a row whose partition a store would not make (architecture.md, *Partitions*)."""
INVALID_VALUE: Final = "invalid_value"
"""The reason of a row with a value that its column can't hold, or that is not what the row promises."""

DAY: Final = 86_400 * SECOND
ACCEPT_PAST_DAYS: Final = 14
ACCEPT_FUTURE_NS: Final = DAY

MAX_ID: Final = 256
MAX_PAGE: Final = 1_000
LONGEST_LEASE_SECONDS: Final = 10 * 365 * 86_400

_INT16: Final = range(-(2**15), 2**15)
_INT31: Final = range(2**31)
_UINT32: Final = range(2**32)
_INT64: Final = range(-(2**63), 2**63)


class Refusal(Struct, frozen=True):
    """Why a row is not stored: a word that is counted, a sentence for people."""

    reason: str
    detail: str


class Window(Struct, frozen=True):
    """The times that are accepted, both ends included."""

    earliest_ns: int
    latest_ns: int


def window_at(now_ns: int, accept_past_days: float = ACCEPT_PAST_DAYS) -> Window:
    """Return the window at a moment: `accept_past_days` back, 24 hours ahead."""
    return Window(now_ns - int(accept_past_days * DAY), now_ns + ACCEPT_FUTURE_NS)


def refuse_span(row: SpanRow, window: Window) -> Refusal | None:
    """Return why this span can't be stored, None if it can."""
    if not window.earliest_ns <= row.start_ns <= window.latest_ns:
        return Refusal(OUT_OF_WINDOW, f"start {row.start_ns} is outside what is accepted now")
    column = _first_bad(
        (
            ("trace_id", _is_id(row.trace_id)),
            ("span_id", row.span_id != 0 and row.span_id in _INT64),
            ("parent_id", row.parent_id is None or row.parent_id in _INT64),
            ("end_ns", row.end_ns is None or row.end_ns in _INT64),
            ("kind", 0 <= row.kind < len(SPAN_KINDS)),
            ("status", 0 <= row.status < len(SPAN_STATUSES)),
            ("flags", row.flags in _UINT32),
            ("dropped counts", _are_counts(row)),
            ("revision", row.revision in _INT31),
            ("seq", row.seq in _INT31),
            ("resource_id", len(row.resource_id) == 16 and len(row.scope_id) == 16),
            ("text", _are_storable((row.name, row.service, row.status_message, row.trace_state))),
            ("ids", _are_storable((row.execution_id, row.node_id, row.process_id, row.added_id))),
            ("attributes", _is_json(row.attributes, dict)),
            ("events", row.events is None or _is_json(row.events, list)),
            ("links", row.links is None or _is_json(row.links, list)),
            ("stamp", row.stamp is None or _is_stamp(row.stamp)),
        )
    )
    return None if column is None else Refusal(INVALID_VALUE, f"{column} can't be stored")


def refuse_log(row: LogRow, window: Window) -> Refusal | None:
    """Return why this log record can't be stored, None if it can."""
    if not window.earliest_ns <= row.time_ns <= window.latest_ns:
        return Refusal(OUT_OF_WINDOW, f"time {row.time_ns} is outside what is accepted now")
    column = _first_bad(
        (
            ("log_id", len(row.log_id) == 16),
            ("trace_key", len(row.trace_key) == 16),
            ("trace_id", row.trace_id is None or len(row.trace_id) == 16),
            ("span_id", row.span_id is None or row.span_id in _INT64),
            ("observed_ns", row.observed_ns in _INT64),
            ("time_source", 0 <= row.time_source < len(TIME_SOURCES)),
            ("severity", row.severity in _INT16),
            ("flags", row.flags in _UINT32),
            ("dropped counts", row.dropped_attributes_count in _UINT32),
            ("seq", row.seq in _INT31),
            ("resource_id", len(row.resource_id) == 16 and len(row.scope_id) == 16),
            ("text", _are_storable((row.service, row.severity_text, row.event_name, row.uid))),
            ("ids", _are_storable((row.execution_id, row.node_id, row.process_id))),
            ("body", _is_json(row.body, None)),
            ("attributes", _is_json(row.attributes, dict)),
        )
    )
    return None if column is None else Refusal(INVALID_VALUE, f"{column} can't be stored")


class NewExecution(Struct, frozen=True):
    """What a caller gave to `create_execution`, with ids checked and payloads as JSON text."""

    execution_id: str
    workflow_id: str
    parent_execution_id: str | None
    depth: int
    """As given, at most MAX_DEPTH; `depth_below` says what 0 means below a parent."""
    initial_data: str | None
    metadata: str

    def content_hash(self) -> bytes:
        """Return what tells a repeated call from another one: a hash of all but the id; keys have no order."""
        content = (self.workflow_id, self.parent_execution_id, self.depth)
        payloads = (None if self.initial_data is None else json.loads(self.initial_data), json.loads(self.metadata))
        return hash16(json.dumps([content, payloads], sort_keys=True).encode())


def check_new_execution(
    workflow_id: str,
    parent_execution_id: str | None,
    depth: int,
    initial_data: Any,
    execution_id: str | None,
    metadata: dict[str, Any] | None,
) -> NewExecution:
    """Check the arguments of `create_execution`; without an id, make one.

    Raises:
        InvalidValueError: one of them is of the wrong type, too long, or nothing that a database holds.

    """
    if execution_id is None:
        execution_id = new_execution_id()
    check_execution_id(execution_id)
    check_id(workflow_id, "workflow id")
    if parent_execution_id is not None:
        check_execution_id(parent_execution_id)
    if not isinstance(depth, int) or isinstance(depth, bool) or depth not in _INT31:
        raise InvalidValueError("depth must be a whole number from 0", reason="depth")
    check_depth(depth)
    if not isinstance(metadata, dict | None):
        raise InvalidValueError("metadata must be a mapping", reason="metadata")
    return NewExecution(
        execution_id=execution_id,
        workflow_id=workflow_id,
        parent_execution_id=parent_execution_id,
        depth=0 if parent_execution_id is None else depth,
        initial_data=None if initial_data is None else encode_payload(initial_data),
        metadata=encode_payload(metadata or {}),
    )


def check_depth(depth: int) -> None:
    """Check how deep below its root an execution is.

    Raises:
        InvalidValueError: deeper than MAX_DEPTH.

    """
    if depth > MAX_DEPTH:
        raise InvalidValueError(
            f"an execution at depth {depth}: sub-workflows nest at most {MAX_DEPTH} deep", reason="depth"
        )


def depth_below(given: int, parent_depth: int | None) -> int:
    """Return the depth of an execution with a parent: as given, else the parent's plus 1, else (unknown) 1.

    Raises:
        InvalidValueError: deeper than MAX_DEPTH.

    """
    depth = given or (1 if parent_depth is None else parent_depth + 1)
    check_depth(depth)
    return depth


def check_execution_id(execution_id: str) -> None:
    """Check an execution id that a caller chose.

    Raises:
        InvalidValueError: it is empty, longer than 256 characters, or no text that a database holds.

    """
    check_id(execution_id, "execution id")


def check_id(text: str, name: str) -> None:
    """Check an id called `name`: it is part of index keys.

    Raises:
        InvalidValueError: it is empty, longer than 256 characters, or no text that a database holds.

    """
    if not isinstance(text, str) or not text or len(text) > MAX_ID:
        raise InvalidValueError(f"the {name} must be text of 1 to {MAX_ID} characters", reason=name.replace(" ", "_"))
    check_text(text, name)


def check_text(text: str, name: str) -> None:
    """Check a text argument called `name`.

    Raises:
        InvalidValueError: it holds a NUL or a lone surrogate.

    """
    if not is_storable(text):
        raise InvalidValueError(f"the {name} holds a NUL or a lone surrogate", reason="text")


def check_operation(operation: str | None) -> None:
    """Check the key that a caller repeats a call with.

    Raises:
        InvalidValueError: it is no text.

    """
    if not isinstance(operation, str | None):
        raise InvalidValueError("an operation's key is text", reason="operation")


def check_status_filter(status: str | None) -> None:
    """Check what a list of executions is filtered by: a status, or `abandoned`.

    Raises:
        InvalidValueError: it is neither.

    """
    if status is not None and status != "abandoned" and status not in EXECUTION_STATUSES:
        raise InvalidValueError(f"{status!r} is no execution status", reason="status")


def check_lease(lease: Lease) -> None:
    """Check a lease that a caller asks for.

    Raises:
        InvalidValueError: its holder is no id, or its time is not a number of seconds above 0 and up to ten years.

    """
    check_id(lease.holder, "holder")
    seconds = lease.seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_LEASE_SECONDS:
        raise InvalidValueError("a lease lasts a number of seconds above 0", reason="lease")


def check_limit(limit: int) -> None:
    """Check the length of a page.

    Raises:
        InvalidValueError: it is not a whole number in 1..1000.

    """
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise InvalidValueError(f"limit must be in 1..{MAX_PAGE}", reason="limit")


def check_offset(offset: int) -> None:
    """Check how many items a page leaves out.

    Raises:
        InvalidValueError: it is no whole number from 0.

    """
    if type(offset) is not int or offset < 0:
        raise InvalidValueError("offset must be a whole number from 0", reason="offset")


def is_storable(text: object) -> bool:
    """Whether a text column can hold `text`: it is text, has no NUL and is valid UTF-8."""
    if not isinstance(text, str):
        return False
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _first_bad(checks: Iterable[tuple[str, bool]]) -> str | None:
    return next((name for name, is_good in checks if not is_good), None)


def _is_id(trace_id: bytes) -> bool:
    return len(trace_id) == 16 and trace_id != ZERO_TRACE_ID


def _are_counts(row: SpanRow) -> bool:
    counts = (row.dropped_attributes_count, row.dropped_events_count, row.dropped_links_count)
    return all(count in _UINT32 for count in counts)


def _are_storable(texts: Iterable[str | None]) -> bool:
    return all(text is None or is_storable(text) for text in texts)


def _is_stamp(stamp: Stamp) -> bool:
    texts = (
        stamp.workflow_id,
        stamp.version_label,
        stamp.parent_execution_id,
        stamp.root_execution_id,
        stamp.external_id,
    )
    return (
        _are_storable(texts)
        and all(number is None or number in _INT31 for number in (stamp.workflow_version, stamp.depth))
        and all(text is None or _parses(text) for text in (stamp.input, stamp.output))
    )


def _is_json(text: str, kind: type | None) -> bool:
    """Whether `text` is JSON that casts to jsonb (architecture.md, *Ids and values*), of `kind` at the top."""
    if not is_storable(text):
        return False
    try:
        value = _loads(text)
    except (ValueError, RecursionError):
        return False
    if "\\u" in text and not _is_clean(value):
        return False
    return kind is None or isinstance(value, kind)


def _parses(text: str) -> bool:
    """Whether `text` is JSON, which is all that an opaque payload must be."""
    if not is_storable(text):
        return False
    try:
        _loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _is_clean(value: Any) -> bool:
    """Whether no string inside holds a NUL or a lone surrogate, which JSON can escape and jsonb refuses."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                if not is_storable(text):
                    return False
            case list() as items:
                waiting.extend(items)
            case dict() as members:
                waiting.extend(members)
                waiting.extend(members.values())
    return True
