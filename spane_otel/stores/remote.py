"""A collector as a sink: OTLP over HTTP, to a spane-otel service or to any other that takes protobuf.

A spane-otel service says so by the header `Spane-Otel: 1` in every answer. It alone gets open spans, heartbeats and
process ids (architecture.md, *Live*); another gets what has ended.
"""

import logging
import os
from typing import Final

from msgspec.structs import replace

from spane_otel.counters import Signal
from spane_otel.errors import DecodeError, StoreError, StoreUnavailableError
from spane_otel.otlp.encode import encode_logs, encode_traces
from spane_otel.otlp.response import parse_response, parse_status
from spane_otel.records import Batch, Rejection, WriteResult
from spane_otel.transport import Answer, Transport, TransportOptions

PEER_HEADER: Final = "spane-otel"
TRACES_PATH: Final = "/v1/traces"
LOGS_PATH: Final = "/v1/logs"
ANY_INDEX: Final = -1
"""OTLP says how many items were rejected, not which."""

_log: Final = logging.getLogger(__name__)


class RemoteSink:
    """Sends batches to the collector at `endpoint`, the base URL to which `/v1/traces` is appended.

    Headers, time-out, compression and certificate are those of OpenTelemetry's variables unless `options` are given.
    It connects when first used.

    Raises:
        ConfigurationError: `endpoint` is no http(s) URL, or an option is wrong.

    """

    def __init__(self, endpoint: str, options: TransportOptions | None = None) -> None:
        self._transport: Final = Transport(endpoint, options or TransportOptions.from_env(os.environ))
        self._is_ours: bool | None = None
        self._begun: tuple[Batch, WriteResult] | None = None
        """A batch whose spans are delivered and whose logs are not yet: sent again, its spans stay at home."""

    @property
    def address(self) -> str:
        """The endpoint, without a password."""
        return self._transport.address

    async def announces(self) -> bool:
        """Return whether the peer is a spane-otel service, which knows open spans; an empty request asks it.

        Raises:
            StoreUnavailableError: it does not answer.

        """
        if self._is_ours is None:
            answer = await self._post(TRACES_PATH, b"")
            if answer.outcome == "retry":
                raise _unavailable(answer)
            _log.debug("%s %s", self.address, "is a spane-otel service" if self._is_ours else "takes OTLP")
        return bool(self._is_ours)

    async def write(self, batch: Batch) -> WriteResult:
        """Deliver `batch`; what the peer does not take is rejected without saying which.

        Raises:
            StoreUnavailableError: the peer does not answer, or answers "not now".
            StoreError: the peer refuses the request.

        """
        sent = batch if await self.announces() else _foreign(batch)
        result = self._begun[1] if self._begun is not None and self._begun[0] is batch else None
        if result is None:
            result = WriteResult(rejected=_not_ended(batch, sent))
            traces = encode_traces(sent)
            if traces is not None:
                rejected = await self._deliver(TRACES_PATH, traces, "spans")
                result.rejected += rejected
                result.spans_stored = max(len(sent.spans) - len(rejected), 0)
            self._begun = batch, result
        logs = encode_logs(sent)
        if logs is not None:
            rejected = await self._deliver(LOGS_PATH, logs, "logs")
            result.rejected += rejected
            result.logs_stored = max(len(sent.logs) - len(rejected), 0)
        self._begun = None
        return result

    async def aclose(self) -> None:
        """Close the connection; safe to call twice."""
        await self._transport.aclose()

    async def _deliver(self, path: str, body: bytes, signal: Signal) -> list[Rejection]:
        """Send a request; return a rejection for each item that the peer says it did not take."""
        answer = await self._post(path, body)
        if answer.outcome == "retry":
            raise _unavailable(answer)
        if answer.outcome == "refused":
            raise StoreError(_explain(answer))
        try:
            partial = parse_response(answer.body)
        except DecodeError:  # it took the request; what else it says is not for us
            return []
        if not partial.rejected:
            return []
        count = min(partial.rejected, _MOST_REJECTIONS)
        return [Rejection(signal, ANY_INDEX, "rejected_by_collector", partial.message)] * count

    async def _post(self, path: str, body: bytes) -> Answer:
        answer = await self._transport.post(path, body)
        if answer.status is not None:
            self._is_ours = answer.headers.get(PEER_HEADER) == "1"
        return answer


_MOST_REJECTIONS: Final = 20_000


def _foreign(batch: Batch) -> Batch:
    """Return what a collector that is not ours should see of `batch`: no open spans, no process."""
    return Batch(
        spans=[replace(span, process_id=None, revision=0) for span in batch.spans if span.end_ns is not None],
        logs=[replace(record, process_id=None) for record in batch.logs],
        resources=batch.resources,
        scopes=batch.scopes,
    )


def _not_ended(batch: Batch, sent: Batch) -> list[Rejection]:
    if len(batch.spans) == len(sent.spans):
        return []
    detail = "only a spane-otel service takes open spans"
    return [
        Rejection("spans", index, "not_ended", detail) for index, span in enumerate(batch.spans) if span.end_ns is None
    ]


def _unavailable(answer: Answer) -> StoreUnavailableError:
    error = StoreUnavailableError(_explain(answer))
    error.retry_after = answer.retry_after
    return error


def _explain(answer: Answer) -> str:
    """Return what went wrong, with what the peer says of it."""
    if not answer.body:
        return answer.detail
    try:
        message = parse_status(answer.body).message
    except DecodeError:
        return answer.detail
    return f"{answer.detail}: {message}" if message else answer.detail
