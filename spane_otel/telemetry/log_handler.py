"""Records of `logging` made inside an execution or a node, as OpenTelemetry's log records."""

import logging
from time import time_ns
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.semconv.attributes import code_attributes, exception_attributes

from spane_otel.telemetry.context import Recorder, recorder_of, scope_of
from spane_otel.telemetry.outcome import message_of
from spane_otel.telemetry.severity import severity_of_levelno

_OWN: Final = ("spane_otel.telemetry", "spane_otel.stores", "spane_otel.transport", "opentelemetry")
"""Loggers that speak of our own work: a record of theirs would make work that makes records."""

_SEVERITY_TEXTS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""OpenTelemetry's short names where `logging` has others (logs data model, *Displaying Severity*)."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class ExecutionLogHandler(logging.Handler):
    """Stands on the root logger; never raises, never waits. Records outside of executions are not ours to keep."""

    def __init__(
        self, provider: LoggerProvider, level: int = logging.NOTSET, *, recorder: Recorder | None = None
    ) -> None:
        super().__init__(level)
        self._provider: Final = provider
        self._recorder: Final = recorder
        """Only records of code that this one records; None: of all."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit without the handler's lock: the worker's buffer has its own."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if scope_of() is not None and self._is_mine() and not _is_own(record.name):
                self._provider.get_logger(record.name).emit(_translate(record))
        except Exception:  # noqa: BLE001, S110 - whatever a record holds: logging it again might come back here
            pass
        if self._is_first():
            _print_as_before(record)

    def _is_mine(self) -> bool:
        return self._recorder is None or recorder_of() is self._recorder

    def _is_first(self) -> bool:
        """Whether no other handler of ours has seen the record before: it is printed once."""
        return next((each for each in logging.root.handlers if isinstance(each, ExecutionLogHandler)), self) is self


def _is_own(name: str) -> bool:
    return name.startswith(_OWN) and any(name == own or name.startswith(f"{own}.") for own in _OWN)


def _translate(record: logging.LogRecord) -> LogRecord:
    return LogRecord(
        timestamp=int(record.created * 1_000_000_000),
        observed_timestamp=time_ns(),
        context=context_api.get_current(),
        severity_text=_SEVERITY_TEXTS.get(record.levelname, record.levelname),
        severity_number=severity_of_levelno(record.levelno),
        body=_message(record),
        attributes=_attributes(record),
    )


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that don't fit the message, or a `__str__` that raises
        return f"{record.msg!s} {record.args!r}"


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    attributes = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    attributes[code_attributes.CODE_FILE_PATH] = record.pathname
    attributes[code_attributes.CODE_FUNCTION_NAME] = record.funcName
    attributes[code_attributes.CODE_LINE_NUMBER] = record.lineno
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        attributes[exception_attributes.EXCEPTION_TYPE] = name
        attributes[exception_attributes.EXCEPTION_MESSAGE] = message_of(error)
        attributes[exception_attributes.EXCEPTION_STACKTRACE] = _traceback(record)
    return attributes


def _traceback(record: logging.LogRecord) -> str:
    try:
        return logging.Formatter().formatException(record.exc_info)  # type: ignore[arg-type]  # the caller has looked
    except Exception:  # noqa: BLE001 - `__str__` of user code may raise anything
        return ""


def _print_as_before(record: logging.LogRecord) -> None:
    """Print what `logging` prints where nobody has configured it: our handler must not look like a configuration."""
    last = logging.lastResort
    if last is None or record.levelno < last.level:
        return
    if not all(isinstance(handler, ExecutionLogHandler) for handler in logging.root.handlers):
        return
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger is not logging.root:
        if logger.handlers:
            return
        logger = logger.parent
    last.handle(record)
