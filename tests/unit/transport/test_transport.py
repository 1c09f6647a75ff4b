"""One OTLP request out: what it looks like, and every class of outcome."""

import asyncio
import gzip
import socket
import threading
import time
from email.utils import formatdate

import pytest

from spane_otel.errors import ConfigurationError
from spane_otel.transport import _LEFT_ALONE, MAX_ANSWER_BYTES, Answer, Transport, TransportOptions
from tests.unit.transport.peer import respond, serve


async def post(url: str, body: bytes = b"body", options: TransportOptions | None = None) -> Answer:
    transport = Transport(url, options)
    try:
        return await transport.post("/v1/traces", body)
    finally:
        await transport.aclose()


async def test_a_request_says_what_it_is() -> None:
    async with serve(lambda _: respond()) as peer:
        answer = await post(f"http://me:p%40ss@127.0.0.1:{peer.port}/base/", b"\x00\xff")
    assert (answer.outcome, answer.status) == ("delivered", 200)
    (request,) = peer.requests
    assert request.line == "POST /base/v1/traces HTTP/1.1"
    assert request.body == b"\x00\xff"
    assert request.headers["host"] == f"127.0.0.1:{peer.port}"
    assert request.headers["content-type"] == "application/x-protobuf"
    assert request.headers["authorization"] == "Basic bWU6cEBzcw=="
    assert request.headers["user-agent"].startswith("spane-otel/")


@pytest.mark.parametrize("path", ["", "/", "/v1/traces", "/v1/logs/"])
async def test_a_base_url_with_a_signals_path_is_taken_for_what_was_meant(path: str) -> None:
    async with serve(lambda _: respond()) as peer:
        await post(peer.url + path)
    assert peer.requests[0].line == "POST /v1/traces HTTP/1.1"


async def test_options_come_from_opentelemetrys_variables() -> None:
    options = TransportOptions.from_env(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "x-token=abc%20d, other=1",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
    )
    assert options.timeout == 2.5
    body = b"x" * 5_000
    async with serve(lambda _: respond()) as peer:
        await post(peer.url, body, options)
        await post(peer.url, b"small", options)
    large, small = peer.requests
    assert (large.headers["x-token"], large.headers["other"]) == ("abc d", "1")
    assert large.headers["content-encoding"] == "gzip"
    assert gzip.decompress(large.body) == body
    assert "content-encoding" not in small.headers


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (202, "delivered"),
        (301, "refused"),
        (400, "refused"),
        (401, "refused"),
        (404, "refused"),
        (413, "refused"),
        (500, "refused"),
        (408, "retry"),
        (429, "retry"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
    ],
)
async def test_the_status_decides_the_outcome(status: int, outcome: str) -> None:
    async with serve(lambda _: respond(status, b"why", Location="http://127.0.0.1:1/")) as peer:
        answer = await post(peer.url)
    assert (answer.outcome, answer.status, answer.body) == (outcome, status, b"why")
    assert len(peer.requests) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("0", 0, 0),
        ("120", 120, 120),
        ("9" * 400, 1, 1e10),
    ],
)
async def test_a_peer_may_say_in_seconds_when_to_come_again(value: str, least: float, most: float) -> None:
    async with serve(lambda _: respond(503, Retry_After=value)) as peer:
        answer = await post(peer.url)
    assert answer.retry_after is not None
    assert least <= answer.retry_after <= most


@pytest.mark.parametrize(("seconds", "least", "most"), [(60, 50, 61), (-60, 0, 0)])
async def test_a_peer_may_say_by_date_when_to_come_again(seconds: int, least: float, most: float) -> None:
    date = formatdate(time.time() + seconds, usegmt=True)  # now, not when the tests were collected minutes ago
    async with serve(lambda _: respond(503, Retry_After=date)) as peer:
        answer = await post(peer.url)
    assert answer.retry_after is not None
    assert least <= answer.retry_after <= most


@pytest.mark.parametrize("value", ["soon", "-1", ""])
async def test_nonsense_in_retry_after_is_ignored(value: str) -> None:
    async with serve(lambda _: respond(503, Retry_After=value)) as peer:
        assert (await post(peer.url)).retry_after is None


async def test_a_connection_is_kept_and_used_again() -> None:
    async with serve(lambda _: respond()) as peer:
        transport = Transport(peer.url)
        for _ in range(3):
            assert (await transport.post("/v1/traces", b"")).outcome == "delivered"
        await transport.aclose()
        await transport.aclose()
    assert peer.connections == 1


async def test_a_connection_that_was_closed_while_idle_is_replaced_without_a_failure() -> None:
    async with serve(lambda _: respond()) as peer:
        transport = Transport(peer.url)
        await transport.post("/v1/traces", b"1")
        peer.hang_up()
        assert (await transport.post("/v1/traces", b"2")).outcome == "delivered"
        await transport.aclose()
    assert peer.connections == 2


async def test_a_connection_that_the_peer_ends_is_not_used_again() -> None:
    async with serve(lambda _: respond(Connection="close")) as peer:
        transport = Transport(peer.url)
        for _ in range(2):
            assert (await transport.post("/v1/traces", b"")).outcome == "delivered"
        await transport.aclose()
    assert peer.connections == 2


async def test_a_peer_that_hangs_up_without_an_answer_is_tried_later() -> None:
    async with serve(lambda _: None) as peer:
        answer = await post(peer.url)
    assert (answer.outcome, answer.status) == ("retry", None)
    assert peer.url in answer.detail


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async with serve(lambda _: b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nabc") as peer:
        answer = await post(peer.url)
    assert (answer.outcome, answer.body) == ("delivered", b"abc")


async def test_a_chunked_answer_and_one_that_comes_after_100_are_read() -> None:
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSpane-Otel: 1\r\n\r\n"
    chunked = head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    async with serve(lambda _: chunked) as peer:
        answer = await post(peer.url)
    assert (answer.outcome, answer.body, answer.headers["spane-otel"]) == ("delivered", b"abc", "1")


async def test_no_more_than_64_kib_of_an_answer_is_read() -> None:
    async with serve(lambda _: respond(400, b"x" * 5_000_000)) as peer:
        answer = await post(peer.url)
    assert answer.outcome == "refused"
    assert len(answer.body) == MAX_ANSWER_BYTES


async def test_an_endless_head_is_given_up() -> None:
    async with serve(lambda _: b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 200_000) as peer:
        answer = await post(peer.url)
    assert (answer.outcome, answer.status) == ("retry", None)


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH\r\n\r\n", b"\x00" * 100, b"HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_no_http_is_tried_later(garbage: bytes) -> None:
    async with serve(lambda _: garbage) as peer:
        answer = await post(peer.url)
    assert (answer.outcome, answer.status) == ("retry", None)


async def test_a_request_as_a_whole_has_a_time_limit() -> None:
    """A peer that sends one byte now and then would pass any limit on single reads."""
    drips: list[asyncio.Task[None]] = []

    async def answer_slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def drip() -> None:
            try:
                for byte in b"HTTP/1.1 200 OK\r\nx-a: " + b"b" * 10_000:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.01)
            finally:
                writer.close()

        drips.append(asyncio.create_task(drip()))

    server = await asyncio.start_server(answer_slowly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    began = time.monotonic()
    answer = await post(f"http://127.0.0.1:{port}", options=TransportOptions(timeout=0.2))
    assert time.monotonic() - began < 2
    assert (answer.outcome, answer.status) == ("retry", None)
    assert "within 0.2 s" in answer.detail
    for task in drips:
        task.cancel()
    await asyncio.gather(*drips, return_exceptions=True)
    server.close()


async def test_nobody_there_is_tried_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        answer = await post(f"http://127.0.0.1:{free.getsockname()[1]}")
    assert (answer.outcome, answer.status) == ("retry", None)


async def test_a_host_that_does_not_resolve_is_tried_later() -> None:
    answer = await post("http://no-such-host.invalid:4318")
    assert (answer.outcome, answer.status) == ("retry", None)


async def test_a_peer_that_speaks_no_tls_is_tried_later() -> None:
    async with serve(lambda _: respond()) as peer:
        answer = await post(peer.url.replace("http:", "https:"), options=TransportOptions(timeout=0.2))
    assert (answer.outcome, answer.status) == ("retry", None)


async def test_it_moves_to_another_event_loop_and_leaves_the_old_connection_alone() -> None:
    async with serve(lambda _: respond()) as peer:
        transport = Transport(peer.url)
        assert (await transport.post("/v1/traces", b"")).outcome == "delivered"
        answers: list[Answer] = []

        async def post_and_close() -> None:
            answers.append(await transport.post("/v1/traces", b""))
            await transport.aclose()

        thread = threading.Thread(target=lambda: asyncio.run(post_and_close()))
        thread.start()
        while thread.is_alive():  # noqa: ASYNC110 - a thread ends
            await asyncio.sleep(0.005)
        left_alone = _LEFT_ALONE.pop()
        assert left_alone.is_usable()
        left_alone.close()
        await left_alone.wait_closed()
    assert answers[0].outcome == "delivered"
    assert peer.connections == 2


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://host", "http://", "http://h:port", "http://[::1"])
def test_what_is_no_endpoint_is_an_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Transport(url)


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "\u20ac"])
def test_a_header_that_can_not_be_sent_is_an_error(value: str) -> None:
    with pytest.raises(ConfigurationError, match="a header for OTLP holds"):
        Transport("http://h", TransportOptions(headers={"x-a": value}))


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan"])
def test_a_timeout_that_is_none_is_an_error(value: str) -> None:
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_TIMEOUT"):
        TransportOptions.from_env({"OTEL_EXPORTER_OTLP_TIMEOUT": value})


def test_an_address_shows_no_password() -> None:
    assert Transport("http://me:secret@host:1").address == "http://me:***@host:1"
