"""Life, readiness, and figures in Prometheus' text format."""

import math
import re
from collections.abc import Iterator

import httpx
import pytest

from spane_otel.clock import ManualClock
from spane_otel.counters import Sample
from spane_otel.errors import StoreUnavailableError
from spane_otel.server import health
from spane_otel.server.context import ServerContext
from spane_otel.server.health import _sample, source_lines
from spane_otel.version import __version__
from tests.rows import batch, span
from tests.unit.server.conftest import FailingStore
from tests.unit.server.requests import PROTOBUF, span_message, traces_request

SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="([^"\\\n]|\\.)*"(,[a-z]+="([^"\\\n]|\\.)*")*\})? -?\d+')


async def scrape(api: httpx.AsyncClient) -> dict[str, int]:
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: int(line.rpartition(" ")[2]) for line in lines}


async def test_a_service_lives_whatever_its_store_does(api: httpx.AsyncClient, store: FailingStore) -> None:
    store.failure = StoreUnavailableError("down")
    answer = await api.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive", "version": __version__})


async def test_it_is_ready_while_its_store_is(api: httpx.AsyncClient, store: FailingStore) -> None:
    assert (await api.get("/readyz")).json() == {"status": "ready"}
    store.failure = StoreUnavailableError("down")
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"


async def test_it_is_not_ready_while_its_store_hangs(
    api: httpx.AsyncClient, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(health, "PING_SECONDS", 0.01)
    store.ping = hang  # type: ignore[method-assign]  # the store of this test alone
    assert (await api.get("/readyz")).status_code == 503


async def test_the_counters_are_shown_and_add_up(
    api: httpx.AsyncClient, otlp: httpx.AsyncClient, store: FailingStore
) -> None:
    body = traces_request(span_message("a"), span_message("b", raw_trace_id=b"\x01"))
    await otlp.post("/v1/traces", content=body, headers=PROTOBUF)
    figures = await scrape(api)

    def items(fate: str, reason: str = "") -> int:
        return figures[f'spane_telemetry_items_total{{signal="spans",fate="{fate}",reason="{reason}"}}']

    assert items("accepted") == 2
    assert items("stored") == 1
    assert items("rejected", "invalid_trace_id") == 1
    assert figures['spane_telemetry_buffered_items{signal="spans"}'] == 0
    assert figures['spane_otlp_requests_total{path="/v1/traces",status="200"}'] == 1
    assert figures["spane_otlp_body_bytes_in_flight"] == 0
    assert figures["spane_store_up"] == 1
    assert figures["spane_store_spans"] == 1


class Figures:
    """A part with figures of its own, or one that fails to tell them."""

    def __init__(self, *samples: Sample, error: Exception | None = None) -> None:
        self._samples = samples
        self._error = error

    def samples(self) -> Iterator[Sample]:
        yield from self._samples
        if self._error is not None:
            raise self._error


def test_figures_of_other_parts_stand_together_by_name() -> None:
    sources = (
        Figures(("spane_a_total", "counter", "As.", {"x": "1"}, 1), ("spane_b", "gauge", "Bs.", {}, 0.5)),
        Figures(("spane_a_total", "counter", "As.", {"x": 'say "2"'}, 2), error=RuntimeError("no more")),
        Figures(("spane_a_total", "counter", "As.", {"x": "3"}, 3)),
    )
    assert list(source_lines(sources)) == [
        "# HELP spane_a_total As.",
        "# TYPE spane_a_total counter",
        'spane_a_total{x="1"} 1',
        'spane_a_total{x="3"} 3',
        "# HELP spane_b Bs.",
        "# TYPE spane_b gauge",
        "spane_b 0.5",
    ]


def test_the_parts_of_a_histogram_are_one_metric() -> None:
    source = Figures(
        ("spane_s_bucket", "histogram", "Time\n.", {"le": "+Inf"}, 2),
        ("spane_s_sum", "histogram", "Time\n.", {}, math.inf),
        ("spane_s_count", "histogram", "Time\n.", {}, 2),
    )
    assert list(source_lines([source])) == [
        r"# HELP spane_s Time\n.",
        "# TYPE spane_s histogram",
        'spane_s_bucket{le="+Inf"} 2',
        "spane_s_sum +Inf",
        "spane_s_count 2",
    ]


async def test_every_line_is_in_the_text_format_and_every_metric_is_described(api: httpx.AsyncClient) -> None:
    text = (await api.get("/metrics")).text
    described: set[str] = set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            described.add(line.split(" ")[2])
        elif not line.startswith("# TYPE "):
            assert SAMPLE.fullmatch(line), line
            assert re.split(r"[{ ]", line)[0] in described
    assert text.endswith("\n")


def test_labels_are_escaped() -> None:
    assert _sample("m", 1, a='x"y\\z\n') == 'm{a="x\\"y\\\\z\\n"} 1'


async def test_a_store_without_statistics_is_shown_as_down_and_the_rest_stays(
    api: httpx.AsyncClient, store: FailingStore
) -> None:
    store.failure = StoreUnavailableError("down")
    figures = await scrape(api)
    assert figures["spane_store_up"] == 0
    assert "spane_store_spans" not in figures
    assert figures['spane_telemetry_buffered_items{signal="logs"}'] == 0


async def test_statistics_are_read_at_most_every_fifteen_seconds(
    api: httpx.AsyncClient, store: FailingStore, clock: ManualClock, context: ServerContext
) -> None:
    assert (await scrape(api))["spane_store_spans"] == 0
    await store.write(batch(span("a")))
    assert (await scrape(api))["spane_store_spans"] == 0
    clock.advance(15)
    assert (await scrape(api))["spane_store_spans"] == 1
