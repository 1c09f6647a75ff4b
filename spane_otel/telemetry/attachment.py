"""Our place in the providers: added once, since the SDK can't take a processor off, filled anew by each `configure`."""

from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider


class AttachedSpanProcessor(SpanProcessor):
    """Passes on to whatever processors are attached now."""

    def __init__(self) -> None:
        self.processors: tuple[SpanProcessor, ...] = ()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        for processor in self.processors:
            processor.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        for processor in self.processors:
            processor.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return all(processor.force_flush(timeout_millis) for processor in self.processors[:1])

    def shutdown(self) -> None:
        for processor in self.processors[:1]:  # the pipeline shuts the others down, in bounded time
            processor.shutdown()


class AttachedLogRecordProcessor(LogRecordProcessor):
    """Passes on to whatever processors are attached now."""

    def __init__(self) -> None:
        self.processors: tuple[LogRecordProcessor, ...] = ()

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        for processor in self.processors:
            processor.on_emit(log_record)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return all(processor.force_flush(timeout_millis) for processor in self.processors[:1])

    def shutdown(self) -> None:
        for processor in self.processors[:1]:
            processor.shutdown()


_SPANS: Final[WeakKeyDictionary[TracerProvider, AttachedSpanProcessor]] = WeakKeyDictionary()
_LOGS: Final[WeakKeyDictionary[LoggerProvider, AttachedLogRecordProcessor]] = WeakKeyDictionary()


def attached_spans(provider: TracerProvider) -> AttachedSpanProcessor:
    """Return our place in `provider`, taken when first asked for."""
    attached = _SPANS.get(provider)
    if attached is None:
        attached = _SPANS[provider] = AttachedSpanProcessor()
        provider.add_span_processor(attached)
    return attached


def attached_logs(provider: LoggerProvider) -> AttachedLogRecordProcessor:
    """Return our place in `provider`, taken when first asked for."""
    attached = _LOGS.get(provider)
    if attached is None:
        attached = _LOGS[provider] = AttachedLogRecordProcessor()
        provider.add_log_record_processor(attached)
    return attached
