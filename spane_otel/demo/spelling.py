"""Words that look like a slip of the pen: seen once, and almost the same as a word seen often."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

COMMON_FROM: Final = 8
"""A word that occurs at least this often is taken as spelled right."""
LIKENESS: Final = 0.86
_SUFFIXES: Final = ("s", "es", "d", "ed", "ing", "er", "ly", "al", "able", "ment", "ness", "ion")


class Suspicion(Struct, frozen=True):
    """A rare word and the common word that may have been meant."""

    word: str
    meant: str
    likeness: float
    """0 to 1, difflib's ratio."""


def find_suspicions(words: Mapping[str, int]) -> Iterator[Suspicion | None]:
    """Yield, for each rare word in order, what may be wrong with it, else None.

    It compares every rare word with every common one, which is slow: callers take it in slices.
    """
    common = sorted(word for word, count in words.items() if count >= COMMON_FROM)
    by_first: dict[str, list[str]] = {}
    for word in common:
        by_first.setdefault(word[0], []).append(word)
    for word in sorted(word for word, count in words.items() if count == 1):
        yield _suspect(word, by_first.get(word[0], []))


def _suspect(word: str, common: list[str]) -> Suspicion | None:
    matches = difflib.get_close_matches(word, common, n=1, cutoff=LIKENESS)
    if not matches or _is_inflected(word, matches[0]):
        return None
    likeness = difflib.SequenceMatcher(None, word, matches[0]).ratio()
    return Suspicion(word=word, meant=matches[0], likeness=round(likeness, 3))


def _is_inflected(word: str, other: str) -> bool:
    """Whether one is the other with a common ending, or with another of them."""
    stems = [{each, *(each.removesuffix(end) for end in _SUFFIXES if each.endswith(end))} for each in (word, other)]
    return not stems[0].isdisjoint(stems[1])
