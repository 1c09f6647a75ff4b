"""Where OTLP goes besides the store: the SDK's own exporters, in processors of their own."""

import logging
import threading
import time
from typing import Final

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_log: Final = logging.getLogger(__name__)


class ForwardTarget:
    """Sends what ends to one OTLP/HTTP endpoint, as well as the SDK can: nothing here delays or fails the store's path.

    What is forwarded is what the program recorded: no announcements, no process id.
    """

    def __init__(self, url: str) -> None:
        base = url.rstrip("/")
        self.span_processor: Final = BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces"))
        self.log_processor: Final = BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{base}/v1/logs"))
        self._lock = threading.Lock()
        self._wanted = 0
        self._is_flushing = False

    def begin_flush(self) -> None:
        """Send what waits now, without waiting for it: the SDK's `force_flush` knows no time-out."""
        with self._lock:
            self._wanted += 1
            if self._is_flushing:
                return
            try:
                threading.Thread(target=self._flush, name="spane-otel-forward", daemon=True).start()
                self._is_flushing = True
            except RuntimeError as error:  # no more threads: what waits goes out at the SDK's next interval
                _log.debug("a forward target was not flushed: %s", error)

    def shutdown(self, deadline: float) -> None:
        """Send what waits until about `deadline` (of `time.monotonic`), then stop."""
        for processor in (self.span_processor, self.log_processor):
            batches = getattr(processor, "_batch_processor", None)
            try:
                if batches is not None:
                    batches.shutdown(
                        timeout_millis=int(max(deadline - time.monotonic(), 0.05) * 1_000)
                    )  # the public method waits half a minute
                else:
                    processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
            except Exception:  # noqa: BLE001 - whatever the SDK raises, the program exits as it would
                _log.exception("a forward target could not be shut down")

    def _flush(self) -> None:
        while True:
            wanted = self._wanted
            try:
                self.span_processor.force_flush()
                self.log_processor.force_flush()
            except Exception:  # noqa: BLE001 - the thread has nobody to raise to
                _log.exception("a forward target could not be flushed")
            with self._lock:
                if wanted == self._wanted:
                    self._is_flushing = False
                    return
