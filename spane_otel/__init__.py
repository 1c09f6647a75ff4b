"""Workflow executions as OpenTelemetry traces: the public names, loaded when first used."""

import importlib
from typing import TYPE_CHECKING, Any

from spane_otel.version import __version__

if TYPE_CHECKING:
    from spane_otel.engine import ExecutionContext as ExecutionContext
    from spane_otel.engine import NodeRegistry as NodeRegistry
    from spane_otel.engine import WorkflowEngine as WorkflowEngine
    from spane_otel.state import ExecutionResult as ExecutionResult
    from spane_otel.stores.cached.versions import WorkflowCacheOptions as WorkflowCacheOptions
    from spane_otel.stores.memory import InMemoryExecutionStore as InMemoryExecutionStore
    from spane_otel.stores.postgres import PostgresExecutionStore as PostgresExecutionStore
    from spane_otel.telemetry import aflush as aflush
    from spane_otel.telemetry import configure as configure
    from spane_otel.telemetry import current_execution as current_execution
    from spane_otel.telemetry import execution as execution
    from spane_otel.telemetry import flush as flush
    from spane_otel.telemetry import log as log
    from spane_otel.telemetry import node as node
    from spane_otel.telemetry import workflow as workflow
    from spane_otel.transfer.copying import copy_store as copy_store

_HOMES = {
    "ExecutionContext": "spane_otel.engine",
    "ExecutionResult": "spane_otel.state",
    "InMemoryExecutionStore": "spane_otel.stores.memory",
    "NodeRegistry": "spane_otel.engine",
    "PostgresExecutionStore": "spane_otel.stores.postgres",
    "WorkflowCacheOptions": "spane_otel.stores.cached.versions",
    "WorkflowEngine": "spane_otel.engine",
    "aflush": "spane_otel.telemetry",
    "configure": "spane_otel.telemetry",
    "copy_store": "spane_otel.transfer.copying",
    "current_execution": "spane_otel.telemetry",
    "execution": "spane_otel.telemetry",
    "flush": "spane_otel.telemetry",
    "log": "spane_otel.telemetry",
    "node": "spane_otel.telemetry",
    "workflow": "spane_otel.telemetry",
}

__all__ = [  # noqa: PLE0604 - the names that load lazily are listed once, above
    "__version__",
    *_HOMES,
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
