"""What a span's or a log record's attributes say of execution, workflow and node.

Both ways in use it: the processor in the traced process and the service's ingest. The attributes are names.md's,
*Span attributes*.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, get_args

from msgspec import Struct

from spane_otel.errors import InvalidValueError
from spane_otel.ids import bounded_execution_id
from spane_otel.jsontext import encode_payload
from spane_otel.records import SpanState, Stamp

EXECUTION_ID: Final = "spane.execution.id"
EXECUTION_PARENT_ID: Final = "spane.execution.parent_id"
EXECUTION_ROOT_ID: Final = "spane.execution.root_id"
EXECUTION_DEPTH: Final = "spane.execution.depth"
WORKFLOW_ID: Final = "spane.workflow.id"
WORKFLOW_VERSION: Final = "spane.workflow.version"
WORKFLOW_VERSION_LABEL: Final = "spane.workflow.version_label"
NODE_ID: Final = "spane.node.id"
NODE_ATTEMPT: Final = "spane.node.attempt"
NODE_ITERATION: Final = "spane.node.iteration"
STATE: Final = "spane.state"
INPUT: Final = "spane.input"
OUTPUT: Final = "spane.output"
INPUT_TRUNCATED: Final = "spane.input.truncated"
OUTPUT_TRUNCATED: Final = "spane.output.truncated"

SPAN_REVISION: Final = "spane.span.revision"
"""On the wire only: kept as a column, taken off the attributes."""
PROCESS_ID: Final = "spane.process.id"
"""A resource attribute on the wire only: kept as a column, taken off before the resource is stored."""
LOG_RECORD_UID: Final = "log.record.uid"

GIVEN_STATES: Final[frozenset[SpanState]] = frozenset({"completed", "failed", "cancelled", "skipped"})
"""What `spane.state` may say; a span added by hand may also be `running` (a column)."""

assert frozenset(get_args(SpanState)) > GIVEN_STATES  # noqa: S101 - two lists that must agree


class SpanMeaning(Struct, frozen=True):
    """What the `spane.*` attributes of one span say."""

    execution_id: str | None = None
    node_id: str | None = None
    state: SpanState | None = None
    revision: int = 0
    stamp: Stamp | None = None
    """Given if and only if the span carries an execution id itself."""


NOTHING: Final = SpanMeaning()


def read_span(values: Mapping[str, Any]) -> SpanMeaning:
    """Return the meaning of `values`, a span's attributes as Python values; other keys are ignored.

    A value of the wrong type says nothing. An execution id is at most 256 characters (`ids.bounded_execution_id`).
    """
    execution_id = _text(values.get(EXECUTION_ID))
    return SpanMeaning(
        execution_id=bounded_execution_id(execution_id) if execution_id else None,
        node_id=_text(values.get(NODE_ID)),
        state=_state(values.get(STATE)),
        revision=min(max(_integer(values.get(SPAN_REVISION)) or 0, 0), 2**31 - 1),
        stamp=_read_stamp(values) if execution_id else None,
    )


def _read_stamp(values: Mapping[str, Any]) -> Stamp:
    version = values.get(WORKFLOW_VERSION)
    label = _text(values.get(WORKFLOW_VERSION_LABEL))
    workflow = _text(values.get(WORKFLOW_ID))
    parent = _text(values.get(EXECUTION_PARENT_ID))
    root = _text(values.get(EXECUTION_ROOT_ID))
    depth = _integer(values.get(EXECUTION_DEPTH))
    return Stamp(
        workflow_id=bounded_execution_id(workflow) if workflow else None,  # an index key, as the others
        workflow_version=_small(_integer(version)),
        version_label=label or _text(version),  # a string in `version` counts as the label
        parent_execution_id=bounded_execution_id(parent) if parent else None,
        root_execution_id=bounded_execution_id(root) if root else None,
        depth=_small(depth),
        input=_payload(values.get(INPUT)),
        output=_payload(values.get(OUTPUT)),
    )


def _state(value: Any) -> SpanState | None:
    return next((state for state in GIVEN_STATES if state == value), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _small(value: int | None) -> int | None:
    """Return `value` if it fits the column, a non-negative 32-bit integer."""
    return value if value is not None and 0 <= value < 2**31 else None


def _payload(value: Any) -> str | None:
    """Return JSON text: the value itself if it is JSON already, else it counts as a string."""
    if value is None:
        return None
    if isinstance(value, str) and _is_json(value):
        return value
    try:
        return encode_payload(value)
    except InvalidValueError:
        return encode_payload(str(value))


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # json would take NaN and Infinity, which no database does
