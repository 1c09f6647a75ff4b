"""A collector as a sink: ours, and any other."""

import pytest

from spane_otel.errors import StoreError, StoreUnavailableError
from spane_otel.ids import new_process_id
from spane_otel.otlp.decode import decode_logs, decode_traces
from spane_otel.otlp.response import status, traces_response
from spane_otel.records import Batch
from spane_otel.stores.remote import RemoteSink
from spane_otel.transport import TransportOptions
from tests.rows import batch, log, span
from tests.unit.transport.peer import Peer, Request, respond, serve

PROCESS = new_process_id()


def make_batch() -> Batch:
    """Return an ended and an open span and a log record of this process, with its heartbeat."""
    made = batch(
        span("ended", execution="e", workflow="w"),
        span("open", parent="ended", end=None, revision=1),
        log("hello", execution="e"),
    )
    for span_row in made.spans:
        span_row.process_id = PROCESS
    for log_row in made.logs:
        log_row.process_id = PROCESS
    made.heartbeats.append(PROCESS)
    return made


def sink_of(peer: Peer) -> RemoteSink:
    return RemoteSink(peer.url, TransportOptions(timeout=5))


def sent(peer: Peer, path: str) -> list[bytes]:
    return [request.body for request in peer.requests if request.line.split()[1] == path]


async def test_our_own_service_gets_everything() -> None:
    async with serve(lambda _: respond(Spane_Otel="1")) as peer:
        sink = sink_of(peer)
        assert await sink.announces()
        result = await sink.write(make_batch())
        await sink.aclose()
    assert (result.spans_stored, result.logs_stored, result.rejected) == (2, 1, [])
    hello, traces = sent(peer, "/v1/traces")
    assert hello == b""
    decoded = decode_traces(traces, now_ns=0).batch
    assert {row.name: row.end_ns is None for row in decoded.spans} == {"ended": False, "open": True}
    assert {row.process_id for row in decoded.spans} == {PROCESS}
    assert [row.revision for row in decoded.spans if row.end_ns is None] == [1]
    (record,) = decode_logs(sent(peer, "/v1/logs")[0], now_ns=0).batch.logs
    assert record.process_id == PROCESS


async def test_a_heartbeat_alone_goes_to_our_own_service_only() -> None:
    async with serve(lambda _: respond(Spane_Otel="1")) as ours, serve(lambda _: respond()) as other:
        for peer in (ours, other):
            sink = sink_of(peer)
            await sink.write(Batch(heartbeats=[PROCESS]))
            await sink.aclose()
    _, body = sent(ours, "/v1/traces")
    assert decode_traces(body, now_ns=0).batch.heartbeats == [PROCESS]
    assert sent(other, "/v1/traces") == [b""], "the question alone"


@pytest.mark.parametrize("hello", [200, 400, 404])
async def test_another_collector_gets_what_has_ended_and_no_process(hello: int) -> None:
    def answer(request: Request) -> bytes:
        return respond(hello if request.body == b"" else 200)

    async with serve(answer) as peer:
        sink = sink_of(peer)
        assert not await sink.announces()
        result = await sink.write(make_batch())
        await sink.aclose()
    assert (result.spans_stored, result.logs_stored) == (1, 1)
    assert [(each.signal, each.index, each.reason) for each in result.rejected] == [("spans", 1, "not_ended")]
    decoded = decode_traces(sent(peer, "/v1/traces")[-1], now_ns=0).batch
    assert [(row.name, row.process_id, row.revision) for row in decoded.spans] == [("ended", None, 0)]
    assert decoded.heartbeats == []


async def test_what_the_peer_does_not_take_is_rejected_with_its_reason() -> None:
    def answer(request: Request) -> bytes:
        body = traces_response(1, "start_out_of_window") if request.body and "traces" in request.line else b""
        return respond(200, body, Spane_Otel="1")

    async with serve(answer) as peer:
        sink = sink_of(peer)
        result = await sink.write(make_batch())
        await sink.aclose()
    assert (result.spans_stored, result.logs_stored) == (1, 1)
    (rejection,) = result.rejected
    assert (rejection.signal, rejection.reason, rejection.detail) == (
        "spans",
        "rejected_by_collector",
        "start_out_of_window",
    )


async def test_an_answer_that_can_not_be_read_still_says_that_it_was_taken() -> None:
    async with serve(lambda _: respond(200, b"\xff\xff\xff", Spane_Otel="1")) as peer:
        sink = sink_of(peer)
        result = await sink.write(make_batch())
        await sink.aclose()
    assert (result.spans_stored, result.logs_stored, result.rejected) == (2, 1, [])


async def test_not_now_is_unavailable_with_the_time_to_wait() -> None:
    async with serve(lambda _: respond(503, status(14, "starting"), Retry_After="7")) as peer:
        sink = sink_of(peer)
        with pytest.raises(StoreUnavailableError, match="answered 503: starting") as caught:
            await sink.write(make_batch())
        await sink.aclose()
    assert caught.value.retry_after == 7.0


async def test_a_refusal_is_a_store_error_that_is_not_tried_again() -> None:
    def answer(request: Request) -> bytes:
        return respond(200) if request.body == b"" else respond(413, status(8, "at most 16 MiB"), Spane_Otel="1")

    async with serve(answer) as peer:
        sink = sink_of(peer)
        with pytest.raises(StoreError, match="answered 413: at most 16 MiB") as caught:
            await sink.write(make_batch())
        await sink.aclose()
    assert not caught.value.retryable


async def test_spans_that_were_delivered_are_not_sent_again_when_the_logs_failed() -> None:
    """Ours would not mind; another collector would hold them twice."""
    refusals = iter([True, False, False])

    def answer(request: Request) -> bytes:
        return respond(503 if "logs" in request.line and next(refusals) else 200)

    async with serve(answer) as peer:
        sink = sink_of(peer)
        made = make_batch()
        with pytest.raises(StoreUnavailableError):
            await sink.write(made)
        result = await sink.write(made)
        await sink.write(made)
        await sink.aclose()
    assert (result.spans_stored, result.logs_stored) == (1, 1)
    assert len(sent(peer, "/v1/traces")) == 1 + 2, "the question, and one request for each write that succeeded"
