"""The rows of a timeline that come with the page, so that it can be read before any script runs."""

from typing import Final

import msgspec
from msgspec.structs import replace

from spane_otel.server.ui.environment import Exact
from spane_otel.traces.rows import Row, Rows
from spane_otel.traces.tree import GUIDE_LEVELS, NO_PARENT

FIRST_ROWS: Final = 60
ISLAND_ROWS: Final = 400
"""Up to this many rows the model comes with the page; longer ones are fetched."""


class WindowRow(msgspec.Struct, frozen=True):
    """A row as the template draws it."""

    index: int
    """Position in the model."""
    position: int
    """Position among the rows that are shown."""
    row: Row
    guides: list[str]
    """One cell a level: `v` a line, `t` a branch, `e` the last branch, empty nothing."""


def visible_indexes(rows: list[Row]) -> list[int]:
    """Return the rows that are shown while the closed branches are closed."""
    hidden = [False] * len(rows)
    shown: list[int] = []
    for index, row in enumerate(rows):
        if row.parent != NO_PARENT:
            hidden[index] = hidden[row.parent] or rows[row.parent].closed
        if not hidden[index]:
            shown.append(index)
    return shown


def guide_cells(row: Row) -> list[str]:
    """Return the cells before a row's chevron."""
    levels = min(row.depth, GUIDE_LEVELS)
    if not levels:
        return []
    lines = ["v" if row.guides >> level & 1 else "" for level in range(levels - 1)]
    return [*lines, "e" if row.last else "t"]


def first_window(rows: Rows) -> list[WindowRow]:
    """Return the first rows that are shown."""
    shown = visible_indexes(rows.rows)[:FIRST_ROWS]
    return [
        WindowRow(index, position, rows.rows[index], guide_cells(rows.rows[index]))
        for position, index in enumerate(shown)
    ]


def island(rows: Rows) -> Exact:
    """Return the model as JSON, to stand in an attribute: the whole, or without rows if it is long."""
    model = rows if len(rows.rows) <= ISLAND_ROWS else replace(rows, rows=[])
    return Exact(msgspec.json.encode(model).decode())
