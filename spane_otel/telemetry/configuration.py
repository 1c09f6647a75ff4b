"""`configure`, `flush` and what happens at exit and after a fork."""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from spane_otel.settings import Settings
from spane_otel.stores.protocols import TelemetrySink
from spane_otel.telemetry.context import CURRENT

if TYPE_CHECKING:
    from spane_otel.telemetry.pipeline import Pipeline

SHUTDOWN_SECONDS: Final = 10.0
"""At exit, at most."""
GUESS_SECONDS: Final = 1.0
"""At exit, at most, where nobody named the collector and none has ever answered."""
REPLACED_SECONDS: Final = 30.0
"""How long a pipeline that was replaced keeps trying to write what it holds."""

_log: Final = logging.getLogger(__name__)


class Process:
    """The pipeline that records this process now, and those replaced that still write what they hold."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pipeline: Pipeline | None = None
        self.is_guess = False
        self._replaced: list[Pipeline] = []
        self._has_hooks = False

    def replace(self, pipeline: "Pipeline | None", *, is_guess: bool = False) -> "Pipeline | None":
        """Put `pipeline` in the place of the one before, which is returned and records nothing more."""
        with self.lock:
            before = self.pipeline
            if before is not None:
                before.detach()
            self.pipeline = CURRENT.recorder = pipeline
            self.is_guess = is_guess
            if pipeline is not None:
                pipeline.attach()
                self._add_hooks()
            return before

    def retire(self, pipeline: "Pipeline") -> None:
        """Let a replaced pipeline write what it holds, without waiting for it."""
        pipeline.worker.begin_stop(REPLACED_SECONDS)
        self._replaced.append(pipeline)

    def pipelines(self) -> "list[Pipeline]":
        """Return every pipeline that may still hold something, the current one last."""
        self._replaced = [each for each in self._replaced if not each.worker.is_finished]
        return [*self._replaced, *([self.pipeline] if self.pipeline is not None else [])]

    def stop(self, timeout: float) -> int:
        """Stop recording and write what is left; return how many spans and logs were not written."""
        deadline = time.monotonic() + timeout
        pipelines = self.pipelines()
        self.replace(None)
        self._replaced = []
        return sum(each.stop(max(deadline - time.monotonic(), 0.0)) for each in pipelines)

    def stop_at_exit(self) -> None:
        """Write what is left, in bounded time, and say once if something is lost."""
        pipeline = self.pipeline
        is_hopeless = self.is_guess and pipeline is not None and not pipeline.worker.has_delivered
        left = self.stop(GUESS_SECONDS if is_hopeless else SHUTDOWN_SECONDS)
        if left:
            _log.warning("%d spans and logs could not be written before the process ended", left)

    def after_fork(self) -> None:
        """In a forked child: everything anew; what the parent's threads hold is left alone."""
        self.lock = threading.RLock()
        self._replaced = []
        if self.pipeline is not None:
            self.pipeline.after_fork()

    def _add_hooks(self) -> None:
        if not self._has_hooks:
            self._has_hooks = True
            atexit.register(self.stop_at_exit)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self.after_fork)


_PROCESS: Final = Process()


def configure(
    service_name: str | None = None,
    *,
    store: TelemetrySink | str | None = None,
    endpoint: str | None = None,
    forward: str | Iterable[str] = (),
    log_level: int | str = logging.NOTSET,
) -> None:
    """Record this process: executions, nodes, the spans inside them and everything else OpenTelemetry's SDK traces.

    `store` is a store or its URL, `endpoint` the base URL of a spane-otel collector or of any other that takes
    OTLP/HTTP, `forward` more of the latter. With a store and an endpoint the endpoint is a forward target. With
    neither: `SPANE_DATABASE_URL`, `SPANE_ENDPOINT`, else `OTEL_EXPORTER_OTLP_ENDPOINT`, else
    `http://127.0.0.1:4318`. Nothing connects before the first span.

    The SDK's global providers get our processors, and are made where there are none. A second call replaces only
    ours; what the first one buffered is still written. `service_name` names the service of providers that we make;
    without it OpenTelemetry's own variables do. Records of `logging` made inside executions are kept from `log_level`
    on, as far as the loggers let them through.

    Raises:
        ConfigurationError: an argument or a setting is wrong; the message says which.

    """
    from spane_otel.telemetry.destination import destination_of  # noqa: PLC0415 - loads when needed
    from spane_otel.telemetry.pipeline import Pipeline  # noqa: PLC0415 - so does the SDK

    settings, complaints = Settings.from_env(os.environ)
    for complaint in complaints:
        _log.warning("%s", complaint)
    otlp_endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None
    destination = destination_of(store, endpoint, forward, settings, otlp_endpoint)
    level = logging.Handler(log_level).level
    with _PROCESS.lock:
        before = _PROCESS.pipeline
        process_id = before.worker.process_id if before is not None else None
        pipeline = Pipeline(
            destination.open_sink,
            service_name=service_name,
            forward=destination.forward,
            log_level=level,
            process_id=process_id,
        )
        replaced = _PROCESS.replace(pipeline, is_guess=destination.is_guess)
        if replaced is not None:
            _PROCESS.retire(replaced)


def flush(timeout: float = 5.0) -> bool:
    """Wait until all that has ended before is committed, for at most `timeout` seconds; return whether it is.

    False also if something that ended since the last flush was lost: dropped because the buffer was full, or refused
    by the store. Where nothing is configured there is nothing to wait for. Forward targets begin to send what they
    hold; nobody waits for them.
    """
    deadline = time.monotonic() + timeout
    pipelines = _PROCESS.pipelines()
    for pipeline in pipelines:
        pipeline.begin_forward()
    return all(each.worker.flush(max(deadline - time.monotonic(), 0.0)) for each in pipelines)


async def aflush(timeout: float = 5.0) -> bool:
    """Do what `flush` does, while the event loop goes on."""
    pipelines = _PROCESS.pipelines()
    for pipeline in pipelines:
        pipeline.begin_forward()
    return all(await asyncio.gather(*(each.worker.aflush(timeout) for each in pipelines)))


def shutdown(timeout: float = SHUTDOWN_SECONDS) -> bool:
    """Stop recording, write what is left for at most `timeout` seconds, and return whether nothing was lost.

    The process does so by itself when it exits. `configure` begins anew.
    """
    return _PROCESS.stop(timeout) == 0
