"""Reading a list to its end."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from spane_otel.records import Page

T = TypeVar("T")


async def read_pages(read: Callable[..., Awaitable[Page[T]]], limit: int) -> list[T]:
    """Return the items of all pages of `read(limit=…, cursor=…)`.

    A list that doesn't end, or a page above its limit, fails the test.
    """
    items: list[T] = []
    cursor: str | None = None
    for _ in range(100):
        page = await read(limit=limit, cursor=cursor)
        assert len(page) <= limit
        items += page
        cursor = page.next
        if cursor is None:
            return items
        assert page, "an empty page that is not the last"
    raise AssertionError("the list does not end")
