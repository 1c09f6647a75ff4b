"""Log records: `log(...)`, `logging`, and OpenTelemetry's own logger."""

import contextlib
import io
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.sdk._logs import LoggerProvider

from spane_otel import aflush, configure, execution, flush, log, node
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.telemetry.log_handler import ExecutionLogHandler
from tests.unit.telemetry.sinks import RecordingSink, attributes_of


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that lets everything through."""
    logger = logging.getLogger("shop.till")
    logger.setLevel(1)
    yield logger
    logger.setLevel(logging.NOTSET)


@contextlib.contextmanager
def without_other_handlers() -> Iterator[None]:
    """Take every handler but ours off the root logger, and put them back."""
    others = [handler for handler in logging.root.handlers if not isinstance(handler, ExecutionLogHandler)]
    for handler in others:
        logging.root.removeHandler(handler)
    try:
        yield
    finally:
        for handler in others:
            logging.root.addHandler(handler)


async def test_log_is_tied_to_execution_node_and_span(store: InMemoryExecutionStore) -> None:
    with execution("order") as run:
        log("begun")
        with node("pay") as step:
            log("paying", level="warn", amount=3)
    assert await aflush()
    begun, paying = await store.get_logs(run.execution_id)
    assert (begun.body, begun.level, begun.node_id) == ("begun", "info", None)
    assert (paying.body, paying.level, paying.node_id) == ("paying", "warn", "pay")
    assert paying.attributes["amount"] == 3
    context = step.span.get_span_context()
    assert paying.span_id == f"{context.span_id:016x}"
    assert paying.trace_id == f"{context.trace_id:032x}"
    assert begun.id is not None
    assert begun.id != paying.id
    assert paying.attributes["log.record.uid"] == paying.id


@pytest.mark.parametrize(
    ("level", "severity", "text"),
    [
        ("trace", 1, "TRACE"),
        ("debug", 5, "DEBUG"),
        ("info", 9, "INFO"),
        ("warn", 13, "WARN"),
        ("warning", 13, "WARN"),
        ("error", 17, "ERROR"),
        ("fatal", 21, "FATAL"),
        ("CRITICAL", 21, "FATAL"),
        ("no such level", 9, "INFO"),
    ],
)
def test_levels_become_severities(sink: RecordingSink, level: str, severity: int, text: str) -> None:
    with execution("order"):
        log("x", level=level)
    assert flush()
    (row,) = sink.logs
    assert (row.severity, row.severity_text) == (severity, text)


@pytest.mark.parametrize(
    ("levelno", "severity", "text"),
    [
        (7, 1, "Level 7"),
        (10, 5, "DEBUG"),
        (20, 9, "INFO"),
        (25, 12, "Level 25"),
        (30, 13, "WARN"),
        (40, 17, "ERROR"),
        (50, 21, "FATAL"),
        (90, 24, "Level 90"),
    ],
)
def test_levels_of_logging_become_severities(
    sink: RecordingSink, logger: logging.Logger, levelno: int, severity: int, text: str
) -> None:
    with execution("order"):
        logger.log(levelno, "x")
    assert flush()
    (row,) = sink.logs
    assert (row.severity, row.severity_text) == (severity, text)


def test_records_of_logging_inside_an_execution_become_rows(sink: RecordingSink, logger: logging.Logger) -> None:
    logger.info("outside")
    with execution("order") as run, node("pay"):
        logger.warning("paid %d of %s", 3, "EUR", extra={"customer": "c-1"})
    assert flush()
    (row,) = sink.logs
    assert row.body == '"paid 3 of EUR"'
    assert (row.execution_id, row.node_id) == (run.execution_id, "pay")
    assert row.span_id == sink.span("pay").span_id
    attributes = attributes_of(row)
    assert attributes["customer"] == "c-1"
    assert attributes["code.function.name"] == "test_records_of_logging_inside_an_execution_become_rows"
    assert attributes["code.line.number"] > 0
    assert sink.batches[-1].scopes[row.scope_id].name == "shop.till"


def look_up(sku: str) -> None:
    raise LookupError(f"no such {sku}")


def test_an_exception_that_is_logged_is_in_the_attributes(sink: RecordingSink, logger: logging.Logger) -> None:
    with execution("order"):
        try:
            look_up("sku")
        except LookupError:
            logger.exception("failed")
    assert flush()
    (row,) = sink.logs
    attributes = attributes_of(row)
    assert attributes["exception.type"] == "LookupError"
    assert attributes["exception.message"] == "no such sku"
    assert 'raise LookupError(f"no such {sku}")' in attributes["exception.stacktrace"]


class Hostile:
    """Raises wherever it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_a_record_that_can_not_be_formatted_never_raises(sink: RecordingSink, logger: logging.Logger) -> None:
    with without_other_handlers(), execution("order"):
        logger.info("%d", "not a number")
        logger.info("fine %s", Hostile())
        logger.info("good")
    assert flush()
    bodies = [row.body for row in sink.logs]
    assert bodies[0] == "\"%d ('not a number',)\""
    assert bodies[-1] == '"good"'


def test_records_of_our_own_loggers_and_of_the_sdk_are_left_alone(sink: RecordingSink) -> None:
    with execution("order"):
        logging.getLogger("spane_otel.telemetry.delivery").warning("ours")
        logging.getLogger("opentelemetry.sdk.trace").warning("the SDK's")
        logging.getLogger("spane_otel_plugin").warning("somebody's")
    assert flush()
    assert [row.body for row in sink.logs] == ['"somebody\'s"']


def test_the_least_level_can_be_raised(logger: logging.Logger) -> None:
    sink = RecordingSink()
    configure("shop", store=sink, log_level="ERROR")
    with execution("order"):
        logger.warning("too low")
        logger.error("kept")
    assert flush()
    assert [row.body for row in sink.logs] == ['"kept"']


def test_what_logging_prints_by_default_is_still_printed(
    sink: RecordingSink, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler on the root logger silences `logging.lastResort`; ours must not."""
    output = io.StringIO()
    last = logging.StreamHandler(output)
    last.setLevel(logging.WARNING)
    monkeypatch.setattr(logging, "lastResort", last)
    own = logging.NullHandler()
    with without_other_handlers(), execution("order"):
        logger.warning("seen")
        logger.info("too low")
        logger.addHandler(own)
        logger.warning("somebody else's to print")
        logger.removeHandler(own)
    assert output.getvalue() == "seen\n"


def test_records_of_the_opentelemetry_api_are_written_wherever_they_are_made(sink: RecordingSink) -> None:
    get_logger("lib", "3").emit(
        LogRecord(
            timestamp=0,
            observed_timestamp=1_700_000_000_000_000_000,
            severity_number=SeverityNumber.ERROR2,
            body={"nested": [1, b"\x01"]},
            attributes={"log.record.uid": "my-own", "k": float("inf")},
            event_name="device.app",
        )
    )
    assert flush()
    (row,) = sink.logs
    assert row.uid == "my-own"
    assert row.body == '{"nested":[1,{"bytesValue":"AQ=="}]}'
    assert (row.time_ns, row.time_source, row.event_name) == (1_700_000_000_000_000_000, 1, "device.app")
    assert (row.trace_id, row.span_id, row.execution_id) == (None, None, None)
    assert row.trace_key == row.log_id


def test_a_handler_of_the_sdk_on_the_root_logger_is_enough(logger: logging.Logger) -> None:
    """Two handlers into one provider would write every record twice."""

    class Handler(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.provider: Any = None

        def emit(self, record: logging.LogRecord) -> None:
            from opentelemetry._logs import get_logger_provider

            provider = get_logger_provider()
            assert isinstance(provider, LoggerProvider)
            provider.get_logger(record.name).emit(LogRecord(body=record.getMessage()))

    Handler.__module__ = "opentelemetry.instrumentation.logging.handler"
    handler = Handler()
    logging.root.addHandler(handler)
    try:
        sink = RecordingSink()
        configure("shop", store=sink)
        with execution("order") as run:
            logger.warning("once")
    finally:
        logging.root.removeHandler(handler)
    assert flush()
    (row,) = sink.logs
    assert (row.body, row.execution_id) == ('"once"', run.execution_id)


def test_logging_may_be_configured_after_telemetry_and_again(logger: logging.Logger) -> None:
    sink = RecordingSink()
    output = io.StringIO()
    with without_other_handlers():
        configure("shop", store=sink)
        logging.basicConfig(stream=output, format="%(message)s")
        (theirs,) = logging.root.handlers
        try:
            with execution("order"):
                logger.warning("one")
                logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}})
            with execution("order"):
                logger.warning("two")
        finally:
            logging.root.removeHandler(theirs)
    assert flush()
    assert output.getvalue() == "one\n"
    assert [row.body for row in sink.logs] == ['"one"', '"two"']
