"""Levels as OpenTelemetry's severity numbers (logs data model, *SeverityNumber*)."""

from typing import Final

from opentelemetry._logs import SeverityNumber

LEVELS: Final = {
    "trace": SeverityNumber.TRACE,
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warn": SeverityNumber.WARN,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
    "fatal": SeverityNumber.FATAL,
}

_NAMES: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


def severity_of_level(level: str) -> SeverityNumber:
    """Return the number of a level's name; one that is unknown counts as info."""
    return LEVELS.get(level.lower(), SeverityNumber.INFO)


def severity_of_levelno(levelno: int) -> SeverityNumber:
    """Return the number of a level of `logging`: 10 is DEBUG and each step above it one more, as the SDK has it."""
    if levelno < 10:
        return SeverityNumber.TRACE
    band = min(levelno // 10, 5)
    return SeverityNumber(4 * band + 1 + min(levelno - 10 * band, 3))


def name_of_severity(severity: SeverityNumber) -> str:
    """Return `WARN` for 13 to 16, and so on."""
    return _NAMES[(severity.value - 1) // 4]
