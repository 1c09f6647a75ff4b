"""What has ended and is not yet committed: bounded, first in first out, and countable."""

import logging
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Final

from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan

from spane_otel.counters import Counters, Signal

BUFFER_ITEMS: Final = 20_000

Item = ReadableSpan | ReadWriteLogRecord

_log: Final = logging.getLogger(__name__)


def signal_of(item: Item) -> Signal:
    """Return what an item is counted as."""
    return "logs" if isinstance(item, ReadWriteLogRecord) else "spans"


class Buffer:
    """Takes items from any thread, gives them to one worker, and tells flushes when all before them met their fate.

    When `limit` items are neither written nor lost, the newest is dropped: the traced code never waits.
    """

    def __init__(self, counters: Counters, limit: int = BUFFER_ITEMS) -> None:
        self.counters: Final = counters
        self._limit: Final = limit
        self._items: deque[Item] = deque()
        self._lock = threading.Lock()
        self._put = 0
        self._settled = 0
        self._lost = 0
        self._lost_reported = 0
        self._flushes: list[Flush] = []
        self._is_closed = False
        self._has_warned = False

    def __len__(self) -> int:
        """How many items wait to be taken."""
        return len(self._items)

    @property
    def unsettled(self) -> int:
        """How many items wait, or are being written."""
        return self._put - self._settled

    def put(self, item: Item) -> bool:
        """Append `item`; return False if it was dropped, which is counted and said once."""
        signal = signal_of(item)
        with self._lock:
            self.counters.add(signal, "accepted", 1)
            if not self._is_closed and self._put - self._settled < self._limit:
                self._put += 1
                self._items.append(item)
                return True
            self._lost += 1
            self.counters.add(signal, "dropped", 1, "shutdown" if self._is_closed else "buffer_full")
            if self._is_closed or self._has_warned:
                return False
            self._has_warned = True
        _log.warning("%d spans and logs wait to be written: until there is room, new ones are dropped", self._limit)
        return False

    def take(self, limit: int) -> list[Item]:
        """Remove and return the oldest items, at most `limit`; each is settled later."""
        items = self._items
        return [items.popleft() for _ in range(min(limit, len(items)))]

    def settle(self, count: int, lost: int = 0) -> None:
        """Note that the oldest `count` items taken have met their fate; `lost` counts what was not stored."""
        with self._lock:
            self._settled += count
            self._lost += lost

    def close(self) -> None:
        """From now on items are dropped, and counted as such."""
        with self._lock:
            self._is_closed = True

    def drop_rest(self) -> int:
        """Drop what waits and return how much; what is being written is left alone."""
        rest = self.take(len(self._items))
        for item in rest:
            self.counters.add(signal_of(item), "dropped", 1, "shutdown")
        self.settle(len(rest), lost=len(rest))
        return len(rest)

    def add_flush(self) -> "Flush":
        """Return a flush of everything put so far."""
        with self._lock:
            flush = Flush(self._put, self._lost_reported)
            self._flushes.append(flush)
            return flush

    @property
    def flushes(self) -> bool:
        """Whether somebody waits for a flush."""
        return bool(self._flushes)

    def arm_flushes(self) -> None:
        """Note that what is taken and announced from now on covers the flushes that wait."""
        for flush in list(self._flushes):
            flush.is_armed = True

    def end_flushes(self) -> None:
        """Answer the armed flushes whose items have all met their fate."""
        with self._lock:
            done = [flush for flush in self._flushes if flush.is_armed and flush.until <= self._settled]
            if not done:
                return
            self._flushes = [flush for flush in self._flushes if flush not in done]
            lost, self._lost_reported = self._lost, self._lost
        for flush in done:
            flush.answer(lost == flush.lost_before)

    def forget_flush(self, flush: "Flush") -> None:
        """Note that nobody waits for `flush` any more."""
        with self._lock:
            if flush in self._flushes:
                self._flushes.remove(flush)


class Flush:
    """Somebody's wish to know when everything up to here is committed."""

    __slots__ = ("future", "is_armed", "lost_before", "until")

    def __init__(self, until: int, lost_before: int) -> None:
        self.until: Final = until
        self.lost_before: Final = lost_before
        self.is_armed = False
        self.future: Future[bool] = Future()

    def answer(self, committed: bool) -> None:
        with suppress(InvalidStateError):  # whoever waited has cancelled it
            self.future.set_result(committed)
