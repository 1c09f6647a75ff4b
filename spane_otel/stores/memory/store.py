"""`InMemoryExecutionStore`: every method under one lock, nothing awaited inside."""

import threading
from types import TracebackType
from typing import Final, Self

from spane_otel.clock import Clock, SystemClock
from spane_otel.records import Batch, StoreStats, WriteResult
from spane_otel.stores.added import added_resource
from spane_otel.stores.admission import ACCEPT_PAST_DAYS, DAY, window_at
from spane_otel.stores.memory.added import AddedTelemetry
from spane_otel.stores.memory.archives import Archives
from spane_otel.stores.memory.creation import Creation
from spane_otel.stores.memory.dead_letters import DeadLetters
from spane_otel.stores.memory.executions import Executions
from spane_otel.stores.memory.feed import Feed
from spane_otel.stores.memory.held.state import State
from spane_otel.stores.memory.leases import Leases
from spane_otel.stores.memory.logs import Logs
from spane_otel.stores.memory.node_results import NodeResults
from spane_otel.stores.memory.relatives import Relatives
from spane_otel.stores.memory.room import Limits, Room
from spane_otel.stores.memory.settling import Settled, Settling
from spane_otel.stores.memory.timeouts import Timeouts
from spane_otel.stores.memory.traces import Traces
from spane_otel.stores.memory.workflows import Workflows
from spane_otel.stores.memory.writing import admit, store_batch

MAX_SPANS: Final = 200_000
MAX_LOGS: Final = 200_000


class InMemoryExecutionStore(
    Creation,
    Executions,
    Relatives,
    Timeouts,
    Workflows,
    NodeResults,
    DeadLetters,
    Leases,
    AddedTelemetry,
    Traces,
    Logs,
    Feed,
    Archives,
):
    """Keeps everything in this process, for tests, demos and development: what is stored ends with the process.

    May be used from any thread and event loop. What readers return is theirs; nothing that a caller hands over is kept
    as an object that he could change.

    It is bounded, and what still runs or is paused never goes:

    * Beyond `max_executions` the finished execution of which nothing was heard for longest goes, with everything of it,
      to make room for a new one; if all run, more are held. A finished one also goes `finished_ttl_seconds` after
      the store last heard of it, whenever it ended; writes look for those every `cleanup_seconds` at most.
    * Of what is added to one execution by hand, `max_spans_per_execution` spans are held (leaves go before their
      parents, those that ended longest ago first; the trace then says `truncated`) and the `max_logs_per_execution`
      latest logs.
    * Beyond `max_spans` spans or `max_logs` logs in all the oldest finished executions and traces go. Where nothing can
      go, new rows are rejected as `store_full`, and `add_span` and `add_log` raise `StoreUnavailableError`.

    `stats().trimmed` counts the executions, spans and logs that went.

    A start or log time more than `accept_past_days` ago, or more than 24 hours ahead, is rejected as
    `start_out_of_window`. `actor` is who the audit names where no worker is; `service_name` the service of spans and
    logs written by hand.
    """

    address: Final = "memory"

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        accept_past_days: float = ACCEPT_PAST_DAYS,
        max_spans: int = MAX_SPANS,
        max_logs: int = MAX_LOGS,
        max_executions: int = 1_000,
        max_spans_per_execution: int = 500,
        max_logs_per_execution: int = 1_000,
        finished_ttl_seconds: float = 3_600,
        cleanup_seconds: float = 300,
        actor: str | None = None,
        service_name: str = "spane",
    ) -> None:
        self._clock: Clock = clock or SystemClock()
        self._accept_past_days = accept_past_days
        self._actor = actor
        self._resource = added_resource(service_name)
        self._past_ns = int(accept_past_days * DAY)
        self._state = State()
        self._settling = Settling(self._state, self._resource)
        self._lock = threading.Lock()
        self._settled = Settled(self._lock, self._settling)
        self._room = Room(
            Limits(
                max_spans=max_spans,
                max_logs=max_logs,
                max_executions=max_executions,
                max_spans_per_execution=max_spans_per_execution,
                max_logs_per_execution=max_logs_per_execution,
                finished_ttl_seconds=finished_ttl_seconds,
                cleanup_seconds=cleanup_seconds,
            ),
            self._settling,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Do nothing: what is held stays readable."""

    async def ping(self) -> None:
        """Return: memory always answers."""

    async def stats(self) -> StoreStats:
        with self._settled:
            telemetry = self._state.telemetry
            return StoreStats(
                executions=len(self._state.executions.held),
                spans=telemetry.span_count,
                logs=telemetry.log_count,
                approx_bytes=telemetry.approx_bytes(),
                trimmed=self._room.trimmed,
            )

    async def write(self, batch: Batch) -> WriteResult:
        now_ns = self._clock.now_ns()
        admitted = admit(batch, window_at(now_ns, self._accept_past_days))
        with self._lock:
            before = len(self._state.executions.held)
            result = store_batch(self._state, self._room, batch, admitted, now_ns)
            if len(self._state.executions.held) > before:  # else what ends in a full store would go at once
                self._room.bound_executions(self._state, now_ns)
            self._room.clean(self._state, now_ns)
            return result
