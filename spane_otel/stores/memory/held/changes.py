"""What was written within the last hour, each change once at its latest place."""

import secrets
from typing import Final

from msgspec import Struct

from spane_otel.clock import SECOND
from spane_otel.records import Change
from spane_otel.stores.cursors import decode_cursor, encode_cursor

KEPT_NS: Final = 3_600 * SECOND
MOST: Final = 100_000
"""So many changes are kept at most; whoever has not seen those that went is told of all that is held."""


class Place(Struct, frozen=True):
    """A place in the feed: the number of the last change seen, and when it was looked at."""

    number: int
    at_ns: int


class Changes:
    """A feed without gaps: a change that comes again moves to the end, so the feed is as long as what it names."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._epoch = secrets.randbits(62)
        self._number = 0
        self._lost = 0
        """The number of the last change that went before its hour was over."""
        self._changes: dict[Change, Place] = {}

    def add(self, change: Change, now_ns: int) -> None:
        """Append `change` and let go of what is older than an hour."""
        self._changes.pop(change, None)
        self._number += 1
        self._changes[change] = Place(self._number, now_ns)
        while (oldest := next(iter(self._changes))) != change and self._changes[oldest].at_ns < now_ns - KEPT_NS:
            del self._changes[oldest]
        if len(self._changes) > self._most:
            self._lost = self._changes.pop(next(iter(self._changes))).number

    def has_lost(self, place: Place) -> bool:
        """Whether changes after `place` went before their hour was over."""
        return place.number < self._lost

    def since(self, place: Place) -> list[Change]:
        """Return what came after `place`, oldest first."""
        found: list[Change] = []
        for change, at in reversed(self._changes.items()):
            if at.number <= place.number:
                break
            found.append(change)
        return found[::-1]

    def cursor(self, now_ns: int) -> str:
        """Return the cursor of the present."""
        return encode_cursor(self._epoch, self._number, now_ns)

    def place_of(self, cursor: str) -> Place:
        """Return the place of a cursor; one of another store's life stands before everything.

        Raises:
            InvalidValueError: it is not one of ours.

        """
        epoch, number, at_ns = decode_cursor(cursor, int, int, int)
        return Place(number, at_ns) if epoch == self._epoch else Place(0, 0)
