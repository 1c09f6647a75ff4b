"""Which traces were linked to which executions just now, so that each batch of a long trace does not say it again."""

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

Link = tuple[str, bytes]
"""An execution and one of its traces."""

MOST: Final = 10_000


class RecentLinks:
    """Remembers links for some seconds.

    An execution is kept in Redis only some seconds after its end. So whatever is kept within as many seconds after a
    link was made has it, even if the execution was deleted and made anew in between.
    """

    def __init__(self, seconds: float, *, now: Callable[[], float] = monotonic) -> None:
        self._seconds: Final = seconds
        self._now: Final = now
        self._until: Final[dict[Link, float]] = {}
        """Oldest first."""

    def select_fresh(self, links: Iterable[Link]) -> list[Link]:
        """Return those that were not noted just now."""
        now = self._now()
        return [link for link in links if self._until.get(link, now) <= now]

    def note(self, links: Iterable[Link]) -> None:
        """Remember links that were made, and that nothing older is kept of their executions."""
        until = self._now() + self._seconds
        for link in links:
            self._until.pop(link, None)
            self._until[link] = until
        for link in list(self._until)[: max(0, len(self._until) - MOST)]:
            self._until.pop(link, None)
