"""Whether the service lives, whether it can work, and its figures for Prometheus."""

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from spane_otel.counters import MetricSource, Sample, Signal
from spane_otel.errors import SpaneError, StoreUnavailableError
from spane_otel.records import StoreStats
from spane_otel.server.context import ServerContext
from spane_otel.server.rawpath import RawPathRoute
from spane_otel.version import __version__

_log: Final = logging.getLogger(__name__)

PING_SECONDS: Final = 5.0
STATS_SECONDS: Final = 2.0
STATS_AGE_NS: Final = 15_000_000_000
"""Store statistics are read at most this often, however often somebody scrapes."""

METRICS_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_HISTOGRAM_PART: Final = re.compile(r"_(bucket|sum|count)$")
_SPECIAL: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
"""How the format spells what Python spells otherwise."""
SIGNALS: Final[tuple[Signal, ...]] = ("spans", "logs")


class HealthEndpoints:
    """`/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, context: ServerContext) -> None:
        self._context: Final = context
        self._stats: StoreStats | None = None
        self._stats_at_ns: int | None = None

    def routes(self) -> list[BaseRoute]:
        return [
            RawPathRoute("/healthz", self.show_life),
            RawPathRoute("/readyz", self.show_readiness),
            RawPathRoute("/metrics", self.show_metrics),
        ]

    async def show_life(self, _request: Request) -> Response:
        """Answer as long as the process does, whatever its store does."""
        return JSONResponse({"status": "alive", "version": __version__})

    async def show_readiness(self, _request: Request) -> Response:
        """Answer 200 if the store takes writes, else a 503 problem."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._context.store.ping()
        except TimeoutError:
            raise StoreUnavailableError(f"no answer to a ping within {PING_SECONDS:g} s") from None
        return JSONResponse({"status": "ready"})

    async def show_metrics(self, _request: Request) -> Response:
        """Answer with the counters in Prometheus' text format, version 0.0.4."""
        stats = await self._read_stats()
        lines = [*_build_lines(), *self._telemetry_lines(), *self._service_lines(), *_store_lines(stats)]
        lines += source_lines(self._context.metric_sources)
        return Response("\n".join(lines) + "\n", media_type=METRICS_MEDIA_TYPE)

    async def _read_stats(self) -> StoreStats | None:
        """Return the store's figures, at most 15 s old; None while it does not answer."""
        now_ns = self._context.clock.now_ns()
        if self._stats_at_ns is not None and 0 <= now_ns - self._stats_at_ns < STATS_AGE_NS:
            return self._stats
        self._stats_at_ns = now_ns
        try:
            async with asyncio.timeout(STATS_SECONDS):
                self._stats = await self._context.store.stats()
        except (TimeoutError, SpaneError) as exc:
            _log.warning("no store statistics: %s", exc)
            self._stats = None
        return self._stats

    def _telemetry_lines(self) -> Iterator[str]:
        counters = self._context.counters
        yield from _head(
            "spane_telemetry_items_total",
            "counter",
            "Deliveries of spans and logs by what became of them; accepted = stored + rejected + dropped + buffered.",
        )
        for signal, fate, reason, count in counters:
            yield _sample("spane_telemetry_items_total", count, signal=signal, fate=fate, reason=reason)
        yield from _head("spane_telemetry_buffered_items", "gauge", "Accepted, and on the way to the store.")
        for signal in SIGNALS:
            yield _sample("spane_telemetry_buffered_items", counters.buffered(signal), signal=signal)

    def _service_lines(self) -> Iterator[str]:
        intake = self._context.intake
        yield from _head("spane_otlp_requests_total", "counter", "OTLP requests by path and status.")
        for (path, status), count in sorted(intake.requests.items()):
            yield _sample("spane_otlp_requests_total", count, path=path, status=str(status))
        yield from _head("spane_otlp_body_bytes_in_flight", "gauge", "Bytes of request bodies held right now.")
        yield _sample("spane_otlp_body_bytes_in_flight", intake.bytes_held)
        yield from _head("spane_stream_listeners", "gauge", "Live pages that are open.")
        yield _sample("spane_stream_listeners", len(self._context.changes))


def source_lines(sources: Iterable[MetricSource]) -> Iterator[str]:
    """Yield the samples of other parts, those of one name together; a part that fails costs its own alone."""
    families: dict[str, list[Sample]] = {}
    for source in sources:
        try:
            samples = list(source.samples())
        except Exception:  # noqa: BLE001 - whoever scrapes still wants all else
            _log.exception("%s has no figures to show", type(source).__name__)
            continue
        for sample in samples:
            name, kind, *_ = sample
            families.setdefault(_HISTOGRAM_PART.sub("", name) if kind == "histogram" else name, []).append(sample)
    for family, found in families.items():
        yield from _head(family, found[0][1], found[0][2])
        for name, _, _, labels, value in found:
            yield _sample(name, value, **labels)


def _build_lines() -> Iterator[str]:
    yield from _head("spane_build_info", "gauge", "The version that runs.")
    yield _sample("spane_build_info", 1, version=__version__)


def _store_lines(stats: StoreStats | None) -> Iterator[str]:
    yield from _head("spane_store_up", "gauge", "Whether the store answered when it was last asked.")
    yield _sample("spane_store_up", int(stats is not None))
    if stats is None:
        return
    for name, value, text in (
        ("spane_store_executions", stats.executions, "Executions held."),
        ("spane_store_spans", stats.spans, "Spans held; an estimate where counting is dear."),
        ("spane_store_logs", stats.logs, "Log records held; an estimate where counting is dear."),
        ("spane_store_bytes", stats.approx_bytes, "Approximate size of what is held."),
    ):
        yield from _head(name, "gauge", text)
        yield _sample(name, value)
    yield from _head("spane_store_trimmed_total", "counter", "Executions and traces that a bounded store let go.")
    yield _sample("spane_store_trimmed_total", stats.trimmed)


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {_escape(text, quote=False)}"
    yield f"# TYPE {name} {kind}"


def _sample(metric: str, value: float, /, **labels: str) -> str:
    shown = ",".join(f'{key}="{_escape(each)}"' for key, each in labels.items())
    number = _SPECIAL.get(str(value), str(value))
    return f"{metric}{{{shown}}} {number}" if shown else f"{metric} {number}"


def _escape(value: str, *, quote: bool = True) -> str:
    escaped = value.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if quote else escaped
