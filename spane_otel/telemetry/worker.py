"""The one background thread of this process: an event loop of its own, in which everything is written."""

import asyncio
import encodings.idna  # noqa: F401 - resolving a name loads it, in a thread: a fork at that moment would break it
import logging
import socket
import sys
import threading
import time
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry.sdk.trace import ReadableSpan

from spane_otel.counters import Counters
from spane_otel.telemetry.buffer import BUFFER_ITEMS, Buffer, Flush, Item
from spane_otel.telemetry.delivery import Delivery, Pace
from spane_otel.telemetry.open_spans import OpenSpans
from spane_otel.telemetry.persistence import SHUTDOWN_SECONDS, SinkSource

_log: Final = logging.getLogger(__name__)


class WorkerLoop(asyncio.SelectorEventLoop):
    """Resolves names in its own thread.

    asyncio hands that to an executor, which refuses once the interpreter exits: the last flush could not connect.
    """

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        return socket.getaddrinfo(host, port, **options)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        return socket.getnameinfo(sockaddr, flags)


class Worker:
    """Buffers what ends and writes it from a thread that starts with the first item. Nothing here waits but `flush`."""

    def __init__(
        self,
        source: SinkSource,
        process_id: str,
        *,
        counters: Counters | None = None,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
        limit: int = BUFFER_ITEMS,
        born_ns: int = 0,
    ) -> None:
        self.process_id: Final = process_id
        self.counters: Final = Counters() if counters is None else counters
        self.buffer: Final = Buffer(self.counters, limit)
        self.open_spans: Final = OpenSpans()
        self.born_ns: Final = born_ns
        """When this process was forked off: what started before is the parent's to write."""
        self._delivery: Final = Delivery(source, self.buffer, self.open_spans, process_id, pace)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished = threading.Event()

    def put(self, item: Item) -> None:
        """Take what has ended; what the worker's own thread makes is no telemetry of the program's."""
        try:
            if threading.current_thread() is not self._thread and self.buffer.put(item):
                self._nudge(len(self.buffer))
        except Exception:  # noqa: BLE001 - nothing of ours reaches the traced code
            _log.exception("a span or a log record could not be taken")

    def announce(self, span: ReadableSpan) -> None:
        """Take what has started: it is written at the next tick, should it still be open."""
        self.open_spans.add(span)
        self._nudge(1)

    def flush(self, timeout: float) -> bool:
        """Return True once everything put before is committed; False when time is up, or some of it was lost."""
        flush = self.begin_flush()
        if flush is None:
            return True
        try:
            return flush.future.result(timeout)
        except TimeoutError:
            return False
        finally:
            self.buffer.forget_flush(flush)

    async def aflush(self, timeout: float) -> bool:
        """Do what `flush` does, from another event loop."""
        flush = self.begin_flush()
        if flush is None:
            return True
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(flush.future)
        except TimeoutError:
            return False
        finally:
            self.buffer.forget_flush(flush)

    def begin_flush(self) -> Flush | None:
        """Return a flush, its future still open; None if there is nothing to wait for."""
        if self._thread is None and not self.buffer.unsettled and not self.open_spans.has_fresh:
            return None
        flush = self.buffer.add_flush()
        if threading.current_thread() is self._thread:
            flush.answer(False)
        self._nudge(sys.maxsize)
        if self._finished.is_set():
            self._end_flushes()
        return flush

    def stop(self, timeout: float) -> int:
        """Write what waits, for at most `timeout` seconds; return how much was left. Later items are dropped."""
        self.begin_stop(timeout)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._finished.wait(timeout + 0.25)
        return self.remaining()

    def begin_stop(self, timeout: float) -> None:
        """Begin what `stop` does, without waiting."""
        self.buffer.close()
        self._delivery.stop(time.monotonic() + timeout)
        if self.buffer.unsettled or self._thread is not None:
            self._nudge(sys.maxsize)

    def remaining(self) -> int:
        """Return how many items were not written when the worker stopped, or are not yet."""
        return self.buffer.unsettled + sum(
            self.counters.get(signal, "dropped", "shutdown") for signal in ("spans", "logs")
        )

    @property
    def has_delivered(self) -> bool:
        """Whether the sink has ever answered."""
        return self._delivery.has_delivered

    @property
    def is_finished(self) -> bool:
        """Whether the thread has ended, or never began and never needs to."""
        return self._finished.is_set() or (self._thread is None and not self.buffer.unsettled)

    def _end_flushes(self) -> None:
        """Answer the flushes that came too late for the thread."""
        self.buffer.arm_flushes()
        self.buffer.end_flushes()

    def _nudge(self, count: int) -> None:
        """Wake the thread if it sleeps until `count` items wait; start it if there is none."""
        if self._thread is None:
            self._start()
            return
        loop = self._loop
        if loop is None or (count != sys.maxsize and not 0 < self._delivery.wake_at <= count):
            return
        self._delivery.wake_at = 0
        try:
            loop.call_soon_threadsafe(self._delivery.wake)
        except RuntimeError:  # the loop has ended; `put` counts what comes too late
            return

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._main, name="spane-otel", daemon=True)
            self._thread = thread
            try:
                thread.start()
                _stop_with_multiprocessing(self)
            except RuntimeError as error:  # no more threads now, or never again: the interpreter ends
                self._thread = None
                _log.warning("telemetry can't be written: %s", error)

    def _main(self) -> None:
        context_api.attach(context_api.set_value(context_api._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001 - the SDK's own processors do the same
        try:
            with asyncio.Runner(loop_factory=WorkerLoop) as runner:
                runner.run(self._run())
        except BaseException:  # noqa: BLE001 - a thread has nobody to raise to
            _log.exception("the telemetry worker has ended")
        finally:
            self._finished.set()
            self._end_flushes()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._delivery.run()
        await self._delivery.close()


def _stop_with_multiprocessing(worker: Worker) -> None:
    """Let a process of `multiprocessing` write what is left: it ends without the functions of `atexit`."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, worker.stop, args=(SHUTDOWN_SECONDS,), exitpriority=0)
