"""Durations, offsets and counts in words: short, one unit or two, never more digits than mean something.

Digits are cut, not rounded, so that 59.999 s never reads as 60 s. `static/wording.js` of the web UI is the twin of
`duration` for numbers that tick; a test compares the two.
"""

from typing import Final

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


def duration(ns: int, *, running: bool = False) -> str:
    """Return `640 µs`, `6.4 ms`, `38.64 s`, `1 m 04 s`, `2 h 13 m` or `3 d 4 h`; below 0 counts as 0.

    `running`: seconds with three digits at most, since the number ticks.
    """
    ns = max(ns, 0)
    if ns < MICROSECOND:
        return f"{ns} ns" if ns else "0 s"
    if ns < MILLISECOND:
        return _one_decimal(ns, MICROSECOND, "µs")
    if ns < SECOND:
        return _one_decimal(ns, MILLISECOND, "ms")
    if ns < MINUTE:
        hundredths = ns // (SECOND // 100)
        if running and hundredths >= 1_000:
            return f"{hundredths // 100}.{hundredths // 10 % 10} s"
        return f"{hundredths // 100}.{hundredths % 100:02} s"
    if ns < HOUR:
        return f"{ns // MINUTE} m {ns % MINUTE // SECOND:02} s"
    if ns < DAY:
        return f"{ns // HOUR} h {ns % HOUR // MINUTE:02} m"
    return f"{count(ns // DAY)} d {ns % DAY // HOUR} h"


def _one_decimal(ns: int, unit: int, name: str) -> str:
    if ns >= 10 * unit:
        return f"{ns // unit} {name}"
    tenths = ns * 10 // unit
    return f"{tenths // 10}.{tenths % 10} {name}"


def offset(ns: int, total_ns: int) -> str:
    """Return when something happened on an axis of `total_ns`: `+23.612 s`, or `+4.612 ms` where all is that short."""
    sign = "\N{MINUS SIGN}" if ns < 0 else "+"
    unit, name = (SECOND, "s") if total_ns >= SECOND else (MILLISECOND, "ms")
    thousandths = abs(ns) * 1_000 // unit
    return f"{sign}{thousandths // 1_000:,}.{thousandths % 1_000:03} {name}"


def count(number: int) -> str:
    """Return `1,431`."""
    return f"{number:,}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `1 span` or `2 spans`."""
    return f"{count(number)} {noun if number == 1 else plural or noun + 's'}"


def age(ns: int) -> str:
    """Return how long ago something was, in one unit: `47 s ago`, `3 min ago`, `2 h ago`, `5 d ago`."""
    if ns < SECOND:
        return "now"
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if ns >= unit:
            return f"{count(ns // unit)} {name} ago"
    return f"{ns // SECOND} s ago"
