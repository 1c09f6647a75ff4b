"""Execution and node spans that have started and not ended: what is written while it runs."""

from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

_Key = tuple[int, int]


class OpenSpans:
    """Remembers each span until it ends, and which have been announced. Every method is a few atomic operations."""

    def __init__(self) -> None:
        self._fresh: Final[dict[_Key, ReadableSpan]] = {}
        self._announced: Final[dict[_Key, ReadableSpan]] = {}

    def add(self, span: ReadableSpan) -> None:
        """Note that `span` has started."""
        self._fresh[_key(span)] = span

    def remove(self, span: ReadableSpan) -> None:
        """Note that a span has ended; most were never added."""
        key = _key(span)
        if self._fresh.pop(key, None) is None:
            self._announced.pop(key, None)

    def take_fresh(self) -> list[ReadableSpan]:
        """Return what is open and not yet announced, and take it for announced."""
        taken: list[ReadableSpan] = []
        for key in list(self._fresh):
            span = self._fresh.pop(key, None)
            if span is not None and span.end_time is None:
                self._announced[key] = span
                taken.append(span)
        return taken

    @property
    def has_fresh(self) -> bool:
        return bool(self._fresh)


def _key(span: ReadableSpan) -> _Key:
    context = span.context
    return (context.trace_id, context.span_id) if context is not None else (0, 0)
