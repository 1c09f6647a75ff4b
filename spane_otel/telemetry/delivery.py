"""From the buffer to the sink: batches, ticks, heartbeats. Runs in the worker's event loop."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from msgspec import Struct
from opentelemetry.sdk.trace import ReadableSpan

from spane_otel.records import HEARTBEAT_SECONDS, Batch, WriteResult
from spane_otel.stores.protocols import TelemetrySink
from spane_otel.telemetry.buffer import Buffer, Item, signal_of
from spane_otel.telemetry.open_spans import OpenSpans
from spane_otel.telemetry.persistence import GaveUpError, Persistence, RefusedError, RetryPace, SinkSource
from spane_otel.telemetry.rows import RowMaker

BATCH_ITEMS: Final = 512

_log: Final = logging.getLogger(__name__)


class Pace(Struct, frozen=True):
    """How often, in seconds."""

    tick: float = 0.2
    """Between an item's end and its delivery at most, while the sink answers."""
    heartbeat: float = HEARTBEAT_SECONDS
    retry: RetryPace = RetryPace()


class Delivery:
    """Writes what the buffer holds to a sink, batch by batch, in order, until it is told to stop."""

    def __init__(
        self,
        source: SinkSource,
        buffer: Buffer,
        open_spans: OpenSpans,
        process_id: str,
        pace: Pace,
    ) -> None:
        self._buffer: Final = buffer
        self._counters: Final = buffer.counters
        self._open_spans: Final = open_spans
        self._process_id: Final = process_id
        self._pace: Final = pace
        self._rows: Final = RowMaker(process_id)
        self._wake: Final = asyncio.Event()
        self._persistence: Final = Persistence(source, pace.retry, self._wake)
        self._next_tick = 0.0
        self._next_heartbeat = 0.0
        self._has_said_refused = False
        self.wake_at = 0
        """As soon as this many items wait, whoever puts one calls `wake`; 0: nobody needs to."""

    def wake(self) -> None:
        """Look again at what there is to do; called in the loop."""
        self._wake.set()

    def stop(self, deadline: float) -> None:
        """Write what waits, give up at `deadline` (of `time.monotonic`); `wake` makes it noticed at once."""
        self._persistence.deadline = deadline

    @property
    def has_delivered(self) -> bool:
        """Whether the sink has ever answered."""
        return self._persistence.has_succeeded

    async def run(self) -> None:
        """Deliver until stopped and nothing waits, or until the deadline has passed; what is open then is announced."""
        persistence = self._persistence
        self._next_tick = time.monotonic() + self._pace.tick
        while persistence.deadline is None or (self._has_work() and not persistence.is_late()):
            await self._wait_for_work()
            await self._deliver_once()
        self._buffer.drop_rest()
        self._buffer.arm_flushes()
        self._buffer.end_flushes()

    async def close(self) -> None:
        """Release the sink's connections."""
        await self._persistence.close()

    async def _wait_for_work(self) -> None:
        """Return at a tick if something waits, at a heartbeat, or at once if a batch is full or somebody waits."""
        while True:
            self._wake.clear()
            now = time.monotonic()
            if self._buffer.flushes or self._persistence.deadline is not None or now >= self._next_heartbeat:
                break
            is_idle = self._is_idle()
            self.wake_at = 1 if is_idle else BATCH_ITEMS
            if is_idle and not self._is_idle():
                continue  # something came between the look and the wish to be woken
            if len(self._buffer) >= BATCH_ITEMS:
                break
            until = self._next_heartbeat if is_idle else min(self._next_tick, self._next_heartbeat)
            if now >= until:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), until - now)
            if is_idle:
                self._next_tick = time.monotonic() + self._pace.tick
        self.wake_at = 0

    def _has_work(self) -> bool:
        return bool(self._buffer.unsettled or self._open_spans.has_fresh)

    def _is_idle(self) -> bool:
        return not len(self._buffer) and not self._open_spans.has_fresh

    async def _deliver_once(self) -> None:
        """Write one batch with all that is due: announcements at a tick, our heartbeat."""
        now = time.monotonic()
        is_tick = now >= self._next_tick or self._buffer.flushes or self._persistence.deadline is not None
        if is_tick:
            self._next_tick = now + self._pace.tick
            self._buffer.arm_flushes()
        items = self._buffer.take(BATCH_ITEMS)
        try:
            lost = await self._write_items(items, is_tick=is_tick, is_heartbeat=now >= self._next_heartbeat)
        except Exception:  # noqa: BLE001 - the worker goes on, whatever happens
            _log.exception("a batch could not be delivered")
            lost = len(items)
            for item in items:
                self._counters.add(signal_of(item), "rejected", 1, "internal")
        self._buffer.settle(len(items), lost)
        self._buffer.end_flushes()

    async def _write_items(self, items: list[Item], *, is_tick: bool, is_heartbeat: bool) -> int:
        """Write `items` and what is due; return how much was lost."""
        announced = await self._take_announcements() if is_tick else []
        self._counters.add("spans", "accepted", len(announced))
        batch, failed = self._rows.make_batch(items, announced)
        for signal in failed:
            self._counters.add(signal, "rejected", 1, "unconvertible")
        if is_heartbeat:
            batch.heartbeats.append(self._process_id)
        lost = await self._write(batch) if batch.spans or batch.logs or batch.heartbeats else 0
        if is_heartbeat:
            self._next_heartbeat = time.monotonic() + self._pace.heartbeat
        return lost + len(failed)

    async def _take_announcements(self) -> list[ReadableSpan]:
        if not self._open_spans.has_fresh:
            return []
        try:
            announces = await self._persistence.repeat(_announces)
        except (RefusedError, GaveUpError):
            announces = False
        fresh = self._open_spans.take_fresh()
        return fresh if announces else []

    async def _write(self, batch: Batch) -> int:
        """Write a batch; return how many of its rows were lost. One that is refused is written in halves."""
        try:
            result = await self._persistence.repeat(lambda sink: sink.write(batch))
        except GaveUpError:
            self._counters.add("spans", "dropped", len(batch.spans), "shutdown")
            self._counters.add("logs", "dropped", len(batch.logs), "shutdown")
            return len(batch.spans) + len(batch.logs)
        except RefusedError as error:
            if len(batch.spans) + len(batch.logs) > 1:
                return sum([await self._write(half) for half in _halves(batch)])
            self._refused(str(error))
            self._counters.add("spans", "rejected", len(batch.spans), "refused")
            self._counters.add("logs", "rejected", len(batch.logs), "refused")
            return len(batch.spans) + len(batch.logs)
        self._count(result)
        return len(result.rejected)

    def _count(self, result: WriteResult) -> None:
        add = self._counters.add
        add("spans", "stored", result.spans_stored)
        add("logs", "stored", result.logs_stored)
        add("spans", "duplicates", result.spans_duplicate)
        add("logs", "duplicates", result.logs_duplicate)
        for rejection in result.rejected:
            add(rejection.signal, "rejected", 1, rejection.reason)
        if result.rejected:
            self._refused(result.rejected[0].detail or result.rejected[0].reason)

    def _refused(self, detail: str) -> None:
        if not self._has_said_refused:
            self._has_said_refused = True
            _log.warning("some spans or logs can't be stored; from now on they are only counted: %s", detail)


async def _announces(sink: TelemetrySink) -> bool:
    """Whether open spans make sense to this sink: to every store; a remote one asks its peer."""
    ask = getattr(sink, "announces", None)
    return True if ask is None else bool(await ask())


def _halves(batch: Batch) -> list[Batch]:
    """Return two batches that hold the rows of `batch`."""
    spans, logs = len(batch.spans) // 2, len(batch.logs) // 2
    if len(batch.spans) == 1 and len(batch.logs) == 1:
        spans = 1
    parts = ((batch.spans[:spans], batch.logs[:logs]), (batch.spans[spans:], batch.logs[logs:]))
    return [
        Batch(spans=some_spans, logs=some_logs, resources=batch.resources, scopes=batch.scopes)
        for some_spans, some_logs in parts
        if some_spans or some_logs
    ]
