"""How much is held at most, and what goes when room is needed."""

from msgspec import Struct

from spane_otel.stores.memory.held.state import State
from spane_otel.stores.memory.held.telemetry import HeldTrace


class Free(Struct, frozen=True):
    """How many more fit now; below 0 if more is held than should be."""

    spans: int
    logs: int


class Room(Struct):
    """The bounds of the store. What is finished goes first, oldest first; what runs never goes."""

    max_spans: int
    max_logs: int
    trimmed: int = 0
    """Spans and logs that had to go."""

    def make(self, state: State, spans: int, logs: int, keep: frozenset[bytes], now_ns: int) -> Free:
        """Trim until `spans` and `logs` more fit, if that can be; return how many of each fit now.

        Trims a tenth of the bound more than needed, so that a full store isn't trimmed at each write. The traces in
        `keep` are being written and stay.
        """
        telemetry = state.telemetry
        if self._lack(state, spans, logs):
            slack = (self.max_spans // 10, self.max_logs // 10)
            for trace in list(telemetry.traces.values()):
                if not self._lack(state, spans + slack[0], logs + slack[1]):
                    break
                if trace.trace_key in telemetry.traces and trace.trace_key not in keep:
                    self._trim(state, trace, now_ns)
            telemetry.sweep()
        return Free(self.max_spans - telemetry.span_count, self.max_logs - telemetry.log_count)

    def _lack(self, state: State, spans: int, logs: int) -> bool:
        """Whether a bound would be passed by what comes; a kind of which nothing comes lacks nothing."""
        lacks_spans = spans > 0 and state.telemetry.span_count + spans > self.max_spans
        lacks_logs = logs > 0 and state.telemetry.log_count + logs > self.max_logs
        return lacks_spans or lacks_logs

    def _trim(self, state: State, trace: HeldTrace, now_ns: int) -> None:
        owners = _owners(state, trace)
        if any(self._is_alive(state, owner, now_ns) for owner in owners):
            return
        before = state.telemetry.span_count + state.telemetry.log_count
        for owner in owners:
            state.delete_execution(owner, now_ns)
        state.telemetry.remove(trace.trace_key)
        self.trimmed += before - state.telemetry.span_count - state.telemetry.log_count

    def _is_alive(self, state: State, execution_id: str, now_ns: int) -> bool:
        held = state.executions.held[execution_id]
        return not held.is_final and state.abandoned_since_ns(held, now_ns) is None


def _owners(state: State, trace: HeldTrace) -> list[str]:
    """Return the executions that a trace belongs to; logs without a trace belong to the one they name."""
    linked = state.executions.executions_of(trace.trace_key)
    named = {row.execution_id for row in trace.logs.values() if row.execution_id is not None} if not linked else ()
    return [each for each in (*linked, *named) if each in state.executions.held]
