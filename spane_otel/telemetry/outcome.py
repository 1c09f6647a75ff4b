"""How a block of code ended, told by the exception that left it."""

import asyncio
from typing import Final

from msgspec import Struct

from spane_otel.records import SpanState


class Outcome(Struct, frozen=True):
    """A state, and the exception to record if it is a failure."""

    state: SpanState
    error: BaseException | None = None


COMPLETED: Final = Outcome("completed")
CANCELLED: Final = Outcome("cancelled")

_CANCELLATIONS: Final = (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)


def outcome_of(exception: BaseException | None) -> Outcome:
    """Return the outcome: cancellation is no failure, and neither is `SystemExit` with 0 or nothing."""
    if exception is None:
        return COMPLETED
    if isinstance(exception, _CANCELLATIONS):
        return CANCELLED
    if isinstance(exception, SystemExit) and exception.code in (0, None):
        return COMPLETED
    return Outcome("failed", exception)


def message_of(exception: BaseException) -> str:
    """Return the exception's message, whatever its `__str__` does."""
    try:
        return str(exception)
    except Exception:  # noqa: BLE001 - `__str__` of user code may raise anything
        return "<unprintable>"


def describe(exception: BaseException) -> str:
    """Return `Type: message`, or the type alone where there is no message."""
    message = message_of(exception)
    name = type(exception).__name__
    return f"{name}: {message}" if message else name
