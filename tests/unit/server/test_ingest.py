"""OTLP over HTTP: acknowledged after commit, refused with a reason, never a 500."""

import asyncio
import gzip
import json
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from spane_otel.counters import Counters, Signal
from spane_otel.errors import SchemaError, StoreError, StoreUnavailableError
from spane_otel.records import Batch, Rejection, WriteResult
from spane_otel.server import bodies, ingest
from spane_otel.server.bodies import MAX_BYTES
from spane_otel.server.context import ServerContext
from spane_otel.server.intake import Intake, OverloadedError
from tests.rows import ns, trace_id
from tests.unit.server.conftest import FailingStore
from tests.unit.server.requests import PROTOBUF, logs_request, span_message, status_of, text, traces_request

GZIP = {**PROTOBUF, "content-encoding": "gzip"}
ONE = traces_request(span_message("a"))
BOMB = gzip.compress(bytes(20 * MAX_BYTES), 9)


def assert_balanced(counters: Counters, signal: Signal) -> None:
    """Everything that was accepted has met its fate."""
    assert counters.buffered(signal) == 0


async def names_in(store: FailingStore, trace: str = "t") -> list[str]:
    found = await store.get_trace_by_id(trace_id(trace).hex())
    return [span.name for span in found.spans] if found is not None else []


async def test_a_request_is_stored_and_answered_with_full_success(
    otlp: httpx.AsyncClient, store: FailingStore, context: ServerContext
) -> None:
    answer = await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert answer.content == b""
    assert await names_in(store) == ["a"]
    answer = await otlp.post("/v1/logs", content=logs_request("hello", "hello"), headers=PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    assert [log.message for log in await store.list_logs()] == ["hello", "hello"]
    assert list(context.counters) == [
        ("logs", "accepted", "", 2),
        ("logs", "stored", "", 2),
        ("spans", "accepted", "", 1),
        ("spans", "stored", "", 1),
    ]


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs", "/v1/metrics", "/v1/traces/", "/v1/logs/"])
async def test_an_empty_request_is_a_success(otlp: httpx.AsyncClient, path: str) -> None:
    """An exporter may ask with one whether anybody answers."""
    assert (await otlp.post(path, content=b"", headers=PROTOBUF)).status_code == 200


async def test_the_acknowledgement_waits_for_the_commit(otlp: httpx.AsyncClient, store: FailingStore) -> None:
    written, commit = asyncio.Event(), asyncio.Event()
    write = store.write

    async def slow_write(batch: Batch) -> WriteResult:
        written.set()
        await commit.wait()
        return await write(batch)

    store.write = slow_write  # type: ignore[method-assign]  # the store of this test alone
    answer = asyncio.create_task(otlp.post("/v1/traces", content=ONE, headers=PROTOBUF))
    await written.wait()
    assert not answer.done()
    commit.set()
    assert (await answer).status_code == 200


async def test_a_redelivery_counts_as_stored_and_as_a_duplicate(
    otlp: httpx.AsyncClient, store: FailingStore, context: ServerContext
) -> None:
    for _ in range(2):
        assert (await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)).content == b""
    assert await names_in(store) == ["a"]
    assert context.counters.get("spans", "accepted") == 2
    assert context.counters.get("spans", "stored") == 2
    assert context.counters.get("spans", "duplicates") == 1
    assert_balanced(context.counters, "spans")


async def test_a_bad_span_costs_only_itself_and_is_counted_with_its_reason(
    otlp: httpx.AsyncClient, store: FailingStore, context: ServerContext
) -> None:
    """One is refused by the decoder, one by the store; their neighbours are stored."""
    ancient = span_message("ancient")
    ancient.start_time_unix_nano, ancient.end_time_unix_nano = 1, 2
    body = traces_request(
        span_message("a"), span_message("short", raw_trace_id=b"\x01"), ancient, span_message("b", trace="t")
    )
    answer = await otlp.post("/v1/traces", content=body, headers=PROTOBUF)
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 2
    assert partial.error_message.startswith("2 of 4 spans rejected; ")
    assert "1 x invalid_trace_id" in partial.error_message
    assert "1 x start_out_of_window" in partial.error_message
    assert sorted(await names_in(store)) == ["a", "b"]
    counters = context.counters
    assert counters.get("spans", "accepted") == 4
    assert counters.get("spans", "stored") == 2
    assert counters.get("spans", "rejected", "invalid_trace_id") == 1
    assert counters.get("spans", "rejected", "start_out_of_window") == 1
    assert_balanced(counters, "spans")


async def test_a_bad_log_record_costs_only_itself(otlp: httpx.AsyncClient, store: FailingStore) -> None:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest.FromString(logs_request("kept", "beyond"))
    request.resource_logs[0].scope_logs[0].log_records[1].time_unix_nano = 2**64 - 1
    answer = await otlp.post("/v1/logs", content=request.SerializeToString(), headers=PROTOBUF)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_log_records) == (200, 1)
    assert [log.message for log in await store.list_logs()] == ["kept"]


async def test_a_repair_is_said_and_rejects_nothing(otlp: httpx.AsyncClient, context: ServerContext) -> None:
    message = span_message("a")
    message.attributes.append(text("k", "PLACE"))
    body = traces_request(message).replace(b"PLACE", b"\xff\xfe\xff\xfe\xff")
    answer = await otlp.post("/v1/traces", content=body, headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 0
    assert partial.error_message == "1 spans repaired"
    assert context.counters.get("spans", "repaired") == 1


def test_a_message_names_each_reason_once_and_stays_short() -> None:
    rejected = [Rejection("spans", index, "a", f"detail {index}") for index in range(3)]
    rejected += [Rejection("spans", 3, "b")]
    assert ingest.describe("spans", 9, rejected, 0) == "4 of 9 spans rejected; 3 x a (detail 0); 1 x b"
    long = [Rejection("spans", 0, "a", "x" * 5_000)]
    assert len(ingest.describe("spans", 1, long, 0)) == 1_000
    assert ingest.describe("spans", 1, [], 0) == ""


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"hello world",
        b"\x0b",
        b"\x0a",
        ONE[:-1],
        ONE[:10],
        b"\x80" * 2_000_000,
        b'{"resourceSpans":[]}',
    ],
    ids=["byte", "length beyond", "text", "open group", "tag alone", "cut by one", "cut", "2 MB of varint", "json"],
)
@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
async def test_what_is_not_protobuf_is_the_clients_fault(otlp: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await otlp.post(path, content=body, headers=PROTOBUF)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/x-protobuf"
    status = status_of(answer.content)
    assert status.code == 3
    assert status.message


async def test_json_is_not_taken_yet_and_says_what_to_do(otlp: httpx.AsyncClient) -> None:
    answer = await otlp.post("/v1/traces", content=b"{}", headers={"content-type": "application/json; charset=utf-8"})
    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["code"] == 3
    assert "http/protobuf" in answer.json()["message"]


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/octet-stream", "application/grpc", "x-protobuf", None]
)
async def test_another_media_type_is_refused_as_text(otlp: httpx.AsyncClient, media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    answer = await otlp.post("/v1/traces", content=ONE, headers=headers)
    assert answer.status_code == 415
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "application/x-protobuf" in answer.text


@pytest.mark.parametrize(
    "media_type", ["application/x-protobuf; charset=utf-8", "Application/X-Protobuf", " application/x-protobuf ;x=y"]
)
async def test_the_media_type_is_read_without_case_and_parameters(otlp: httpx.AsyncClient, media_type: str) -> None:
    assert (await otlp.post("/v1/traces", content=ONE, headers={"content-type": media_type})).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip ", "identity, gzip"])
async def test_gzip_is_taken(otlp: httpx.AsyncClient, store: FailingStore, encoding: str) -> None:
    headers = {**PROTOBUF, "content-encoding": encoding}
    assert (await otlp.post("/v1/traces", content=gzip.compress(ONE), headers=headers)).status_code == 200
    assert await names_in(store) == ["a"]


@pytest.mark.parametrize("encoding", ["identity", "", "identity, identity"])
async def test_no_encoding_may_be_said(otlp: httpx.AsyncClient, encoding: str) -> None:
    headers = {**PROTOBUF, "content-encoding": encoding}
    assert (await otlp.post("/v1/traces", content=ONE, headers=headers)).status_code == 200


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "gzip, br", "snappy", "*"])
async def test_another_encoding_is_refused_and_the_right_one_is_named(otlp: httpx.AsyncClient, encoding: str) -> None:
    headers = {**PROTOBUF, "content-encoding": encoding}
    answer = await otlp.post("/v1/traces", content=gzip.compress(ONE), headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, identity"
    assert "gzip" in status_of(answer.content).message


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(ONE)[:-2], gzip.compress(ONE) + b"more"])
async def test_damaged_gzip_is_the_clients_fault(otlp: httpx.AsyncClient, body: bytes) -> None:
    answer = await otlp.post("/v1/traces", content=body, headers=GZIP)
    assert answer.status_code == 400
    assert "gzip" in status_of(answer.content).message


async def test_what_inflates_beyond_the_limit_is_too_large(otlp: httpx.AsyncClient, context: ServerContext) -> None:
    answer = await otlp.post("/v1/traces", content=BOMB, headers=GZIP)
    assert answer.status_code == 413
    assert status_of(answer.content).code == 8
    assert context.intake.bytes_held == 0


@pytest.mark.parametrize("declared", [None, MAX_BYTES + 1])
async def test_a_body_without_end_is_read_up_to_a_limit_and_refused(
    otlp: httpx.AsyncClient, context: ServerContext, declared: int | None
) -> None:
    """A little more is read than is taken, so that the client sees the answer; none of it is held."""
    sent, held = 0, 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent, held
        while True:
            sent += 1
            held = max(held, context.intake.bytes_held)
            yield bytes(1024 * 1024)

    headers = PROTOBUF if declared is None else {**PROTOBUF, "content-length": str(declared)}
    assert (await otlp.post("/v1/traces", content=endless(), headers=headers)).status_code == 413
    assert sent <= 3 * MAX_BYTES // (1024 * 1024) + 1
    assert held == (MAX_BYTES if declared is None else 0)


async def test_a_request_of_too_many_items_is_too_large(otlp: httpx.AsyncClient) -> None:
    """Two bytes on the wire each, a megabyte in all, and hundreds of megabytes as objects."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add()
    head = b"\x12\x00" * 500_000
    scope_spans = b"\x12" + varint(len(head)) + head
    body = b"\x0a" + varint(len(scope_spans)) + scope_spans
    answer = await otlp.post("/v1/traces", content=gzip.compress(body), headers=GZIP)
    assert answer.status_code == 413


async def test_a_body_that_takes_too_long_is_given_up(otlp: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.02)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"\x0a"
        await asyncio.Event().wait()

    answer = await otlp.post("/v1/traces", content=stuck(), headers=PROTOBUF)
    assert answer.status_code == 408
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "failure", [StoreUnavailableError("down"), SchemaError("behind"), StoreError("no"), RuntimeError("a bug")]
)
async def test_a_store_that_fails_asks_the_client_to_come_again(
    otlp: httpx.AsyncClient, store: FailingStore, context: ServerContext, failure: Exception
) -> None:
    store.failure = failure
    answer = await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert status_of(answer.content).code == 14
    assert str(failure) not in status_of(answer.content).message
    assert context.counters.get("spans", "rejected", "store_unavailable") == 1
    assert_balanced(context.counters, "spans")
    store.failure = None
    assert (await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)).status_code == 200
    assert context.intake.bytes_held == 0


async def test_a_decoder_that_fails_unexpectedly_blames_the_request_and_is_logged(
    context: ServerContext, caplog: pytest.LogCaptureFixture
) -> None:
    """Sent again, the same bytes would fail again: a client must not repeat them for ever."""

    def fail(_body: bytes, **_: Any) -> Any:
        raise ZeroDivisionError("secret")

    endpoints = ingest.OtlpEndpoints(context)
    with caplog.at_level(logging.ERROR), pytest.raises(ingest.Refusal) as caught:
        endpoints._decode(fail, b"xyz")
    assert caught.value.status_code == 400
    assert "secret" not in str(caught.value)
    assert "ZeroDivisionError" in caplog.text


async def test_beyond_the_bytes_that_may_be_held_the_client_is_asked_to_come_again(
    otlp: httpx.AsyncClient, context: ServerContext
) -> None:
    with context.intake.lease() as lease:
        lease.hold(context.intake.limit - len(ONE) + 1)
        answer = await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
    assert (await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)).status_code == 200
    assert context.intake.bytes_held == 0


def test_a_lease_gives_back_what_it_held_however_it_ends() -> None:
    intake = Intake(limit=10)
    with intake.lease() as lease:
        lease.hold(6)
        assert intake.bytes_held == 6
        with pytest.raises(OverloadedError):
            lease.hold(5)
    assert intake.bytes_held == 0


async def test_metrics_are_taken_and_said_not_to_be_stored(otlp: httpx.AsyncClient) -> None:
    answer = await otlp.post("/v1/metrics", content=b"\x0a\x00", headers=PROTOBUF)
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert answer.status_code == 200
    assert partial.rejected_data_points == 0
    assert partial.error_message == "metrics are not stored"


async def test_another_path_says_where_otlp_is_taken(otlp: httpx.AsyncClient) -> None:
    answer = await otlp.post("/v1development/profiles", content=b"", headers=PROTOBUF)
    assert answer.status_code == 404
    assert "/v1/traces" in status_of(answer.content).message


async def test_heartbeats_alone_reach_the_store(otlp: httpx.AsyncClient, store: FailingStore) -> None:
    """An empty ResourceSpans with a process id says that this process lives."""
    seen: list[Batch] = []
    write = store.write

    async def note(batch: Batch) -> WriteResult:
        seen.append(batch)
        return await write(batch)

    store.write = note  # type: ignore[method-assign]  # the store of this test alone
    request = ExportTraceServiceRequest()
    request.resource_spans.add().resource.attributes.append(text("spane.process.id", "p-1"))
    answer = await otlp.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    assert [batch.heartbeats for batch in seen] == [["p-1"]]


async def test_requests_are_counted_by_path_and_status(otlp: httpx.AsyncClient, context: ServerContext) -> None:
    await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)
    await otlp.post("/v1/traces/", content=ONE, headers=PROTOBUF)
    await otlp.post("/v1/logs", content=b"\xff", headers=PROTOBUF)
    assert context.intake.requests == {("/v1/traces", 200): 2, ("/v1/logs", 400): 1}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=st.binary(max_size=200) | st.binary(max_size=40).map(lambda tail: ONE + tail),
    headers=st.fixed_dictionaries(
        {},
        optional={
            "content-type": st.sampled_from(["application/x-protobuf", "application/json", "text/plain", ";", ""]),
            "content-encoding": st.sampled_from(["gzip", "deflate", "", ","]),
        },
    ),
    path=st.sampled_from(["/v1/traces", "/v1/logs", "/v1/metrics"]),
)
async def test_no_input_ends_in_anything_but_an_answer_of_the_protocol(
    otlp: httpx.AsyncClient, store: FailingStore, body: bytes, headers: dict[str, str], path: str
) -> None:
    answer = await otlp.post(path, content=body, headers=headers)
    assert answer.status_code in {200, 400, 413, 415}
    assert b"Traceback" not in answer.content
    if answer.headers["content-type"] == "application/json":
        assert set(json.loads(answer.content)) == {"code", "message"}


def varint(number: int) -> bytes:
    """Return `number` as protobuf writes it."""
    raw = bytearray()
    while number >= 0x80:
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    raw.append(number)
    return bytes(raw)


async def test_a_large_request_is_decoded_beside_the_event_loop(
    otlp: httpx.AsyncClient, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    decode = ingest.OtlpEndpoints._decode

    def note(endpoints: ingest.OtlpEndpoints, *arguments: Any) -> Any:
        threads.append(threading.get_ident())
        return decode(endpoints, *arguments)

    monkeypatch.setattr(ingest.OtlpEndpoints, "_decode", note)
    assert (await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)).status_code == 200
    monkeypatch.setattr(ingest, "INLINE_BYTES", len(ONE) - 1)
    assert (await otlp.post("/v1/traces", content=ONE, headers=PROTOBUF)).status_code == 200
    assert (await otlp.post("/v1/traces", content=b"\xff" + ONE, headers=PROTOBUF)).status_code == 400
    assert await names_in(store) == ["a"]
    assert [each == threading.get_ident() for each in threads] == [True, False, False]


async def test_log_records_without_any_time_are_counted(otlp: httpx.AsyncClient, context: ServerContext) -> None:
    """Each delivery of one gets the time of its receipt: the one thing that can't be recognised when sent again."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(observed_time_unix_nano=ns(0))
    records.add()
    answer = await otlp.post("/v1/logs", content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200
    assert context.counters.get("logs", "untimed") == 1
    assert_balanced(context.counters, "logs")
