"""How much of requests under way the service holds, and how requests ended."""

from types import TracebackType
from typing import Final, Self

HELD_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of request bodies, as sent and once inflated, above which more is refused with 503."""


class OverloadedError(Exception):
    """The service holds as many bytes as it may; the client sends again later."""


class Intake:
    """Counts the bytes of request bodies that are held, from the first byte read to the answer."""

    def __init__(self, limit: int = HELD_LIMIT) -> None:
        self.limit: Final = limit
        self.bytes_held = 0
        self.requests: Final[dict[tuple[str, int], int]] = {}
        """Answers by path and status; both from closed lists."""

    def count_request(self, path: str, status: int) -> None:
        self.requests[path, status] = self.requests.get((path, status), 0) + 1

    def lease(self) -> "Lease":
        return Lease(self)


class Lease:
    """What one request holds; given back when its context ends."""

    def __init__(self, intake: Intake) -> None:
        self._intake: Final = intake
        self._held = 0

    def hold(self, count: int) -> None:
        """Hold `count` more bytes.

        Raises:
            OverloadedError: all requests together would hold more than the limit.

        """
        if self._intake.bytes_held + count > self._intake.limit:
            raise OverloadedError
        self._intake.bytes_held += count
        self._held += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._intake.bytes_held -= self._held
        self._held = 0
