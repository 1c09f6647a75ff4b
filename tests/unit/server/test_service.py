"""The service on real sockets: addresses, live stream, limits of connections, graceful stop."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from spane_otel.clock import ManualClock
from spane_otel.errors import ConfigurationError, StoreUnavailableError
from spane_otel.records import Batch, WriteResult
from spane_otel.server import bodies, changes, connections, stream
from spane_otel.server import service as service_module
from spane_otel.server.context import Addresses
from spane_otel.server.service import Service
from tests import rows
from tests.rows import batch, log, root, span, trace_id
from tests.unit.server.conftest import FailingStore
from tests.unit.server.requests import PROTOBUF, span_message, traces_request

pytestmark = pytest.mark.timeout(30)
ONE = traces_request(span_message("a"))


@pytest.fixture
async def addresses(store: FailingStore, clock: ManualClock) -> AsyncIterator[Addresses]:
    async with Service(store, port=0, otlp_http_port=0, clock=clock) as found:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10) as opened:
        yield opened


class Event:
    """A server-sent event."""

    def __init__(self, lines: list[str]) -> None:
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        self.id = fields.get("id")
        self.name = fields.get("event")
        self.data: Any = json.loads(fields["data"]) if "data" in fields else None


@asynccontextmanager
async def listen(
    client: httpx.AsyncClient, addresses: Addresses, headers: dict[str, str] | None = None, **parameters: str
) -> AsyncIterator[AsyncIterator[Event]]:
    """Open the stream; yields its events."""
    url = f"{addresses.ui}/api/v1/stream"
    async with client.stream("GET", url, params=parameters, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"

        async def events() -> AsyncIterator[Event]:
            lines: list[str] = []
            async for line in answer.aiter_lines():
                if line:
                    lines.append(line)
                elif lines:
                    yield Event(lines)
                    lines = []

        yield events()


async def next_named(events: AsyncIterator[Event], name: str) -> Event:
    return await anext(event async for event in events if event.name == name)


async def test_both_ports_answer_once_it_has_started(client: httpx.AsyncClient, addresses: Addresses) -> None:
    assert (await client.get(f"{addresses.ui}/healthz")).status_code == 200
    answer = await client.post(f"{addresses.otlp}/v1/traces", content=ONE, headers=PROTOBUF)
    assert answer.status_code == 200
    assert answer.headers["spane-otel"] == "1"
    assert "server" not in answer.headers
    found = await client.get(f"{addresses.ui}/api/v1/traces/{trace_id('t').hex()}")
    assert [each["name"] for each in found.json()["spans"]] == ["a"]


async def test_an_id_with_dots_and_slashes_arrives_raw(addresses: Addresses, store: FailingStore) -> None:
    """No client library in between: they rewrite such paths."""
    await store.create_execution("w", execution_id="..")
    await store.create_execution("w", execution_id="a/b")
    for segment in ("..", "%2e%2e", "a%2Fb"):
        answer = await exchange(addresses.ui, f"GET /api/v1/executions/{segment} HTTP/1.1\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200"), segment


async def test_localhost_and_ipv6_loopback_may_be_listened_on(store: FailingStore, client: httpx.AsyncClient) -> None:
    for host in ("localhost", "::1"):
        async with Service(store, host=host, port=0, otlp_http_port=0) as addresses:
            assert (await client.get(f"{addresses.ui}/healthz")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_a_host_that_is_not_loopback_is_refused(store: FailingStore, host: str) -> None:
    with pytest.raises(ConfigurationError, match="refused"):
        Service(store, host=host)


async def test_a_port_that_is_taken_is_named_and_nothing_stays_open(
    store: FailingStore, addresses: Addresses, client: httpx.AsyncClient
) -> None:
    taken = urlsplit(addresses.otlp).port
    assert taken is not None
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{taken} .*--otlp-http-port"):
        await Service(store, port=0, otlp_http_port=taken).start()
    with pytest.raises(ConfigurationError, match="--port"):
        await Service(store, port=70_000, otlp_http_port=0).start()
    assert (await client.get(f"{addresses.ui}/healthz")).status_code == 200


async def test_the_stream_tells_of_changes_as_they_are_committed(
    client: httpx.AsyncClient, addresses: Addresses, store: FailingStore
) -> None:
    async with listen(client, addresses) as events:
        assert (await next_named(events, "store")).data == {"available": True}
        await store.write(rows.batch(span("a")))
        event = await next_named(events, "change")
        assert event.data == {"kind": "spans", "execution_id": None, "trace_id": trace_id("t").hex()}
        assert event.id


async def test_last_event_id_resumes_without_a_gap(
    client: httpx.AsyncClient, addresses: Addresses, store: FailingStore
) -> None:
    async with listen(client, addresses) as events:
        await next_named(events, "store")
        await store.write(rows.batch(span("a", trace="one")))
        seen = await next_named(events, "change")
    assert seen.id is not None
    await store.write(rows.batch(span("b", trace="two")))
    async with listen(client, addresses, {"Last-Event-ID": seen.id}) as events:
        assert (await next_named(events, "change")).data["trace_id"] == trace_id("two").hex()
    async with listen(client, addresses, cursor=seen.id) as events:
        assert (await next_named(events, "change")).data["trace_id"] == trace_id("two").hex()


async def test_a_cursor_that_is_echoed_begins_no_event_of_its_senders(
    client: httpx.AsyncClient, addresses: Addresses, store: FailingStore
) -> None:
    async with listen(client, addresses, cursor="x\nevent: change\ndata: {}\n\n") as events:
        assert (await next_named(events, "store")).id == "-"
        heard = [(await anext(events)).data for _ in range(3)]
    assert heard == [{"kind": kind, "execution_id": None, "trace_id": None} for kind in ("spans", "logs", "execution")]


async def test_only_the_last_of_several_changes_moves_the_place_to_resume_at(
    client: httpx.AsyncClient, addresses: Addresses, store: FailingStore
) -> None:
    """A client that is cut off between them hears all of them again."""
    cursor, _ = await store.poll_changes()
    await store.write(rows.batch(span("a", trace="one"), span("b", trace="two"), span("c", trace="three")))
    async with listen(client, addresses, cursor=cursor) as events:
        ids = [(await next_named(events, "change")).id for _ in range(3)]
    assert ids[:2] == [cursor, cursor]
    assert ids[2] not in (None, cursor)


async def test_the_stream_of_an_execution_passes_changes_of_its_traces(
    client: httpx.AsyncClient, addresses: Addresses, store: FailingStore
) -> None:
    await store.write(rows.batch(root("a/b", trace="t")))
    async with listen(client, addresses, execution_id="a/b") as events:
        await next_named(events, "store")
        await store.write(rows.batch(span("foreign", trace="x"), span("inner", trace="t", parent="root of a/b")))
        assert (await next_named(events, "change")).data["trace_id"] == trace_id("t").hex()


async def test_the_stream_outlives_an_outage_of_the_store(
    client: httpx.AsyncClient, addresses: Addresses, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "OUTAGE_SECONDS", 0.01)
    async with listen(client, addresses) as events:
        assert (await next_named(events, "store")).data == {"available": True}
        store.failure = StoreUnavailableError("down")
        assert (await next_named(events, "store")).data == {"available": False}
        store.failure = None
        assert (await next_named(events, "store")).data == {"available": True}


async def test_a_quiet_stream_is_kept_alive(
    client: httpx.AsyncClient, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment with the present cursor: nobody is disturbed, and a client resumes from it."""
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.02)
    async with listen(client, addresses) as events:
        quiet = await anext(event async for event in events if event.id is not None and event.name is None)
    assert quiet.data is None


async def test_more_live_pages_than_allowed_are_asked_to_come_again(
    client: httpx.AsyncClient, addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LISTENER_LIMIT", 1)
    async with listen(client, addresses) as events:
        await next_named(events, "store")
        answer = await client.get(f"{addresses.ui}/api/v1/stream")
        assert answer.status_code == 503
    head = await client.head(f"{addresses.ui}/api/v1/stream")
    assert head.status_code in (200, 503)


async def test_stopping_ends_live_streams_and_refuses_new_connections(
    client: httpx.AsyncClient, store: FailingStore
) -> None:
    service = Service(store, port=0, otlp_http_port=0)
    addresses = await service.start()
    async with listen(client, addresses) as events:
        await next_named(events, "store")
        await service.stop()
        assert [event.name async for event in events if event.name is not None] == []
    await service.stop()
    with pytest.raises(httpx.ConnectError):
        await client.get(f"{addresses.ui}/healthz")


async def test_stopping_finishes_what_is_in_flight(client: httpx.AsyncClient, store: FailingStore) -> None:
    written, commit = asyncio.Event(), asyncio.Event()
    write = store.write

    async def slow_write(batch: Batch) -> WriteResult:
        written.set()
        await commit.wait()
        return await write(batch)

    store.write = slow_write  # type: ignore[method-assign]  # the store of this test alone
    service = Service(store, port=0, otlp_http_port=0, clock=ManualClock())
    addresses = await service.start()
    answer = asyncio.create_task(client.post(f"{addresses.otlp}/v1/traces", content=ONE, headers=PROTOBUF))
    await written.wait()
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    commit.set()
    assert (await answer).status_code == 200
    await stopping


async def test_stopping_waits_no_longer_than_its_grace_and_asks_to_come_again(
    client: httpx.AsyncClient, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that hangs holds nothing up for ever, and no request is answered 500."""
    written = asyncio.Event()

    async def hang(batch: Batch) -> WriteResult:
        written.set()
        await asyncio.Event().wait()
        return WriteResult()

    store.write = hang  # type: ignore[method-assign]  # the store of this test alone
    monkeypatch.setattr(service_module, "STOP_SECONDS", 0.1)
    service = Service(store, port=0, otlp_http_port=0)
    addresses = await service.start()
    answer = asyncio.create_task(client.post(f"{addresses.otlp}/v1/traces", content=ONE, headers=PROTOBUF))
    await written.wait()
    async with asyncio.timeout(5):
        await service.stop()
    assert (await answer).status_code == 503
    assert (await answer).headers["retry-after"] == "1"


async def test_a_head_that_grows_without_end_is_refused(addresses: Addresses) -> None:
    reader, writer = await connect(addresses.ui)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
    await writer.drain()
    received = b""
    try:
        for _ in range(200):
            writer.write(b"x" * 10_000)
            await writer.drain()
        received = await reader.read()
    except ConnectionError:  # closed while we were still writing; what was answered may be lost with it
        received = b"HTTP/1.1 431"
    assert received.startswith(b"HTTP/1.1 431")
    writer.close()


async def test_a_head_that_never_ends_is_closed(addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"):
        reader, writer = await connect(addresses.ui)
        writer.write(begun)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("path", "media_type", "host", "status"),
    [
        ("/v1/traces", "text/plain", "localhost", 415),
        ("/v1/nothing", "application/x-protobuf", "localhost", 404),
        ("/v1/traces", "application/x-protobuf", "evil.example", 421),
    ],
)
async def test_a_refused_client_sees_why_although_it_was_still_sending(
    addresses: Addresses, path: str, media_type: str, host: str, status: int
) -> None:
    """Closing with bytes unread would reset the connection and lose the answer."""
    reader, writer = await connect(addresses.otlp)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media_type}\r\nConnection: close\r\n"
    writer.write(head.encode() + b"Content-Length: 8000000\r\n\r\n")
    writer.write(bytes(8_000_000))
    assert (await reader.read()).startswith(f"HTTP/1.1 {status}".encode())
    writer.close()


async def test_a_client_that_waits_for_leave_to_send_is_refused_at_once(addresses: Addresses) -> None:
    reader, writer = await connect(addresses.otlp)
    writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 415")
    writer.close()


async def test_a_body_that_goes_on_after_it_was_refused_is_cut_off(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "DRAIN_SECONDS", 0.05)
    monkeypatch.setattr(connections, "DRAIN_SECONDS", 0.05)
    reader, writer = await connect(addresses.otlp)
    writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n")
    writer.write(b"Content-Type: application/x-protobuf\r\n\r\nbegin")
    assert (await reader.read()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_client_that_never_reads_is_cut_off(store: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left unread is let go; one that reads slowly may go on."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.05)
    await store.create_execution("w", execution_id="big")
    await store.write(batch(log("x" * 30_000_000, execution="big")))
    service = Service(store, port=0, otlp_http_port=0)
    reader, writer = await connect((await service.start()).ui)
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # a client that never reads
    writer.write(b"GET /api/v1/executions/big/logs HTTP/1.1\r\nHost: localhost\r\n\r\n")
    open_connections = service._servers[0].server_state.connections
    async with asyncio.timeout(10):
        await until(lambda: any(each.flow.write_paused for each in open_connections))  # type: ignore[union-attr]  # HTTP
        await until(lambda: not open_connections)
    reader._transport.resume_reading()  # type: ignore[attr-defined]  # to see what had been sent
    with contextlib.suppress(ConnectionError):
        assert len(await reader.read()) < 30_000_000
    writer.close()
    await service.stop()


async def test_requests_on_one_connection_are_answered_in_turn(addresses: Addresses) -> None:
    reader, writer = await connect(addresses.ui)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    writer.write((request + b"\r\n") * 3 + request + b"Connection: close\r\n\r\n")
    assert (await reader.read()).count(b"HTTP/1.1 200") == 4
    writer.close()


async def test_a_chunked_body_and_an_expectation_are_understood(addresses: Addresses) -> None:
    reader, writer = await connect(addresses.otlp)
    writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 100")
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(ONE), ONE))
    assert b"HTTP/1.1 200" in await reader.read()
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"NONSENSE\r\n",
        b"GET / HTTP/9.9\r\n",
        b"POST /v1/traces HTTP/1.1\r\nContent-Length: -1\r\n",
        b"POST /v1/traces HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"GET /\xff HTTP/1.1\r\n",
    ],
)
async def test_what_is_not_http_is_answered_400_and_the_service_lives(
    addresses: Addresses, client: httpx.AsyncClient, head: bytes
) -> None:
    assert (await exchange(addresses.otlp, head)).startswith(b"HTTP/1.1 400")
    answer = await client.post(f"{addresses.otlp}/v1/traces", content=ONE, headers=PROTOBUF)
    assert answer.status_code == 200


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; what makes it hold runs in this loop."""
    while not condition():  # noqa: ASYNC110 - the other side offers no event
        await asyncio.sleep(0.005)


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(address)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def exchange(address: str, head: bytes) -> bytes:
    """Send a request head, as it is, and return all that is answered."""
    reader, writer = await connect(address)
    writer.write(head + b"Host: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer
