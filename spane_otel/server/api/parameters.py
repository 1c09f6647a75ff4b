"""Query parameters: read strictly, each error named."""

import calendar
import difflib
import re
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request

from spane_otel.clock import SECOND
from spane_otel.ids import span_id_from_hex, trace_id_from_hex
from spane_otel.server.problems import ParameterError

LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
LEVELS: Final = ("trace", "debug", "info", "warn", "error", "fatal")

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_INTEGER: Final = re.compile(r"-?[0-9]{1,30}", re.ASCII)
# A "+" that was not percent-encoded arrives as a space: before an offset it can mean nothing else.
_RFC_3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,30}))?"
    r"(?:[Zz]|([+ -])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)


class Parameters:
    """The query of a request. An empty value counts as not given.

    Raises:
        ParameterError: a parameter is not one of `known`, or stands there twice.

    """

    def __init__(self, request: Request, *known: str) -> None:
        self._values: Final[dict[str, str]] = {}
        for name, value in request.query_params.multi_items():
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known) or 'none'}"
                raise ParameterError(name, f"unknown parameter {name!r}: {hint}")
            if name in self._values:
                raise ParameterError(name, f"{name} is given twice")
            self._values[name] = value.replace("\0", "\N{REPLACEMENT CHARACTER}")

    def text(self, name: str) -> str | None:
        return self._values.get(name) or None

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in allowed:
            raise ParameterError(name, f"{name} must be one of {', '.join(allowed)}")
        return value

    def limit(self) -> int:
        """Return `limit`, 1 to 1,000, by default 100."""
        value = self.text("limit")
        if value is None:
            return LIMIT
        if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) or not 1 <= int(value) <= MAX_LIMIT:
            raise ParameterError("limit", f"limit must be a whole number from 1 to {MAX_LIMIT:,}")
        return int(value)

    def time(self, name: str) -> int | None:
        """Return a time in nanoseconds since 1970, brought into 64 bits: nothing is stored beyond them."""
        value = self.text(name)
        if value is None:
            return None
        time_ns = int(value) if _INTEGER.fullmatch(value) else parse_rfc_3339(value)
        if time_ns is None:
            raise ParameterError(name, f"{name} must be nanoseconds since 1970 or an RFC 3339 time with an offset")
        return max(_INT64_MIN, min(time_ns, _INT64_MAX))

    def trace_id(self, name: str) -> str | None:
        """Return 32 lower-case hex digits."""
        value = self.text(name)
        if value is not None and trace_id_from_hex(value) is None:
            raise ParameterError(name, f"{name} must be 32 hex digits")
        return value.lower() if value is not None else None

    def span_id(self, name: str) -> str | None:
        """Return 16 lower-case hex digits."""
        value = self.text(name)
        if value is not None and span_id_from_hex(value) is None:
            raise ParameterError(name, f"{name} must be 16 hex digits")
        return value.lower() if value is not None else None


def parse_rfc_3339(text: str) -> int | None:
    """Return nanoseconds since 1970, None if `text` is no RFC 3339 time; digits beyond the ninth are cut off."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    if not (1 <= month <= 12 and year >= 1 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    if not (hour < 24 and minute < 60 and second <= 60):  # 60: a leap second (section 5.6)
        return None
    offset = int(offset_hours or 0) * 3600 + int(offset_minutes or 0) * 60
    if offset >= 24 * 3600 or int(offset_minutes or 0) >= 60:
        return None
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    seconds += offset if sign == "-" else -offset
    return seconds * SECOND + int(f"{(fraction or ''):0<9.9}")
