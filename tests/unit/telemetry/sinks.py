"""Sinks for tests: one that records, and others that misbehave."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from spane_otel.records import Batch, LogRow, Rejection, SpanRow, WriteResult


class RecordingSink:
    """Takes everything and remembers it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.closed = 0

    async def write(self, batch: Batch) -> WriteResult:
        self.batches.append(batch)
        return WriteResult(spans_stored=len(batch.spans), logs_stored=len(batch.logs))

    async def aclose(self) -> None:
        self.closed += 1

    @property
    def spans(self) -> list[SpanRow]:
        return [span for batch in self.batches for span in batch.spans]

    @property
    def logs(self) -> list[LogRow]:
        return [record for batch in self.batches for record in batch.logs]

    @property
    def heartbeats(self) -> list[str]:
        return [process_id for batch in self.batches for process_id in batch.heartbeats]

    def span(self, name: str) -> SpanRow:
        """Return the one ended span of this name."""
        (found,) = [span for span in self.spans if span.name == name and span.end_ns is not None]
        return found

    def names(self) -> Counter[str]:
        """Return how often a span of each name was written, open or ended."""
        return Counter(span.name for span in self.spans)


class FailingSink(RecordingSink):
    """Raises what `fail` returns for a batch, if it returns anything; `attempts` counts every call."""

    def __init__(self, fail: Callable[[Batch], BaseException | None]) -> None:
        super().__init__()
        self.fail = fail
        self.attempts = 0

    async def write(self, batch: Batch) -> WriteResult:
        self.attempts += 1
        error = self.fail(batch)
        if error is not None:
            raise error
        return await super().write(batch)


class GatedSink(RecordingSink):
    """Holds each batch until `gate` is set; `is_writing` says that one is held."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.is_writing = threading.Event()

    async def write(self, batch: Batch) -> WriteResult:
        self.is_writing.set()
        while not self.gate.is_set():  # noqa: ASYNC110 - it is set by another thread
            await asyncio.sleep(0.002)
        return await super().write(batch)


class HangingSink(RecordingSink):
    """Never answers."""

    async def write(self, batch: Batch) -> WriteResult:
        await asyncio.Event().wait()
        return await super().write(batch)


class BlockingSink(RecordingSink):
    """Holds the worker's thread itself until `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    async def write(self, batch: Batch) -> WriteResult:
        await asyncio.sleep(0)
        self.gate.wait(20)
        return await super().write(batch)


class ChoosySink(RecordingSink):
    """Rejects spans of the name `bad`, one by one, as a store does."""

    async def write(self, batch: Batch) -> WriteResult:
        rejected = [
            Rejection("spans", index, "start_out_of_window")
            for index, span in enumerate(batch.spans)
            if span.name == "bad"
        ]
        result = await super().write(batch)
        result.spans_stored -= len(rejected)
        result.rejected = rejected
        return result


def attributes_of(row: SpanRow | LogRow) -> dict[str, Any]:
    """Return a row's attributes."""
    decoded: dict[str, Any] = msgspec.json.decode(row.attributes)
    return decoded


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once `condition` holds; fail if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
