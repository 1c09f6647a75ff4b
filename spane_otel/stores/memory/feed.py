"""The change feed."""

from spane_otel.records import Change
from spane_otel.stores.memory.part import Part


class Feed(Part):
    """What was written lately."""

    async def poll_changes(self, cursor: str | None = None) -> tuple[str, list[Change]]:
        now_ns = self._clock.now_ns()
        with self._lock:
            state = self._state
            for of in state.additions.unannounced.values():
                for change in of.take_news():
                    state.changes.add(change, now_ns)
            state.additions.unannounced.clear()
            following = state.changes.cursor(now_ns)
            if cursor is None:
                return following, []
            place = state.changes.place_of(cursor)
            changes = state.changes.since(place)
            if state.changes.has_lost(place):
                changes = [*state.everything(), *changes]
            gone = state.processes.stale_since(place.at_ns, now_ns)
            stale = [Change("execution", each) for each in state.executions.run_by(gone)]
        return following, list(dict.fromkeys((*changes, *stale)))
