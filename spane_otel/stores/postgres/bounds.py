"""Numbers from outside, kept within what a column compares with."""

from typing import Final

_LEAST: Final = -(2**63)
_GREATEST: Final = 2**63 - 1


def bounded_ns(value: int | None) -> int | None:
    """Return a time as a 64-bit integer: one beyond stands for the end of time, which no row has."""
    return None if value is None else min(max(value, _LEAST), _GREATEST)


def bounded_offset(value: int) -> int:
    """Return how many rows to leave out as a 64-bit integer."""
    return min(value, _GREATEST)
