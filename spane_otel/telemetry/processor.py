"""The SDK's processors of ours: they stamp what starts inside an execution, and hand what ends to the worker."""

from itertools import count
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from spane_otel.mapping import EXECUTION_ID, LOG_RECORD_UID
from spane_otel.telemetry.context import scope_of
from spane_otel.telemetry.persistence import SHUTDOWN_SECONDS
from spane_otel.telemetry.worker import Worker


class DurableSpanProcessor(SpanProcessor):
    """Writes every sampled span through `worker`: `force_flush` is True only once what ended before is committed.

    `on_end` costs microseconds and never waits; when the worker's buffer is full the newest span is dropped and
    counted. Spans that start inside an execution or a node are stamped with it, whoever makes them.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        """Another one after a fork."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        scope = scope_of(parent_context)
        if scope is None or (span.parent is None and scope.node_id is None):
            # A span without a parent, stamped with an execution alone, would count as that execution's root.
            return
        attributes = span.attributes
        if not attributes or EXECUTION_ID not in attributes:
            span.set_attributes(scope.attributes)

    def on_end(self, span: ReadableSpan) -> None:
        worker = self.worker
        worker.open_spans.remove(span)
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if worker.born_ns and (span.start_time or 0) < worker.born_ns:
            worker.counters.add("spans", "accepted", 1)
            worker.counters.add("spans", "dropped", 1, "before_fork")
            return
        worker.put(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.worker.flush(timeout_millis / 1_000)

    def shutdown(self) -> None:
        """Flush, as long as that may take; the worker itself belongs to the pipeline, which may outlive a provider."""
        self.worker.flush(SHUTDOWN_SECONDS)


class DurableLogRecordProcessor(LogRecordProcessor):
    """Writes every log record through `worker`, stamped like spans and with a `log.record.uid` of its own."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._numbers: Final = count(1)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        record = log_record.log_record
        scope = scope_of(record.context)
        attributes: Any = record.attributes  # the SDK's own mapping, open until it is exported
        if scope is not None and EXECUTION_ID not in attributes:
            for key, value in scope.attributes.items():
                attributes[key] = value
        if LOG_RECORD_UID not in attributes:
            attributes[LOG_RECORD_UID] = f"{self.worker.process_id}:{next(self._numbers)}"
        self.worker.put(log_record)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.worker.flush(timeout_millis / 1_000)

    def shutdown(self) -> None:
        """As that of the spans' processor."""
        self.worker.flush(SHUTDOWN_SECONDS)
