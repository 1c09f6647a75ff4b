"""The spans that every benchmark sends: requests encoded once, given new ids and times before each send.

12 spans a trace (a root and 8 to 14 below it), 11 to 13 attributes of which 2 to 3 hold values that hardly repeat, 9 %
with an event, 1.6 % with an error, 10 services on 24 hosts, about 550 bytes a span, 512 spans a request. Every trace
lies whole in one request, as it does when one process sends its own.
"""

import os
import random
import struct
import time
from collections.abc import Iterator
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

SPANS_PER_REQUEST: Final = 512
_SERVICES: Final = ("checkout", "cart", "payment", "shipping", "email", "search", "catalogue", "ads", "users", "quotes")
_ROUTES: Final = tuple(f"/api/v1/{noun}/{{id}}" for noun in ("orders", "items", "users", "carts", "quotes", "parcels"))
_STEPS: Final = ("validate", "SELECT orders", "reserve", "charge", "render", "publish", "GET /rates", "cache.get")
_AGENTS: Final = ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0)", "okhttp/4.12.0", "python-httpx/0.28.1", "curl/8.14.1")
_FIXED64: Final = struct.Struct("<Q")


class Request:
    """An encoded request whose spans become new ones each time it is taken."""

    def __init__(self, rng: random.Random) -> None:
        message, self._base_ns = _make_request(rng)
        self._body = bytearray(message.SerializeToString())
        self.spans = SPANS_PER_REQUEST
        self._ids: list[tuple[int, list[int]]] = []
        """For each id: its length, and where it stands."""
        self._times: list[tuple[int, int]] = []
        self._find(message)

    def __len__(self) -> int:
        return len(self._body)

    def renew(self) -> bytes:
        """Return the request with ids that were never sent and with times that end now."""
        body = self._body
        for length, places in self._ids:
            fresh = os.urandom(length)
            for place in places:
                body[place : place + length] = fresh
        shift = time.time_ns() - self._base_ns
        for place, moment in self._times:
            _FIXED64.pack_into(body, place, moment + shift)
        return bytes(body)

    def _find(self, message: ExportTraceServiceRequest) -> None:
        ids: set[bytes] = set()
        times: set[int] = set()
        for resource_spans in message.resource_spans:
            for span in resource_spans.scope_spans[0].spans:
                ids.update((span.trace_id, span.span_id))
                times.update((span.start_time_unix_nano, span.end_time_unix_nano))
                times.update(event.time_unix_nano for event in span.events)
        body = bytes(self._body)
        self._ids = [(len(each), list(_places(body, each))) for each in sorted(ids)]
        self._times = [(place, moment) for moment in times for place in _places(body, _FIXED64.pack(moment))]


def make_requests(count: int, seed: int = 1) -> list[Request]:
    """Return `count` different requests, the same for the same seed but for their ids."""
    rng = random.Random(seed)
    return [Request(rng) for _ in range(count)]


def _places(body: bytes, part: bytes) -> Iterator[int]:
    place = body.find(part)
    while place >= 0:
        yield place
        place = body.find(part, place + len(part))


def _make_request(rng: random.Random) -> tuple[ExportTraceServiceRequest, int]:
    now = time.time_ns()
    by_service: dict[str, ResourceSpans] = {}
    message = ExportTraceServiceRequest()
    left = SPANS_PER_REQUEST
    while left:
        size = min(left, rng.randint(9, 15))
        left -= size
        service = rng.choice(_SERVICES)
        if service not in by_service:
            by_service[service] = message.resource_spans.add()
            _describe(by_service[service], service, rng)
        by_service[service].scope_spans[0].spans.extend(_make_trace(rng, size, now))
    return message, now


def _describe(resource_spans: ResourceSpans, service: str, rng: random.Random) -> None:
    host = rng.randrange(24)
    resource_spans.resource.attributes.extend(
        [
            _attribute("service.name", service),
            _attribute("service.version", "2.14.0"),
            _attribute("host.name", f"node-{host:02d}"),
            _attribute("process.pid", 4000 + host),
            _attribute("telemetry.sdk.language", "python"),
        ]
    )
    scope = resource_spans.scope_spans.add().scope
    scope.name = "opentelemetry.instrumentation.asgi"
    scope.version = "0.59b0"


def _make_trace(rng: random.Random, size: int, now: int) -> list[Span]:
    trace_id = rng.randbytes(16)
    start = now - rng.randint(200_000_000, 900_000_000)
    spans: list[Span] = []
    for number in range(size):
        begin = start + number * rng.randint(1_000_000, 9_000_000)
        span = Span(
            trace_id=trace_id,
            span_id=rng.randbytes(8),
            parent_span_id=spans[rng.randrange(len(spans))].span_id if spans else b"",
            name=rng.choice(_STEPS) if spans else f"POST {rng.choice(_ROUTES)}",
            kind=Span.SPAN_KIND_INTERNAL if spans else Span.SPAN_KIND_SERVER,
            start_time_unix_nano=begin,
            end_time_unix_nano=begin + rng.randint(100_000, 90_000_000),
            flags=0x101,
            attributes=_make_attributes(rng),
        )
        if rng.random() < 0.09:
            event = span.events.add(time_unix_nano=begin + rng.randint(1_000, 90_000), name="cache.miss")
            event.attributes.append(_attribute("cache.key", f"order:{rng.randrange(100_000)}"))
        if rng.random() < 0.016:
            span.status.code = span.status.STATUS_CODE_ERROR
            span.status.message = "TimeoutError: no answer within 2 s"
        spans.append(span)
    return spans


def _make_attributes(rng: random.Random) -> list[KeyValue]:
    attributes = [
        _attribute("http.request.method", rng.choice(("GET", "POST", "PUT"))),
        _attribute("http.route", rng.choice(_ROUTES)),
        _attribute("http.response.status_code", 500 if rng.random() < 0.008 else 200),
        _attribute("server.address", f"shop-{rng.randrange(8)}.example.com"),
        _attribute("server.port", 8443),
        _attribute("network.protocol.version", "1.1"),
        _attribute("user.id", f"user-{rng.randrange(100_000)}"),
        _attribute(
            "url.full",
            f"https://shop.example.com/api/v1/orders/{rng.getrandbits(48):012x}?currency=EUR&expand=items,address",
        ),
        _attribute("user_agent.original", rng.choice(_AGENTS)),
        _attribute("deployment.environment.name", "production" if rng.random() < 0.7 else "staging"),
        _attribute("feature.enabled", rng.random() < 0.5),
    ]
    if rng.random() < 0.5:
        attributes.append(_attribute("price.total", round(rng.random() * 500, 2)))
    if rng.random() < 0.5:
        attributes.append(_attribute("retry.count", rng.randrange(3)))
    return attributes


def _attribute(key: str, value: str | float | bool) -> KeyValue:
    match value:
        case bool():
            held = AnyValue(bool_value=value)
        case int():
            held = AnyValue(int_value=value)
        case float():
            held = AnyValue(double_value=value)
        case _:
            held = AnyValue(string_value=value)
    return KeyValue(key=key, value=held)
