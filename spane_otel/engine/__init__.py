"""Runs workflows: `WorkflowEngine` over a store, `NodeRegistry` with what runs the nodes."""

from spane_otel.engine.breakers import BreakerOptions, BreakerRegistry, CircuitBreaker, CircuitBreakerRegistry
from spane_otel.engine.context import ExecutionContext
from spane_otel.engine.engine import WorkflowEngine
from spane_otel.engine.metrics import EngineMetrics, MetricsCollector
from spane_otel.engine.queue import InProcessQueue, NodeJob, NodeQueue
from spane_otel.engine.registry import Executor, NodeRegistry
from spane_otel.engine.timing import EngineClock, ManualEngineClock, SystemEngineClock
from spane_otel.state import ExecutionResult

__all__ = [
    "BreakerOptions",
    "BreakerRegistry",
    "CircuitBreaker",
    "CircuitBreakerRegistry",
    "EngineClock",
    "EngineMetrics",
    "ExecutionContext",
    "ExecutionResult",
    "Executor",
    "InProcessQueue",
    "ManualEngineClock",
    "MetricsCollector",
    "NodeJob",
    "NodeQueue",
    "NodeRegistry",
    "SystemEngineClock",
    "WorkflowEngine",
]
