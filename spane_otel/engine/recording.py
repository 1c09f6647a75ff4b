"""Executions, attempts and waits as spans, through the telemetry API; and who records them."""

import asyncio
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from spane_otel import mapping
from spane_otel.errors import EngineClosedError, RateLimitedError
from spane_otel.records import Execution, SpanState, Trace
from spane_otel.stores.protocols import TelemetrySink
from spane_otel.telemetry.block import Block
from spane_otel.telemetry.context import CURRENT, Recorder, Scope, scope_of, with_recorder
from spane_otel.telemetry.executions import Execution as ExecutionSpan
from spane_otel.telemetry.nodes import Node as NodeSpan
from spane_otel.telemetry.outcome import Outcome
from spane_otel.telemetry.persistence import SinkSource
from spane_otel.telemetry.pipeline import Pipeline
from spane_otel.telemetry.process import PROCESS

WAIT_REASON: Final = "spane.wait.reason"
"""Why nothing runs: retry, delay, paused, rate_limit, max_concurrency."""
WAIT_NODE: Final = "spane.wait.node_id"
"""Which node is waited with."""
WAIT_UNTIL: Final = "spane.wait.until_ns"
"""Nanoseconds since 1970, where it is known."""


class Recording:
    """Who records an engine: whoever records the process, else a pipeline of the engine's own into its store.

    The latter sets up no global provider: it records the engine's spans and what is traced inside them with this
    package's API, and ends with the engine.
    """

    def __init__(self, sink: TelemetrySink, service_name: str | None = None) -> None:
        self._sink: Final = sink
        self._service_name: Final = service_name
        self._pipeline: Pipeline | None = None

    def context(self) -> Context:
        """Return the current context, in which the engine is recorded."""
        recorder: Recorder | None = CURRENT.recorder
        if recorder is None:
            recorder = self._pipeline
        if recorder is None:
            sink = self._sink
            self._pipeline = Pipeline(
                SinkSource(lambda: sink, is_lent=True), service_name=self._service_name, is_private=True
            )
            PROCESS.add_private(self._pipeline)
            recorder = self._pipeline
        return with_recorder(recorder)

    async def aflush(self, timeout: float) -> bool:
        """Wait until what has ended is written; return whether it is."""
        return True if self._pipeline is None else await self._pipeline.worker.aflush(timeout)

    async def aclose(self, timeout: float) -> bool:
        """Write what is left, for at most `timeout` seconds, and stop; return whether nothing was lost."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return True
        written = await pipeline.worker.aflush(timeout)
        PROCESS.remove_private(pipeline)
        await asyncio.to_thread(pipeline.stop, 1.0)
        return written


class ExecutionBlock(ExecutionSpan):
    """An execution as the store has it, as a span: its root."""

    __slots__ = ("_record", "state")

    def __init__(self, record: Execution) -> None:
        super().__init__(record.workflow_id or "", record.execution_id, record.initial_data)
        self._record = record
        self.state: SpanState | None = None
        """How it ended, where that was neither completed nor failed."""

    def fail(self, error: str | None) -> None:
        self.span.set_status(StatusCode.ERROR, error)

    def _enter_scope(self, recorder: Recorder) -> Scope:
        scope = super()._enter_scope(recorder)
        record = self._record
        self.parent_execution_id, self.root_execution_id = record.parent_execution_id, record.root_execution_id
        self.depth = record.depth
        for key in (mapping.EXECUTION_PARENT_ID, mapping.EXECUTION_ROOT_ID, mapping.EXECUTION_DEPTH):
            self.attributes.pop(key, None)  # what the code around it says: the store knows better
        given: dict[str, str | int | None] = {mapping.WORKFLOW_VERSION: record.workflow_version}
        if record.parent_execution_id is not None:
            given |= {
                mapping.EXECUTION_PARENT_ID: record.parent_execution_id,
                mapping.EXECUTION_ROOT_ID: record.root_execution_id,
                mapping.EXECUTION_DEPTH: record.depth,
            }
        self.attributes.update({key: value for key, value in given.items() if value is not None})
        if record.root_execution_id == record.execution_id:
            self.root_execution_id = None
        return scope

    def _close(self, outcome: Outcome) -> None:
        super()._close(outcome if self.state is None else Outcome(self.state))


class NodeBlock(NodeSpan):
    """One attempt at a node, as a span."""

    __slots__ = ("is_skipped",)

    def __init__(self, node_id: str, given: Any, attempt: int, iteration: int) -> None:
        super().__init__(node_id, given, attempt, iteration)
        self.is_skipped = False

    def fail(self, error: str | None) -> None:
        """Say that the attempt failed, without an exception."""
        self.span.set_status(StatusCode.ERROR, error)

    def _close(self, outcome: Outcome) -> None:
        if isinstance(outcome.error, RateLimitedError | EngineClosedError):
            outcome = Outcome("cancelled")
        elif self.is_skipped and outcome.error is None:
            outcome = Outcome("skipped")
        super()._close(outcome)


class Wait(Block):
    """Time in which an execution, or one node of it, does nothing but wait, as a span."""

    __slots__ = ()

    def __init__(self, reason: str, node_id: str | None = None, until_ns: int | None = None) -> None:
        super().__init__(f"wait: {reason}", None)
        given = {WAIT_REASON: reason, WAIT_NODE: node_id, WAIT_UNTIL: until_ns}
        self.attributes = {key: value for key, value in given.items() if value is not None}

    def _enter_scope(self, recorder: Recorder) -> Scope:  # noqa: ARG002 - an execution needs it
        outer = scope_of()
        if outer is None:
            return Scope(None, None, {})
        self.attributes = {**outer.attributes, **self.attributes}
        return outer


def resumed_context(context: Context, trace_before: Trace | None) -> Context:
    """Return `context` such that what starts in it goes on below the last root of the execution that was resumed."""
    if trace_before is None:
        return context
    roots = [
        span
        for span in trace_before.spans
        if span.execution_id == trace_before.execution_id
        and span.node_id is None
        and mapping.WORKFLOW_ID in span.attributes
    ]
    if not roots:
        return context
    last = max(roots, key=lambda span: span.start_ns)
    remote = SpanContext(
        trace_id=int(last.trace_id, 16),
        span_id=int(last.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(NonRecordingSpan(remote), context)


def attach(context: Context) -> None:
    """Make `context` that of the calling task, until the task ends."""
    context_api.attach(context)
