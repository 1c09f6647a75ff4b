"""The worker: bounded, honest, in order, and never in the way of the traced code."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, Tracer, TracerProvider

from spane_otel.errors import SchemaError, StoreError, StoreUnavailableError
from spane_otel.ids import new_process_id
from spane_otel.records import Batch, WriteResult
from spane_otel.stores.protocols import TelemetrySink
from spane_otel.telemetry.delivery import Pace
from spane_otel.telemetry.persistence import RetryPace, SinkSource
from spane_otel.telemetry.processor import DurableSpanProcessor
from spane_otel.telemetry.worker import Worker
from tests.unit.telemetry.sinks import (
    BlockingSink,
    ChoosySink,
    FailingSink,
    GatedSink,
    HangingSink,
    RecordingSink,
    wait_until,
)

NEVER = 3_600.0
QUICK = RetryPace(first_delay=0.001, longest_delay=0.002, unexpected_attempts=3)

MakeWorker = Callable[..., tuple[Worker, Tracer]]


@pytest.fixture
def make_worker() -> Iterator[MakeWorker]:
    """Make a worker on a sink, and a tracer whose spans it takes; by default it moves only when it is flushed."""
    workers: list[Worker] = []

    def make(
        sink: TelemetrySink,
        *,
        tick: float = NEVER,
        heartbeat: float = NEVER,
        retry: RetryPace = QUICK,
        limit: int = 20_000,
        born_ns: int = 0,
    ) -> tuple[Worker, Tracer]:
        pace = Pace(tick=tick, heartbeat=heartbeat, retry=retry)
        worker = Worker(SinkSource(lambda: sink), new_process_id(), pace=pace, limit=limit, born_ns=born_ns)
        workers.append(worker)
        provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
        provider.add_span_processor(DurableSpanProcessor(worker))
        tracer = provider.get_tracer("tests")
        assert isinstance(tracer, Tracer)
        return worker, tracer

    yield make
    for worker in workers:
        worker.stop(0.0)


def end_spans(tracer: Tracer, *names: str) -> None:
    for name in names:
        tracer.start_span(name).end()


def check_counts(worker: Worker) -> None:
    """Check that accepted = stored + rejected + dropped + buffered, and that what is buffered is in the buffer."""
    for signal in ("spans", "logs"):
        assert worker.counters.buffered(signal) >= 0
    assert worker.counters.buffered("spans") + worker.counters.buffered("logs") == worker.buffer.unsettled


def open_span(worker: Worker, tracer: Tracer, name: str) -> Span:
    span = tracer.start_span(name)
    assert isinstance(span, Span)
    worker.announce(span)
    return span


def test_a_flush_is_true_once_everything_before_it_is_written(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, *(str(number) for number in range(2_000)))
    assert worker.flush(10.0)
    assert [span.name for span in sink.spans] == [str(number) for number in range(2_000)]
    assert max(len(batch.spans) for batch in sink.batches) == 512
    assert worker.counters.get("spans", "stored") == 2_000
    check_counts(worker)


def test_what_ends_is_written_at_the_next_tick(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink, tick=0.01)
    end_spans(tracer, "one", "two")
    wait_until(lambda: len(sink.spans) == 2)
    end_spans(tracer, "three")
    wait_until(lambda: len(sink.spans) == 3)
    wait_until(lambda: worker.buffer.unsettled == 0)
    check_counts(worker)


def test_a_full_batch_does_not_wait_for_the_tick(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    _, tracer = make_worker(sink)
    end_spans(tracer, "first")
    wait_until(lambda: len(sink.spans) == 1)
    end_spans(tracer, *["x"] * 512)
    wait_until(lambda: len(sink.spans) == 513)


def test_a_flush_that_takes_too_long_is_false_in_time_and_a_later_one_true(make_worker: MakeWorker) -> None:
    sink = GatedSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, "one")
    began = time.monotonic()
    assert not worker.flush(0.1)
    assert 0.1 <= time.monotonic() - began < 0.35
    sink.gate.set()
    assert worker.flush(10.0)
    assert sink.names() == {"one": 1}


async def test_aflush_lets_the_loop_go_on_and_may_be_cancelled(make_worker: MakeWorker) -> None:
    sink = GatedSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, "one")
    assert not await worker.aflush(0.05)
    task = asyncio.create_task(worker.aflush(10.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    sink.gate.set()
    assert await worker.aflush(10.0)


def test_what_ends_during_a_flush_need_not_be_written_for_it_to_be_true(make_worker: MakeWorker) -> None:
    sink = GatedSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, "before")
    assert sink.is_writing.wait(10)
    flush = worker.begin_flush()
    assert flush is not None
    end_spans(tracer, *["after"] * 600)
    sink.gate.set()
    assert flush.future.result(10)
    assert worker.flush(10)
    assert sink.names() == {"before": 1, "after": 600}


def test_a_flush_of_nothing_is_true_at_once_and_starts_no_thread(make_worker: MakeWorker) -> None:
    worker, _ = make_worker(HangingSink())
    assert worker.flush(0.0)
    assert worker._thread is None


def test_the_newest_is_dropped_when_the_buffer_is_full_and_said_once(
    make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    sink = GatedSink()
    worker, tracer = make_worker(sink, limit=10)
    end_spans(tracer, "first")
    assert sink.is_writing.wait(10)
    end_spans(tracer, *(str(number) for number in range(20)))
    assert worker.counters.get("spans", "accepted") == 21
    assert worker.counters.get("spans", "dropped", "buffer_full") == 11
    check_counts(worker)
    sink.gate.set()
    assert not worker.flush(10.0), "what was lost since the last flush makes it false"
    assert [span.name for span in sink.spans] == ["first", *(str(number) for number in range(9))]
    end_spans(tracer, "again")
    assert worker.flush(10.0), "nothing was lost since the flush before"
    check_counts(worker)
    assert [record.message for record in caplog.records] == [
        "10 spans and logs wait to be written: until there is room, new ones are dropped"
    ]


def test_ending_a_span_takes_no_time_while_the_sink_hangs(make_worker: MakeWorker) -> None:
    sink = BlockingSink()
    worker, tracer = make_worker(sink, limit=1_000)
    end_spans(tracer, "first")
    costs = []
    for _ in range(2_000):
        span = tracer.start_span("x")
        began = time.perf_counter()
        span.end()
        costs.append(time.perf_counter() - began)
    assert sorted(costs)[len(costs) // 2] < 100e-6
    assert worker.buffer.unsettled == 1_000
    sink.gate.set()


def test_a_sink_that_is_unavailable_is_tried_until_it_answers(
    make_worker: MakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([StoreUnavailableError("down")] * 7 + [OSError("reset"), TimeoutError(), SchemaError("migrate")])
    sink = FailingSink(lambda _: next(failures, None))
    worker, tracer = make_worker(sink)
    end_spans(tracer, "one")
    wait_until(lambda: bool(sink.spans))
    assert worker.flush(10.0)
    assert sink.names() == {"one": 1}
    assert sink.attempts == 11
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["telemetry can't be written now, it is kept and tried again: down"]


def test_a_flush_does_not_wait_for_the_end_of_a_pause(make_worker: MakeWorker) -> None:
    available = threading.Event()
    sink = FailingSink(lambda _: None if available.is_set() else StoreUnavailableError("down"))
    worker, tracer = make_worker(sink, retry=RetryPace(first_delay=NEVER, longest_delay=NEVER))
    end_spans(tracer, "one")
    assert not worker.flush(0.05)
    available.set()
    assert worker.flush(10.0)


def test_a_sink_says_itself_when_to_try_again(make_worker: MakeWorker) -> None:
    def fail(_: Batch) -> BaseException | None:
        if sink.attempts > 1:
            return None
        error = StoreUnavailableError("busy")
        error.retry_after = 0.2
        return error

    sink = FailingSink(fail)
    worker, tracer = make_worker(sink)
    began = time.monotonic()
    end_spans(tracer, "one")
    assert worker.flush(10.0)
    assert time.monotonic() - began >= 0.2


def test_a_batch_that_is_refused_is_written_in_halves_and_the_bad_one_alone_is_lost(make_worker: MakeWorker) -> None:
    def fail(batch: Batch) -> BaseException | None:
        return StoreError("poison") if any(span.name == "bad" for span in batch.spans) else None

    sink = FailingSink(fail)
    worker, tracer = make_worker(sink)
    end_spans(tracer, *["good"] * 40, "bad", *["good"] * 59)
    assert not worker.flush(10.0)
    assert sink.names() == {"good": 99}
    assert worker.counters.get("spans", "rejected", "refused") == 1
    assert worker.counters.get("spans", "stored") == 99
    check_counts(worker)


def test_an_error_that_no_store_should_raise_counts_as_a_refusal_after_a_few_attempts(make_worker: MakeWorker) -> None:
    sink = FailingSink(lambda batch: RuntimeError("a bug") if batch.spans else None)
    worker, tracer = make_worker(sink)
    end_spans(tracer, "one")
    assert not worker.flush(10.0)
    assert worker.counters.get("spans", "rejected", "refused") == 1
    check_counts(worker)


def test_a_row_that_the_store_rejects_is_counted_and_makes_the_flush_false(make_worker: MakeWorker) -> None:
    sink = ChoosySink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, "good", "bad", "good")
    assert not worker.flush(10.0)
    assert worker.counters.get("spans", "rejected", "start_out_of_window") == 1
    assert worker.counters.get("spans", "stored") == 2
    assert worker.flush(10.0)
    check_counts(worker)


def test_a_span_that_can_not_be_converted_costs_only_itself(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, "one")
    worker.put(ReadableSpan("broken"))
    end_spans(tracer, "two")
    assert not worker.flush(10.0)
    assert sink.names() == {"one": 1, "two": 1}
    assert worker.counters.get("spans", "rejected", "unconvertible") == 1
    check_counts(worker)


def test_a_sink_that_hangs_is_given_up_for_this_time(make_worker: MakeWorker) -> None:
    sink = HangingSink()
    worker, tracer = make_worker(sink, retry=RetryPace(attempt_timeout=0.05, first_delay=0.001))
    end_spans(tracer, "one")
    assert not worker.flush(0.3)
    assert worker.buffer.unsettled == 1


def test_a_span_that_is_open_at_a_tick_is_announced_once_and_its_end_wins(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink, tick=0.01)
    span = open_span(worker, tracer, "long")
    wait_until(lambda: bool(sink.spans))
    (announced,) = sink.spans
    assert announced.end_ns is None
    assert announced.revision == 1
    assert announced.process_id == worker.process_id
    end_spans(tracer, "other")
    wait_until(lambda: sink.names()["other"] == 1)
    assert sink.names()["long"] == 1
    span.end()
    assert worker.flush(10.0)
    assert sink.names()["long"] == 2
    assert sink.span("long").end_ns is not None
    assert worker.counters.get("spans", "accepted") == 3
    check_counts(worker)


def test_a_flush_announces_what_is_open(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink)
    open_span(worker, tracer, "long")
    assert worker.flush(10.0)
    assert sink.names() == {"long": 1}


def test_a_short_span_is_never_written_twice(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink)
    for _ in range(100):
        open_span(worker, tracer, "short").end()
    assert worker.flush(10.0)
    assert sink.names() == {"short": 100}


class DeafSink(RecordingSink):
    """A collector that is not ours."""

    async def announces(self) -> bool:
        return False


def test_a_sink_that_does_not_know_open_spans_gets_none(make_worker: MakeWorker) -> None:
    sink = DeafSink()
    worker, tracer = make_worker(sink)
    span = open_span(worker, tracer, "long")
    assert worker.flush(10.0)
    assert sink.spans == []
    span.end()
    assert worker.flush(10.0)
    assert sink.names() == {"long": 1}
    check_counts(worker)


def test_the_process_says_that_it_is_alive_even_when_nothing_happens(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink, heartbeat=0.02)
    end_spans(tracer, "one")
    wait_until(lambda: len(sink.heartbeats) > 3)
    assert set(sink.heartbeats) == {worker.process_id}


def test_a_stop_writes_what_is_left_and_later_spans_are_counted_as_dropped(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, *["x"] * 1_500)
    assert worker.stop(10.0) == 0
    assert sink.names() == {"x": 1_500}
    assert sink.closed == 1
    end_spans(tracer, "late")
    assert worker.counters.get("spans", "dropped", "shutdown") == 1
    assert not worker.flush(1.0)
    check_counts(worker)


def test_a_stop_takes_no_longer_than_it_may_and_says_how_much_is_left(make_worker: MakeWorker) -> None:
    sink = FailingSink(lambda _: StoreUnavailableError("down"))
    worker, tracer = make_worker(sink)
    end_spans(tracer, *["x"] * 700)
    began = time.monotonic()
    assert worker.stop(0.2) == 700
    assert time.monotonic() - began < 1.0
    wait_until(lambda: worker.is_finished)
    assert worker.counters.get("spans", "dropped", "shutdown") == 700
    check_counts(worker)


def test_a_stop_does_not_wait_for_a_sink_that_blocks_the_thread(make_worker: MakeWorker) -> None:
    sink = BlockingSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, "one")
    began = time.monotonic()
    assert worker.stop(0.2) == 1
    assert time.monotonic() - began < 1.0
    sink.gate.set()


def test_spans_of_the_workers_own_thread_are_no_telemetry(make_worker: MakeWorker) -> None:
    """A driver that is instrumented would otherwise make a span of each write, for ever."""

    class InstrumentedSink(RecordingSink):
        async def write(self, batch: Batch) -> WriteResult:
            end_spans(tracer, "INSERT")
            return await super().write(batch)

    sink = InstrumentedSink()
    worker, tracer = make_worker(sink)
    end_spans(tracer, "one")
    assert worker.flush(10.0)
    assert sink.names() == {"one": 1}
    assert worker.counters.get("spans", "accepted") == 1


def test_what_began_before_a_fork_is_the_parents_to_write(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink, born_ns=time.time_ns())
    tracer.start_span("parent's", start_time=1).end()
    end_spans(tracer, "own")
    assert worker.flush(10.0)
    assert sink.names() == {"own": 1}
    assert worker.counters.get("spans", "dropped", "before_fork") == 1
    check_counts(worker)


def test_many_threads_lose_nothing(make_worker: MakeWorker) -> None:
    sink = RecordingSink()
    worker, tracer = make_worker(sink, tick=0.001)
    threads = [threading.Thread(target=end_spans, args=(tracer, *[str(number)] * 300)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worker.flush(10.0)
    assert sink.names() == {str(number): 300 for number in range(8)}
    check_counts(worker)
