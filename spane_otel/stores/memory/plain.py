"""What can be kept as it was given and turned into a row later, to the same effect as at once.

Nothing here says that something is wrong: what is not plain is looked at closely elsewhere.
"""

from typing import Any, Final

from spane_otel.stores.added import STATUSES
from spane_otel.stores.admission import MAX_ID
from spane_otel.stores.memory.held.additions import GivenChange, GivenLog, GivenSpan

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_VALUE: Final = 4_096
"""Characters: nothing of this length is cut, and so nothing depends on what else a change says."""
_LEVELS: Final = frozenset({"trace", "debug", "info", "warn", "error", "fatal"})
_INT64: Final = range(-(2**63), 2**63)


def is_plain_span(text: str, given: GivenSpan) -> bool:
    """Whether a span can wait, if its start is within the window and its parent is known."""
    status = given.status
    return (
        _is_plain_id(text)
        and type(given.name) is str
        and (given.node_id is None or _is_plain_id(given.node_id))
        and (given.start_ns is None or type(given.start_ns) is int)
        and type(status) is str
        and status in STATUSES
        and (given.error is None or type(given.error) is str)
        and (given.metadata is None or _is_plain(given.metadata))
    )


def is_plain_log(text: str, given: GivenLog) -> bool:
    """Whether a log record can wait, if its time is within the window and its span is known."""
    level = given.level
    return (
        _is_plain_id(text)
        and type(given.message) is str
        and (given.node_id is None or _is_plain_id(given.node_id))
        and (given.time_ns is None or type(given.time_ns) is int)
        and type(level) is str
        and level in _LEVELS
        and (given.metadata is None or _is_plain(given.metadata))
    )


def is_plain_change(given: GivenChange) -> bool:
    """Whether a change of a span can wait."""
    status = given.status
    end_ns = given.end_ns
    return (
        (status is None or (type(status) is str and status in STATUSES))
        and (end_ns is None or (type(end_ns) is int and end_ns in _INT64))
        and (given.error is None or type(given.error) is str)
        and (given.metadata is None or _is_plain(given.metadata))
    )


def _is_plain_id(text: Any) -> bool:
    return type(text) is str and text.isascii() and 0 < len(text) <= MAX_ID and "\0" not in text


def _is_plain(metadata: Any) -> bool:
    """Whether it is a dict of keys and values that neither change nor are cut."""
    if type(metadata) is not dict:
        return False
    for key, value in metadata.items():
        kind = type(value)
        if type(key) is not str or kind not in _SCALARS:
            return False
        if kind is str and len(value) > _VALUE:
            return False
    return True
