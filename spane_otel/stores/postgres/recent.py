"""The spans that this process wrote last, so that the update that follows need not read them."""

import threading
from collections.abc import Iterable
from typing import Final

from spane_otel.records import SpanRow

RECENT_SPANS: Final = 20_000
RECENT_BYTES: Final = 32 * 1024 * 1024
_ROW_BYTES: Final = 1_000

Key = tuple[str, str]
"""An execution's id and the text that a span was added with."""


class RecentSpans:
    """A bounded memory of the last versions written, the latest stays longest; used from several threads.

    Another process may have changed them since: whoever writes compares revisions.
    """

    def __init__(self, most: int = RECENT_SPANS, most_bytes: int = RECENT_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._rows: dict[Key, SpanRow] = {}
        self._by_execution: dict[str, set[str]] = {}
        self._bytes = 0

    def get(self, key: Key) -> SpanRow | None:
        return self._rows.get(key)

    def put(self, rows: Iterable[tuple[Key, SpanRow]]) -> None:
        """Remember rows; what was written longest ago makes room."""
        with self._lock:
            for key, row in rows:
                self._drop(key)
                self._rows[key] = row
                self._by_execution.setdefault(key[0], set()).add(key[1])
                self._bytes += _size(row)
            while len(self._rows) > self._most or self._bytes > self._most_bytes:
                self._drop(next(iter(self._rows)))

    def forget(self, key: Key) -> None:
        """Believe no longer what is known of a span."""
        with self._lock:
            self._drop(key)

    def forget_execution(self, execution_id: str) -> None:
        """Forget an execution's spans: it was deleted."""
        with self._lock:
            for added_id in list(self._by_execution.get(execution_id, ())):
                self._drop((execution_id, added_id))

    def _drop(self, key: Key) -> None:
        row = self._rows.pop(key, None)
        if row is None:
            return
        self._bytes -= _size(row)
        siblings = self._by_execution[key[0]]
        siblings.discard(key[1])
        if not siblings:
            del self._by_execution[key[0]]


def _size(row: SpanRow) -> int:
    return _ROW_BYTES + len(row.attributes) + len(row.status_message)
