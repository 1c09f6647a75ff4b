"""What `execution(...)` and `node(...)` have in common: a block of code with a span of its own.

Nothing here raises into the block or changes the exception that leaves it. Without a pipeline it does nothing.
"""

import logging
from contextvars import Token
from types import TracebackType
from typing import Any, Final, Self

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode
from opentelemetry.util.types import AttributeValue

from spane_otel import mapping
from spane_otel.telemetry.context import Recorder, Scope, recorder_of, with_scope
from spane_otel.telemetry.outcome import Outcome, describe, outcome_of
from spane_otel.telemetry.payload import payload_of

_log: Final = logging.getLogger(__name__)


class Block:
    """A block of code that is recorded as one span, by `with` or `async with`, once."""

    __slots__ = ("_input", "_recorder", "_token", "attributes", "name", "span")

    def __init__(self, name: str, input: Any) -> None:  # noqa: A002 - the name in the API
        self.name: Final = name
        self.span: Span = trace.INVALID_SPAN
        """The OpenTelemetry span, for attributes and events of your own."""
        self.attributes: dict[str, AttributeValue] = {}
        """What the span itself carries, beside the stamp."""
        self._input = input
        self._recorder: Recorder | None = None
        self._token: Token[Context] | None = None

    def set_result(self, value: Any) -> None:
        """Record the result, as it is now."""
        if self._recorder is not None:
            try:
                self._set_payload(mapping.OUTPUT, mapping.OUTPUT_TRUNCATED, value)
            except Exception:  # noqa: BLE001 - nothing of ours reaches the traced code
                _log.exception("a result could not be recorded")

    def __enter__(self) -> Self:
        recorder = recorder_of()
        if recorder is not None:
            try:
                self._open(recorder)
            except Exception:  # noqa: BLE001 - nothing of ours reaches the traced code
                _log.exception("a span could not be started")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._recorder is not None:
            try:
                self._close(outcome_of(exc))
            except Exception:  # noqa: BLE001 - nothing of ours reaches the traced code
                _log.exception("a span could not be ended")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def _enter_scope(self, recorder: Recorder) -> Scope:
        """Return the scope inside, having set `attributes`."""
        raise NotImplementedError

    def _leave(self, outcome: Outcome) -> None:
        """Take note of how the block ended."""

    def _open(self, recorder: Recorder) -> None:
        context = with_scope(self._enter_scope(recorder))
        self.span = recorder.tracer.start_span(self.name, context=context, attributes=self.attributes)
        self._token = context_api.attach(trace.set_span_in_context(self.span, context))
        self._recorder = recorder
        if self._input is not None:
            self._set_payload(mapping.INPUT, mapping.INPUT_TRUNCATED, self._input)
            self._input = None
        recorder.announce(self.span)

    def _close(self, outcome: Outcome) -> None:
        span = self.span
        self._recorder = None
        try:
            if outcome.error is not None:
                _record_exception(span, outcome.error)
                span.set_status(StatusCode.ERROR, describe(outcome.error))
            elif outcome.state == "completed" and _is_error(span):
                outcome = Outcome("failed")  # the code said so itself, without an exception
            self._leave(outcome)
            if getattr(span, "dropped_attributes", 0):
                span.set_attributes(self.attributes)  # the SDK's limit pushes out the oldest, which are ours
            span.set_attribute(mapping.STATE, outcome.state)
        finally:
            if self._token is not None:
                context_api.detach(self._token)
            span.end()

    def _set_payload(self, key: str, key_truncated: str, value: Any) -> None:
        if not self.span.is_recording():
            return
        payload = payload_of(value)
        self.span.set_attribute(key, payload.text)
        if payload.cut_from is not None:
            self.span.set_attribute(key_truncated, payload.cut_from)


def _record_exception(span: Span, error: BaseException) -> None:
    try:
        span.record_exception(error, escaped=True)
    except Exception:  # noqa: BLE001 - the exception's own `__str__` raises
        span.add_event("exception", {"exception.type": type(error).__qualname__, "exception.message": describe(error)})


def _is_error(span: Span) -> bool:
    status = getattr(span, "status", None)
    return status is not None and status.status_code is StatusCode.ERROR
