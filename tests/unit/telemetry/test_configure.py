"""`configure`: where telemetry goes, and what a second call does."""

import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from spane_otel import configure, execution, flush
from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.stores.remote import RemoteSink
from spane_otel.telemetry import shutdown
from spane_otel.telemetry.destination import DEFAULT_ENDPOINT, destination_of
from spane_otel.telemetry.process import PROCESS
from tests.unit.telemetry.sinks import GatedSink, RecordingSink

PG = "postgresql://me:secret@db/app"
A, B, C = "http://a:4318", "http://b:4318", "https://c/otlp"


@pytest.mark.parametrize(
    ("store", "endpoint", "forward", "environ", "otlp", "sink", "targets"),
    [
        (None, None, (), {}, None, DEFAULT_ENDPOINT, ()),
        (None, None, (), {}, A, A, ()),
        (None, None, (), {"SPANE_ENDPOINT": B}, A, B, ()),
        (None, None, (), {"SPANE_DATABASE_URL": PG}, A, "postgresql://me:***@db/app", ()),
        (None, None, (), {"SPANE_DATABASE_URL": PG, "SPANE_ENDPOINT": B}, A, "postgresql://me:***@db/app", (B,)),
        (None, A, (), {"SPANE_DATABASE_URL": PG, "SPANE_ENDPOINT": B}, None, A, ()),
        (PG, None, (), {"SPANE_ENDPOINT": B}, A, "postgresql://me:***@db/app", ()),
        (PG, A, (), {}, None, "postgresql://me:***@db/app", (A,)),
        (PG, A, (B, C), {}, None, "postgresql://me:***@db/app", (A, B, C)),
        (None, A, B, {"SPANE_FORWARD": C}, None, A, (B,)),
        (None, A, (), {"SPANE_FORWARD": f"{B}, {C}"}, None, A, (B, C)),
        ("memory:", None, (), {}, None, "memory:", ()),
    ],
)
def test_arguments_come_before_settings_and_settings_before_the_default(
    store: str | None,
    endpoint: str | None,
    forward: Any,
    environ: dict[str, str],
    otlp: str | None,
    sink: str,
    targets: tuple[str, ...],
) -> None:
    settings, _ = Settings.from_env(environ)
    destination = destination_of(store, endpoint, forward, settings, otlp)
    assert (destination.label, destination.forward) == (sink, targets)
    assert destination.is_guess == (sink == DEFAULT_ENDPOINT)


def test_an_endpoint_is_opened_as_a_remote_sink() -> None:
    opened = destination_of(None, A, (), Settings(), None).source.open()
    assert isinstance(opened, RemoteSink)
    assert opened.address == A


def test_a_store_object_is_the_sink_itself() -> None:
    store = InMemoryExecutionStore()
    assert destination_of(store, None, (), Settings(), None).source.open() is store


def test_a_store_object_is_the_callers_to_close() -> None:
    sink = RecordingSink()
    configure("shop", store=sink)
    with execution("order"):
        pass
    assert shutdown()
    assert sink.names() == {"order": 1}
    assert sink.closed == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"store": "mysql://db"}, "'mysql' is no store"),
        ({"store": A}, "'http' is no store"),
        ({"endpoint": "localhost:4318"}, "is no endpoint"),
        ({"endpoint": "http://"}, "is no endpoint"),
        ({"endpoint": "http://h:99999"}, "is no endpoint"),
        ({"endpoint": A, "forward": ("grpc://x",)}, "'grpc://x' is no endpoint"),
        ({"store": 5}, "'int' is no store"),
    ],
)
def test_what_names_no_place_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configure("shop", **arguments)


def test_an_error_shows_no_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure("shop", endpoint="ftp://me:secret@host")
    assert "secret" not in str(caught.value)


def test_an_unknown_setting_is_a_warning_in_the_library(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPANE_ENDPIONT", A)
    configure("shop", store=RecordingSink())
    assert [record.message for record in caplog.records] == [
        "unknown setting SPANE_ENDPIONT: did you mean SPANE_ENDPOINT?"
    ]


def test_a_second_call_replaces_the_first_which_still_writes_what_it_holds() -> None:
    first, second = GatedSink(), RecordingSink()
    configure("shop", store=first)
    with execution("before"):
        pass
    assert first.is_writing.wait(10)
    configure("shop", store=second)
    with execution("after"):
        pass
    assert not flush(0.05), "the first one's sink has not answered"
    first.gate.set()
    assert flush(10.0)
    assert set(first.names()) == {"before"}
    assert second.names() == {"after": 1}


def test_an_execution_that_is_open_across_a_second_call_ends_in_the_new_sink() -> None:
    first, second = RecordingSink(), RecordingSink()
    configure("shop", store=first)
    with execution("long"):
        assert flush()
        configure("shop", store=second)
    assert flush()
    assert first.names() == {"long": 1}
    assert second.span("long").process_id == first.spans[0].process_id


def test_processors_of_others_stay_in_place() -> None:
    provider = trace.get_tracer_provider()
    configure("shop", store=RecordingSink())
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    before = provider._active_span_processor._span_processors
    sink = RecordingSink()
    configure("shop", store=sink)
    configure("shop", store=sink)
    assert provider._active_span_processor._span_processors == before
    with execution("order"):
        pass
    assert flush()
    assert sink.names() == {"order": 1}


def test_a_second_call_may_rename_a_service_that_is_ours() -> None:
    sink = RecordingSink()
    configure("shop", store=sink)
    configure("warehouse", store=sink)
    with execution("order"):
        pass
    assert flush()
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    assert sink.span("order").service == provider.resource.attributes["service.name"]


def test_a_provider_of_somebody_else_gets_our_processors_and_keeps_its_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from opentelemetry.sdk.resources import Resource

    theirs = TracerProvider(resource=Resource.create({"service.name": "theirs"}), shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: theirs)
    sink = RecordingSink()
    configure("shop", store=sink)
    with execution("order"), theirs.get_tracer("t").start_as_current_span("inner"):
        pass
    assert flush()
    assert sink.span("order").service == "theirs"
    assert sink.span("inner").execution_id == sink.span("order").execution_id
    assert theirs.force_flush(1_000)
    assert "keeps its service.name 'theirs', not 'shop'" in caplog.text


def test_after_a_shutdown_nothing_is_recorded_and_configure_begins_anew() -> None:
    first, second = RecordingSink(), RecordingSink()
    configure("shop", store=first)
    with execution("one"):
        pass
    assert shutdown()
    assert PROCESS.pipeline is None
    with execution("two"):
        pass
    assert first.names() == {"one": 1}
    configure("shop", store=second)
    with execution("three"):
        pass
    assert flush()
    assert second.names() == {"three": 1}


def test_a_shutdown_is_false_if_something_could_not_be_written() -> None:
    configure("shop", store=GatedSink())
    with execution("one"):
        pass
    assert not shutdown(0.05)


class Receiver(HTTPServer):
    """Takes OTLP and remembers which paths were posted to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, bytes]] = []
        self.arrived = threading.Semaphore(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        self.server.requests.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.arrived.release()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_forwarded_is_what_ended_without_announcement_or_process(receiver: Receiver) -> None:
    from spane_otel import log
    from spane_otel.otlp.decode import decode_logs, decode_traces

    sink = RecordingSink()
    configure("shop", store=sink, forward=receiver.url)
    with execution("order") as run:
        log("hello")
        assert flush()
        assert sink.names() == {"order": 1}, "announced to the store"
    assert flush()
    assert receiver.arrived.acquire(timeout=10)
    assert receiver.arrived.acquire(timeout=10)
    assert shutdown()
    bodies = dict(receiver.requests)
    assert sorted(path for path, _ in receiver.requests) == ["/v1/logs", "/v1/traces"]
    (span,) = decode_traces(bodies["/v1/traces"], now_ns=0).batch.spans
    (record,) = decode_logs(bodies["/v1/logs"], now_ns=0).batch.logs
    assert (span.name, span.execution_id, span.process_id) == ("order", run.execution_id, None)
    assert span.end_ns is not None
    assert (record.execution_id, record.process_id) == (run.execution_id, None)
    assert record.uid == sink.logs[0].uid


def test_a_forward_target_that_is_gone_changes_nothing_for_the_store(caplog: pytest.LogCaptureFixture) -> None:
    sink = RecordingSink()
    with caplog.at_level(logging.CRITICAL, "opentelemetry"):
        configure("shop", store=sink, forward="http://127.0.0.1:9")
        with execution("order"):
            pass
        assert flush(5.0)
        assert sink.span("order").state == "completed"
        shutdown(0.5)
