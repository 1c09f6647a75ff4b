"""`configure`, `flush`, `aflush` and `shutdown`."""

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from typing import Final

from spane_otel.settings import Settings
from spane_otel.stores.protocols import TelemetrySink
from spane_otel.telemetry.process import PROCESS

_log: Final = logging.getLogger(__name__)


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
    with PROCESS.lock:
        before = PROCESS.pipeline
        process_id = before.worker.process_id if before is not None else None
        pipeline = Pipeline(
            destination.source,
            service_name=service_name,
            forward=destination.forward,
            log_level=level,
            process_id=process_id,
        )
        replaced = PROCESS.replace(pipeline, is_guess=destination.is_guess)
        if replaced is not None:
            PROCESS.retire(replaced)


def flush(timeout: float = 5.0) -> bool:
    """Wait until all that has ended before is committed, for at most `timeout` seconds; return whether it is.

    False also if something that ended since the last flush was lost: dropped because the buffer was full, or refused
    by the store. Where nothing is configured there is nothing to wait for. Forward targets begin to send what they
    hold; nobody waits for them.
    """
    deadline = time.monotonic() + timeout
    pipelines = PROCESS.pipelines()
    for pipeline in pipelines:
        pipeline.begin_forward()
    return all(each.worker.flush(max(deadline - time.monotonic(), 0.0)) for each in pipelines)


async def aflush(timeout: float = 5.0) -> bool:
    """Do what `flush` does, while the event loop goes on."""
    pipelines = PROCESS.pipelines()
    for pipeline in pipelines:
        pipeline.begin_forward()
    return all(await asyncio.gather(*(each.worker.aflush(timeout) for each in pipelines)))


def shutdown(timeout: float = 10.0) -> bool:
    """Stop recording, write what is left for at most `timeout` seconds, and return whether nothing was lost.

    The process does so by itself when it exits. `configure` begins anew.
    """
    return PROCESS.stop(timeout) == 0
