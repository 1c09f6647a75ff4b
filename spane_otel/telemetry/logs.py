"""`log(...)`: a log record of the execution and the node that the calling code runs in."""

import logging
from typing import Any, Final

from spane_otel.telemetry.context import recorder_of

_log: Final = logging.getLogger(__name__)


def log(message: str, level: str = "info", **attributes: Any) -> None:
    """Write a log record with these attributes, tied to the current execution, node and span.

    `level` is trace, debug, info, warn, error or fatal; another counts as info. Never raises, never waits; while
    nothing is configured it does nothing.
    """
    recorder = recorder_of()
    if recorder is not None:
        try:
            recorder.emit_log(message, str(level), attributes)
        except Exception:  # noqa: BLE001 - nothing of ours reaches the traced code
            _log.exception("a log record could not be made")
