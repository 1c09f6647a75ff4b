"""Telemetry of the process that is traced: `configure`, executions, nodes, logs.

Recording never raises into the traced code, never waits for a store, and costs microseconds a span.
"""

from spane_otel.telemetry.configuration import aflush, configure, flush, shutdown
from spane_otel.telemetry.executions import current_execution, execution
from spane_otel.telemetry.logs import log
from spane_otel.telemetry.nodes import node
from spane_otel.telemetry.workflows import workflow

__all__ = ["aflush", "configure", "current_execution", "execution", "flush", "log", "node", "shutdown", "workflow"]
