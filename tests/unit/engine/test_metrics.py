"""What an engine counts, for Prometheus and for an OpenTelemetry meter."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spane_otel.counters import MetricSource
from spane_otel.engine import EngineMetrics
from tests.unit.engine.lab import Gate, Lab, fails, flow, row

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: EngineMetrics) -> Samples:
    return {(name, tuple(sorted(labels.items()))): value for name, _, _, labels, value in metrics.samples()}


def labelled(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


async def test_executions_attempts_and_retries_are_counted(lab: Lab) -> None:
    metrics = EngineMetrics()
    engine = lab.engine(metrics_collector=metrics)
    lab.does = {"a": fails(times=1)}
    retry = {"retryPolicy": {"maxAttempts": 2, "backoff": {"type": "fixed", "delay": 0}}}
    await engine.register_workflow(flow({"id": "a", "config": retry}))
    await engine.execute("w")
    await engine.aclose()
    found = samples(metrics)
    assert labelled(found, "spane_engine_executions_started_total", workflow="w") == 1
    assert labelled(found, "spane_engine_executions_total", workflow="w", status="completed") == 1
    assert labelled(found, "spane_engine_executions_running", workflow="w") == 0
    assert labelled(found, "spane_engine_node_attempts_total", workflow="w", type="work", state="failed") == 1
    assert labelled(found, "spane_engine_node_attempts_total", workflow="w", type="work", state="completed") == 1
    assert labelled(found, "spane_engine_node_retries_total", workflow="w", type="work") == 1
    assert labelled(found, "spane_engine_node_seconds_count", workflow="w", type="work") == 2


async def test_what_runs_and_what_is_given_up_is_counted(lab: Lab) -> None:
    metrics = EngineMetrics()
    engine = lab.engine(metrics_collector=metrics)
    lab.does = {"a": (gate := Gate())}
    await engine.register_workflow(row("a"))
    await engine.start("w")
    await gate.entered.wait()
    assert labelled(samples(metrics), "spane_engine_executions_running", workflow="w") == 1
    await engine.aclose(0)
    found = samples(metrics)
    assert labelled(found, "spane_engine_executions_running", workflow="w") == 0
    assert labelled(found, "spane_engine_executions_given_up_total", workflow="w") == 1
    assert labelled(found, "spane_engine_node_attempts_total", workflow="w", type="work", state="cancelled") == 1


def test_metrics_are_a_source_for_the_service() -> None:
    assert isinstance(EngineMetrics(), MetricSource)


def test_durations_are_cumulative_buckets_with_sum_and_count() -> None:
    metrics = EngineMetrics()
    for seconds in (0.004, 0.005, 0.2, 7_200.0):
        metrics.execution_started("w")
        metrics.execution_ended("w", "completed", seconds)
    found = samples(metrics)
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in found.items()
        if name == "spane_engine_execution_seconds_bucket"
    }
    assert (buckets["0.005"], buckets["0.1"], buckets["0.25"], buckets["3600"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    assert labelled(found, "spane_engine_execution_seconds_count", workflow="w") == 4
    assert labelled(found, "spane_engine_execution_seconds_sum", workflow="w") == 7_200.209
    assert list(buckets.values()) == sorted(buckets.values())


def test_a_familys_samples_stand_together_and_of_one_kind() -> None:
    metrics = EngineMetrics()
    for number in range(3):
        metrics.node_ended(f"w{number}", "t", "completed", 0.1)
        metrics.execution_started(f"w{number}")
    families = [
        (name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count"), kind)
        for name, kind, *_ in metrics.samples()
    ]
    assert len(set(families)) == len(runs(families))
    assert {kind for _, kind in families} <= {"counter", "gauge", "histogram"}


def runs(items: Iterable[object]) -> list[object]:
    """Return the items without repetitions of the one before."""
    found: list[object] = []
    for item in items:
        if not found or found[-1] != item:
            found.append(item)
    return found


def test_a_million_workflows_make_no_million_series() -> None:
    metrics = EngineMetrics()
    for number in range(1_000):
        metrics.execution_started(f"w{number}")
        metrics.node_retried("w0", f"type{number}")
    found = samples(metrics)
    assert len(found) < 500
    assert labelled(found, "spane_engine_executions_started_total", workflow="other") == 900
    assert labelled(found, "spane_engine_executions_started_total", workflow="w0") == 1
    assert labelled(found, "spane_engine_node_retries_total", workflow="w0", type="other") == 900


def test_a_meter_is_fed_with_the_same() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    metrics = EngineMetrics(provider.get_meter("test"))
    metrics.execution_started("w")
    metrics.execution_ended("w", "failed", 1.5)
    metrics.node_ended("w", "t", "completed", 0.5)
    data = reader.get_metrics_data()
    assert data is not None
    found: dict[str, list[Any]] = {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert [dict(point.attributes or {}) for point in found["spane.engine.executions"]] == [
        {"workflow": "w", "status": "failed"}
    ]
    assert found["spane.engine.execution.duration"][0].sum == 1.5
    assert found["spane.engine.executions.running"][0].value == 0
    provider.shutdown()
