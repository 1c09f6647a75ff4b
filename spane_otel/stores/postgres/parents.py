"""What the text of a span stands for: one that was added to an execution, else one of its traces by 16 hex digits."""

from collections.abc import Iterable
from typing import Final

from spane_otel.ids import added_span_id, span_id_from_hex
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.known import Known
from spane_otel.stores.postgres.recent import RecentSpans

Text = tuple[str, str]
"""An execution's id and the text."""
Place = tuple[bytes, int]
"""A trace id and a span id."""

_KNOWN_PARENTS: Final = 10_000


class Parents:
    """Finds spans by their texts, each asked for once: many spans have the same parent."""

    def __init__(self, recent: RecentSpans) -> None:
        self._recent = recent
        self._known: Known[Text, Place] = Known(_KNOWN_PARENTS)

    async def find(self, session: Session, texts: Iterable[Text]) -> dict[Text, Place]:
        """Return where the spans are; a text that stands for none is left out."""
        found: dict[Text, Place] = {}
        unknown: list[Text] = []
        for text in dict.fromkeys(texts):
            row = self._recent.get(text)
            place = (row.trace_id, row.span_id) if row is not None else self._known.get(text)
            if place is None:
                unknown.append(text)
            else:
                found[text] = place
        if unknown:
            read = await _read(session, unknown)
            self._known.add(read.items())
            found |= read
        return found

    def forget_execution(self, execution_id: str) -> None:
        """Forget what an execution's texts stand for: it was deleted."""
        self._known.forget(lambda key: key[0] == execution_id)


async def _read(session: Session, texts: list[Text]) -> dict[Text, Place]:
    rows = await session.fetch(
        "find_added_parents",
        execution_id=[execution_id for execution_id, _ in texts],
        added_id=[text for _, text in texts],
        hashed_id=[added_span_id(execution_id, text) for execution_id, text in texts],
        span_id=[span_id_from_hex(text) for _, text in texts],
    )
    return {texts[row["n"] - 1]: (row["trace_id"].bytes, row["span_id"]) for row in rows}
