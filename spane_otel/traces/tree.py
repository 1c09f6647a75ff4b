"""The tree of a trace's spans, repaired where what arrived is not a tree.

Stored data stays as it came; every repair happens here, at read time, and is flagged so that a page can say so:

- a parent that did not arrive becomes a placeholder row, its children hang below it;
- a cycle, and a span that is its own parent, is broken at its earliest span, which becomes a root;
- spans that share trace and span id but start at different times are all kept (architecture.md, promise 3).

Nothing recurses, so depth does not matter; sorting makes it O(n log n).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from spane_otel.records import Span

NO_PARENT: Final = -1
GUIDE_LEVELS: Final = 16
"""Indentation and guides are drawn for this many levels; deeper rows stay at the last one."""

SpanKey = tuple[str, str]
"""Trace id and span id: what a parent is looked up by."""


class TreeRow(Struct):
    """A row of the tree, in the order in which it is shown: a parent, then its children by start, then arrival."""

    span: Span | None
    """None: a placeholder for a parent that did not arrive."""
    parent: int
    """Index of the parent's row, NO_PARENT for a root."""
    depth: int
    start_ns: int
    """The span's start; for a placeholder the earliest start of its children."""
    missing_id: SpanKey | None = None
    """For a placeholder: the ids that its children name as parent."""
    children: int = 0
    descendants: int = 0
    is_last: bool = True
    """Whether no sibling follows."""
    guides: int = 0
    """Bit n: the line of level n goes on past this row (n < GUIDE_LEVELS)."""
    duplicate_id: bool = False
    """Another span of this trace has the same id and starts at another time."""
    cycle: bool = False
    """Its parents lead back to itself, so it is shown as a root."""


class Tree(Struct):
    """Rows in the order in which they are shown."""

    rows: list[TreeRow]

    def ancestors(self, index: int) -> Iterator[int]:
        """Yield the indexes of a row's ancestors, its parent first."""
        parent = self.rows[index].parent
        while parent != NO_PARENT:
            yield parent
            parent = self.rows[parent].parent


def missing_parents(spans: Sequence[Span]) -> set[SpanKey]:
    """Return the ids that spans name as parent and that are not among them."""
    known = {(span.trace_id, span.span_id) for span in spans}
    named = {(span.trace_id, span.parent_span_id) for span in spans if span.parent_span_id is not None}
    return named - known


def build_tree(spans: Sequence[Span], *, outside: frozenset[SpanKey] = frozenset()) -> Tree:
    """Return the tree of `spans`, which come in the order of their arrival.

    A parent in `outside` is known to exist elsewhere (in another execution of the same trace): its children are
    roots here, without a placeholder.
    """
    by_id: dict[SpanKey, list[int]] = {}
    for index, span in enumerate(spans):
        by_id.setdefault((span.trace_id, span.span_id), []).append(index)
    placeholders: dict[SpanKey, int] = {}
    parents = [_find_parent(index, spans, by_id, placeholders, outside) for index in range(len(spans))]
    starts = [span.start_ns for span in spans]
    for _ in placeholders:
        parents.append(NO_PARENT)
        starts.append(_LATEST)
    for index in range(len(spans)):
        if parents[index] >= len(spans):
            starts[parents[index]] = min(starts[parents[index]], starts[index])
    broken = _break_cycles(parents, starts)
    duplicates = {index for indexes in by_id.values() if len(indexes) > 1 for index in indexes}
    missing = {index: key for key, index in placeholders.items()}
    return Tree(_arrange(spans, parents, starts, missing, broken, duplicates))


_LATEST: Final = 2**64


def _find_parent(
    index: int,
    spans: Sequence[Span],
    by_id: dict[SpanKey, list[int]],
    placeholders: dict[SpanKey, int],
    outside: frozenset[SpanKey],
) -> int:
    """Return the index of a span's parent; of several with the same id, the last that started before it."""
    span = spans[index]
    if span.parent_span_id is None:
        return NO_PARENT
    key = (span.trace_id, span.parent_span_id)
    candidates = by_id.get(key)
    if candidates is None:
        return NO_PARENT if key in outside else placeholders.setdefault(key, len(spans) + len(placeholders))
    if len(candidates) == 1:
        return candidates[0]
    earlier = [each for each in candidates if each != index and spans[each].start_ns <= span.start_ns]
    others = [each for each in candidates if each != index]
    if span.parent_span_id == span.span_id:
        return max(earlier, key=lambda each: (spans[each].start_ns, each)) if earlier else index
    return max(earlier, key=lambda each: (spans[each].start_ns, each)) if earlier else others[0]


def _break_cycles(parents: list[int], starts: list[int]) -> set[int]:
    """Make the earliest span of each cycle a root, in `parents`, and return those spans."""
    broken: set[int] = set()
    visited = [0] * len(parents)
    for first in range(len(parents)):
        walk = first + 1
        current = first
        while current != NO_PARENT and not visited[current]:
            visited[current] = walk
            current = parents[current]
        if current == NO_PARENT or visited[current] != walk:
            continue
        cycle = [current]
        while parents[cycle[-1]] != current:
            cycle.append(parents[cycle[-1]])
        earliest = min(cycle, key=lambda each: (starts[each], each))
        parents[earliest] = NO_PARENT
        broken.add(earliest)
    return broken


def _arrange(
    spans: Sequence[Span],
    parents: list[int],
    starts: list[int],
    missing: dict[int, SpanKey],
    broken: set[int],
    duplicates: set[int],
) -> list[TreeRow]:
    """Return the rows, depth first."""
    children: dict[int, list[int]] = {}
    for index in sorted(range(len(parents)), key=lambda each: (starts[each], each)):
        children.setdefault(parents[index], []).append(index)
    rows: list[TreeRow] = []
    roots = children.get(NO_PARENT, [])
    waiting = [(index, NO_PARENT, position == len(roots) - 1) for position, index in enumerate(roots)]
    waiting.reverse()
    while waiting:
        index, parent, is_last = waiting.pop()
        above = rows[parent] if parent != NO_PARENT else None
        below = children.get(index, [])
        row = TreeRow(
            span=spans[index] if index < len(spans) else None,
            parent=parent,
            depth=above.depth + 1 if above else 0,
            start_ns=starts[index],
            missing_id=missing.get(index),
            children=len(below),
            is_last=is_last,
            guides=_guides_below(above),
            duplicate_id=index in duplicates,
            cycle=index in broken,
        )
        own = len(rows)
        rows.append(row)
        waiting.extend((each, own, position == 0) for position, each in enumerate(reversed(below)))
    for index in range(len(rows) - 1, -1, -1):
        if rows[index].parent != NO_PARENT:
            rows[rows[index].parent].descendants += 1 + rows[index].descendants
    return rows


def _guides_below(parent: TreeRow | None) -> int:
    """Return which lines pass a child of `parent`: those that pass the parent, and the parent's own if it goes on.

    A root has no line of its own: the first level's line belongs to the children of the root.
    """
    if parent is None:
        return 0
    level = parent.depth - 1
    return parent.guides | (1 << level if 0 <= level < GUIDE_LEVELS and not parent.is_last else 0)
