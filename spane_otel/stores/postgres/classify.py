"""What an error of the driver or the server means: wait and repeat, set the row aside, or give up.

The classes are SQLSTATE's (PostgreSQL, appendix A) and what asyncpg raises of its own.
"""

from enum import Enum
from typing import Final

from asyncpg import (
    ClientConfigurationError,
    InterfaceError,
    InternalClientError,
    InvalidCachedStatementError,
    PostgresError,
)

from spane_otel.stores.postgres.pool import BusyPoolError


class Fate(Enum):
    """What to do about an error."""

    RETRY = "the same call may succeed soon"
    RECONNECT = "so may it, on another connection"
    POOLED = "so may it, once nothing is kept in sessions: a pooler lends them"
    POISON = "a value can't be stored, whatever is tried"
    NO_PARTITION = "the row's partition does not exist"
    SCHEMA = "a table is missing or is not ours"
    UNREACHABLE = "the server lets nobody in for now"
    FATAL = "repeating changes nothing"


_POISON_STATES: Final = frozenset({"54000", "54001", "23514"})
_MISSING_STATES: Final = frozenset({"42P01", "42703", "42883", "3F000"})
_POOLED_STATES: Final = frozenset({"26000", "42P05"})
"""A prepared statement that is not there, or that another client has made."""
_UNREACHABLE_STATES: Final = frozenset({"28000", "28P01", "3D000"})


def classify(error: BaseException) -> Fate:
    """Return what to do about `error`; one that isn't the database's is FATAL."""
    if isinstance(error, InvalidCachedStatementError):  # a migration changed a table since it was planned
        return Fate.RETRY
    if isinstance(error, PostgresError):
        return _classify_state(error.sqlstate or "", error.constraint_name)
    if isinstance(error, BusyPoolError):
        return Fate.RETRY
    if isinstance(error, OSError | InternalClientError | EOFError):  # TimeoutError is an OSError
        return Fate.RECONNECT
    if isinstance(error, ClientConfigurationError):
        return Fate.FATAL
    if isinstance(error, InterfaceError):
        # What asyncpg refuses to encode is a ValueError too; it is no PostgresError.
        return Fate.POISON if isinstance(error, ValueError) else _classify_interface(str(error))
    return Fate.POISON if isinstance(error, UnicodeEncodeError | OverflowError) else Fate.FATAL


def poison_reason(error: BaseException) -> str:
    """Return the short word under which a row that was set aside for `error` is counted."""
    match getattr(error, "sqlstate", None):
        case "54000":
            return "too_large"
        case "54001":
            return "too_deep"
        case _:
            return "invalid_value"


def _classify_state(state: str, constraint: str | None) -> Fate:
    if state == "23514" and constraint is None:  # a row that violates a CHECK names it
        return Fate.NO_PARTITION
    if state[:2] == "22" or state in _POISON_STATES:
        return Fate.POISON
    if state in _MISSING_STATES:
        return Fate.SCHEMA
    if state in _POOLED_STATES:
        return Fate.POOLED
    if state in _UNREACHABLE_STATES:
        return Fate.UNREACHABLE
    if state[:2] == "53" or state in {"40001", "40P01", "55P03", "57014"}:
        return Fate.RETRY
    if state[:2] in {"08", "57"} or state in {"25006", "25P03", "58030"}:
        return Fate.RECONNECT
    return Fate.FATAL


def _classify_interface(message: str) -> Fate:
    """Tell a lost connection from a misuse: asyncpg has one class for both."""
    lost = ("connection is closed", "closed in the middle", "released back", "pool is clos", "underlying connection")
    return Fate.RECONNECT if any(words in message for words in lost) else Fate.FATAL
