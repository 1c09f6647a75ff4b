"""Times for people. The page's module repeats this in the reader's own zone."""

from datetime import UTC, datetime
from typing import Final

from spane_otel.clock import SECOND

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def clock_time(ns: int, now_ns: int, *, exact: bool = False) -> str:
    """Return `14:18:22` if that was today in this machine's zone, else `23 Nov 13:33:22`, with the year if it differs.

    `exact`: with milliseconds.
    """
    when, now = _local(ns), _local(now_ns)
    text = f"{when:%H:%M:%S}"
    if exact:
        text += f".{ns // 1_000_000 % 1_000:03}"
    if when.date() == now.date():
        return text
    year = f" {when.year}" if when.year != now.year else ""
    return f"{when.day} {_MONTHS[when.month - 1]}{year} {text}"


def utc_time(ns: int) -> str:
    """Return the exact time in UTC, RFC 3339 with nanoseconds."""
    when = datetime.fromtimestamp(ns // SECOND, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ns % SECOND:09}Z"


def _local(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // SECOND, UTC).astimezone()
