"""All that records one process: providers, processors, the worker, the log handler, forward targets."""

import logging
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk.resources import SERVICE_VERSION
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Tracer

from spane_otel.ids import new_process_id
from spane_otel.telemetry.attachment import attached_logs, attached_spans
from spane_otel.telemetry.delivery import Pace
from spane_otel.telemetry.log_handler import ExecutionLogHandler
from spane_otel.telemetry.persistence import SinkSource
from spane_otel.telemetry.processor import DurableLogRecordProcessor, DurableSpanProcessor
from spane_otel.telemetry.providers import logger_provider, private_providers, tracer_provider
from spane_otel.telemetry.severity import name_of_severity, severity_of_level
from spane_otel.telemetry.worker import Worker
from spane_otel.version import __version__

if TYPE_CHECKING:
    from spane_otel.telemetry.forward_target import ForwardTarget

SCOPE_NAME: Final = "spane_otel"
"""The instrumentation scope of executions, nodes and `log`."""


FORWARD_SECONDS: Final = 3.0
"""A forward target that does not answer delays the end of the program by no more than this."""

_LEFT_ALONE: Final[list[Worker]] = []
"""The workers of parents. Collecting one would close connections and touch a selector that the parent still uses."""


class Pipeline:
    """Records what this process does. `attach` puts it in place, `detach` takes it out; `stop` writes what is left."""

    def __init__(
        self,
        source: SinkSource,
        *,
        service_name: str | None = None,
        forward: Iterable[str] = (),
        log_level: int = logging.NOTSET,
        pace: Pace = Pace(),  # noqa: B008 - it is frozen
        process_id: str | None = None,
        is_private: bool = False,
    ) -> None:
        """With `is_private`, record only what runs in a context of `with_recorder`, and set up no global provider."""
        self._source: Final = source
        self._pace: Final = pace
        self.worker = Worker(source, process_id or new_process_id(), pace=pace)
        """Another one after a fork."""
        self._targets: Final = _targets(forward)
        if is_private:
            provider, self._loggers = private_providers(service_name)
        else:
            provider = tracer_provider(service_name)
            self._loggers = logger_provider(provider.resource)
        self._spans: Final = attached_spans(provider)
        self._logs: Final = attached_logs(self._loggers)
        self._span_processor: Final = DurableSpanProcessor(self.worker)
        self._log_processor: Final = DurableLogRecordProcessor(self.worker)
        self._handler: Final = ExecutionLogHandler(self._loggers, log_level, recorder=self)
        self._logger: Final = self._loggers.get_logger(SCOPE_NAME, __version__)
        self.tracer: Final[Tracer] = provider.get_tracer(SCOPE_NAME, __version__)
        version = provider.resource.attributes.get(SERVICE_VERSION)
        self.version_label: Final = str(version) if version else None

    def attach(self) -> None:
        """Begin to record."""
        self._spans.processors = (self._span_processor, *(target.span_processor for target in self._targets))
        self._logs.processors = (self._log_processor, *(target.log_processor for target in self._targets))

    def detach(self) -> None:
        """Record nothing more; what is buffered stays."""
        logging.root.removeHandler(self._handler)
        self._spans.processors = ()
        self._logs.processors = ()

    def announce(self, span: trace.Span) -> None:
        if self._handler not in logging.root.handlers and not _has_handler_of_the_sdk():
            # As late as this, so that `logging.basicConfig` after `configure` still finds nothing configured; and again
            # after `logging.config` has thrown it out.
            logging.root.addHandler(self._handler)
        if isinstance(span, ReadableSpan) and span.context is not None and span.context.trace_flags.sampled:
            self.worker.announce(span)

    def emit_log(self, message: str, level: str, attributes: dict[str, Any]) -> None:
        severity = severity_of_level(level)
        now = time.time_ns()
        self._logger.emit(
            LogRecord(
                timestamp=now,
                observed_timestamp=now,
                context=context_api.get_current(),
                severity_number=severity,
                severity_text=name_of_severity(severity),
                body=message,
                attributes=attributes,
            )
        )

    def begin_forward(self) -> None:
        """Make the forward targets send what they hold, without waiting for them."""
        for target in self._targets:
            target.begin_flush()

    def begin_stop(self, timeout: float) -> None:
        """Begin what `stop` does, without waiting."""
        self.worker.begin_stop(timeout)
        if self._targets:
            threading.Thread(target=self.stop, args=(timeout,), name="spane-otel-stop", daemon=True).start()

    def stop(self, timeout: float) -> int:
        """Write what is left, for at most `timeout` seconds in all; return how many spans and logs were not written."""
        deadline = time.monotonic() + timeout
        left = self.worker.stop(timeout)
        deadline = min(deadline, time.monotonic() + FORWARD_SECONDS)
        for target in self._targets:
            target.shutdown(deadline)
        return left

    def after_fork(self) -> None:
        """In a forked child: everything anew, the parent's worker kept and never touched."""
        _LEFT_ALONE.append(self.worker)
        self.worker = Worker(self._source, new_process_id(), pace=self._pace, born_ns=time.time_ns())
        self._span_processor.worker = self.worker
        self._log_processor.worker = self.worker


def _targets(urls: Iterable[str]) -> "list[ForwardTarget]":
    urls = list(urls)
    if not urls:
        return []
    from spane_otel.telemetry.forward_target import ForwardTarget  # noqa: PLC0415 - exporters load when needed

    return [ForwardTarget(url) for url in urls]


def _has_handler_of_the_sdk() -> bool:
    """Whether somebody has put OpenTelemetry's own handler on the root logger: its records reach us already."""
    return any(type(handler).__module__.startswith("opentelemetry.") for handler in logging.root.handlers)
