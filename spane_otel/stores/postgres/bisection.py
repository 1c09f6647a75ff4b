"""Finding the rows that a database refuses, so that each costs only itself."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from spane_otel.stores.postgres.database import PoisonError

R = TypeVar("R")


async def isolate(rows: Sequence[R], attempt: Callable[[Sequence[R]], Awaitable[None]]) -> list[tuple[R, PoisonError]]:
    """Attempt `rows`, and where a value is refused, each half of them; return the single rows that are refused.

    One bad row among n costs about 2 log n attempts.
    """
    if not rows:
        return []
    try:
        await attempt(rows)
    except PoisonError as error:
        if len(rows) == 1:
            return [(rows[0], error)]
    else:
        return []
    middle = len(rows) // 2
    return [*await isolate(rows[:middle], attempt), *await isolate(rows[middle:], attempt)]
