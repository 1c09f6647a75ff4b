"""How much is held at most, and what goes when room is needed."""

from typing import Final

from msgspec import Struct

from spane_otel.clock import SECOND
from spane_otel.stores.memory.held.additions import AddedLog, AddedSpan, ExecutionAdditions
from spane_otel.stores.memory.held.state import State
from spane_otel.stores.memory.held.telemetry import HeldTrace
from spane_otel.stores.memory.settling import Settling
from spane_otel.stores.memory.trimming import trim_logs, trim_spans


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of the store; those of executions are SPANE's."""

    max_spans: int = 200_000
    max_logs: int = 200_000
    max_executions: int = 1_000
    max_spans_per_execution: int = 500
    """Of those added by hand."""
    max_logs_per_execution: int = 1_000
    """Of those added by hand."""
    finished_ttl_seconds: float = 3_600
    cleanup_seconds: float = 300


class Free(Struct, frozen=True):
    """How many more fit now; below 0 if more is held than should be."""

    spans: int
    logs: int


class Room:
    """Keeps the store within its limits. What is finished goes first, oldest first; what runs never goes."""

    def __init__(self, limits: Limits, settling: Settling) -> None:
        self.limits: Final = limits
        self._settling = settling
        self.trimmed = 0
        """How many spans, logs and executions had to go."""
        self._ttl_ns: Final = int(limits.finished_ttl_seconds * SECOND)
        self._cleanup_ns: Final = int(limits.cleanup_seconds * SECOND)
        self._next_cleanup_ns = 0

    def make(self, state: State, spans: int, logs: int, keep: frozenset[bytes], now_ns: int) -> Free:
        """Trim until `spans` and `logs` more fit, if that can be; return how many of each fit now.

        Trims a tenth of the bound more than needed, so that a full store isn't trimmed at each write. The traces in
        `keep` are being written and stay.
        """
        telemetry = state.telemetry
        limits = self.limits
        if self._lack(state, spans, logs):
            self._settling.settle_all()  # what goes, goes by traces
            slack = (limits.max_spans // 10, limits.max_logs // 10)
            for trace in list(telemetry.traces.values()):
                if not self._lack(state, spans + slack[0], logs + slack[1]):
                    break
                if trace.trace_key in telemetry.traces and trace.trace_key not in keep:
                    self._trim(state, trace, now_ns)
            telemetry.sweep()
        return Free(limits.max_spans - state.span_count, limits.max_logs - state.log_count)

    def bound_executions(self, state: State, now_ns: int) -> None:
        """Let finished executions go while there are too many, for a new one; if all run, more are held."""
        while len(state.executions.held) > self.limits.max_executions and state.finished:
            self._evict(state, next(iter(state.finished)), now_ns)

    def clean(self, state: State, now_ns: int) -> None:
        """Now and then, let executions go that have finished and of which nothing was heard for too long."""
        if now_ns < self._next_cleanup_ns:
            return
        self._next_cleanup_ns = now_ns + self._cleanup_ns
        forgotten = [each for each, heard_ns in state.finished.items() if heard_ns + self._ttl_ns <= now_ns]
        for execution_id in forgotten:
            self._evict(state, execution_id, now_ns)
        state.telemetry.sweep()

    def bound_spans(self, state: State, of: ExecutionAdditions, newest: AddedSpan) -> None:
        """Keep the spans that were added to one execution within their limit."""
        self.trimmed += trim_spans(state, of, self.limits.max_spans_per_execution, newest)

    def bound_logs(self, state: State, of: ExecutionAdditions, newest: AddedLog) -> None:
        """Keep the logs that were added to one execution within their limit."""
        self.trimmed += trim_logs(state, of, self.limits.max_logs_per_execution, newest)

    def _lack(self, state: State, spans: int, logs: int) -> bool:
        """Whether a bound would be passed by what comes; a kind of which nothing comes lacks nothing."""
        lacks_spans = spans > 0 and state.span_count + spans > self.limits.max_spans
        lacks_logs = logs > 0 and state.log_count + logs > self.limits.max_logs
        return lacks_spans or lacks_logs

    def _trim(self, state: State, trace: HeldTrace, now_ns: int) -> None:
        owners = _owners(state, trace)
        if any(self._is_alive(state, owner, now_ns) for owner in owners):
            return
        for owner in owners:
            self._evict(state, owner, now_ns)
        before = state.span_count + state.log_count
        state.telemetry.remove(trace.trace_key)
        self.trimmed += before - state.span_count - state.log_count

    def _evict(self, state: State, execution_id: str, now_ns: int) -> None:
        before = state.span_count + state.log_count
        state.delete_execution(execution_id, now_ns)
        self.trimmed += 1 + before - state.span_count - state.log_count

    def _is_alive(self, state: State, execution_id: str, now_ns: int) -> bool:
        held = state.executions.held[execution_id]
        return not held.is_final and state.abandoned_since_ns(held, now_ns) is None


def _owners(state: State, trace: HeldTrace) -> list[str]:
    """Return the executions that a trace belongs to; logs without a trace belong to the one they name."""
    linked = state.executions.executions_of(trace.trace_key)
    named = {row.execution_id for row in trace.logs.values() if row.execution_id is not None} if not linked else ()
    return [each for each in (*linked, *named) if each in state.executions.held]
