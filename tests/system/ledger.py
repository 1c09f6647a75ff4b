"""What was sent and what was answered, kept outside the blast radius (reliability.md, section 6).

A producer numbers its spans; every field of span (producer, number) is a pure function of that pair, so what a
reader shows can be checked without a saved copy.
"""

import hashlib
import http.client
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SPANS_PER_TRACE = 8


def trace_id_of(seed: str, trace: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{trace}".encode(), digest_size=16).digest()


def span_of(seed: str, trace: int, number: int, base_ns: int) -> Span:
    """Return the span (trace, number) of a producer: the first is the root, the others its children."""
    trace_id = trace_id_of(seed, trace)
    span_ids = [hashlib.blake2b(trace_id + bytes([n]), digest_size=8).digest() for n in range(SPANS_PER_TRACE)]
    return Span(
        trace_id=trace_id,
        span_id=span_ids[number],
        parent_span_id=b"" if number == 0 else span_ids[0],
        name=f"{seed} {trace} {number}",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=base_ns + trace * 1000 + number,
        end_time_unix_nano=base_ns + trace * 1000 + number + 500,
        attributes=[KeyValue(key="number", value=AnyValue(int_value=trace * SPANS_PER_TRACE + number))],
    )


class Producer(threading.Thread):
    """Sends one trace a request, each until it is answered 200, and keeps what was.

    A trace whose request was in flight when the service went away may be stored or not.
    """

    def __init__(self, seed: str, address: tuple[str, int], first: int, base_ns: int) -> None:
        super().__init__(daemon=True)
        self.seed = seed
        self.address = address
        self.base_ns = base_ns
        self.next = first
        self.acked: set[int] = set()
        self.is_sending = False
        self._stop_request = threading.Event()

    def run(self) -> None:
        """Send until stopped or until the service goes away in the middle of a request."""
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            while not self._stop_request.is_set():
                self.is_sending = True
                if not self._send(connection, self.next):
                    return
                self.is_sending = False
                self.acked.add(self.next)
                self.next += 1
        finally:
            connection.close()

    def finish(self) -> None:
        self._stop_request.set()
        self.join(15)

    def _send(self, connection: http.client.HTTPConnection, trace: int) -> bool:
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add().scope_spans.add().spans
        spans.extend(span_of(self.seed, trace, number, self.base_ns) for number in range(SPANS_PER_TRACE))
        body = request.SerializeToString()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not self._stop_request.is_set():
            try:
                connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                return False
            if response.status == 200:
                return True
            assert response.status == 503, response.status  # the database is away: told to send again
            self._stop_request.wait(0.05)
        return False
