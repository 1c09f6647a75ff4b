"""Processes that were heard of, and when."""

from typing import Final

from spane_otel.clock import SECOND
from spane_otel.records import STALE_AFTER_SECONDS

STALE_AFTER_NS: Final = STALE_AFTER_SECONDS * SECOND


class Processes:
    """When each process was last heard of. A heartbeat moves that; a row only makes a process known."""

    def __init__(self) -> None:
        self._last_seen_ns: dict[str, int] = {}

    def heartbeat(self, process_id: str, now_ns: int) -> bool:
        """Note that a process is alive; return whether it was stale, so that what it runs has changed."""
        revived = self.is_stale(process_id, now_ns)
        self._last_seen_ns[process_id] = now_ns
        return revived

    def introduce(self, process_id: str, now_ns: int) -> None:
        """Note a process that a row names; one that is known already is left as it is: rows may be late."""
        self._last_seen_ns.setdefault(process_id, now_ns)

    def last_seen_ns(self, process_id: str | None) -> int | None:
        return None if process_id is None else self._last_seen_ns.get(process_id)

    def is_stale(self, process_id: str | None, now_ns: int) -> bool:
        """Whether a process was heard of, but not for STALE_AFTER_SECONDS."""
        last_seen_ns = self.last_seen_ns(process_id)
        return last_seen_ns is not None and now_ns - last_seen_ns > STALE_AFTER_NS

    def stale_since(self, then_ns: int, now_ns: int) -> frozenset[str]:
        """Return the processes that are stale now and were not yet at `then_ns`."""
        return frozenset(
            process_id
            for process_id, last_seen_ns in self._last_seen_ns.items()
            if then_ns - STALE_AFTER_NS <= last_seen_ns < now_ns - STALE_AFTER_NS
        )
