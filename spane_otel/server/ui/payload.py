"""JSON for people: coloured pieces of text, numbers exact, nothing interpreted."""

import json
from collections.abc import Iterator
from typing import Any, Final, Literal

from msgspec import Struct

from spane_otel.traces.visible import visible_line
from spane_otel.traces.wording import counted

Tone = Literal["", "k", "s", "n", "f"]
"""Key, string, number or word, folded; nothing: punctuation."""
Piece = tuple[Tone, str]

BRIEF_LINES: Final = 6
BRIEF_TEXT: Final = 300
WHOLE_CHARACTERS: Final = 200_000
MAX_DEPTH: Final = 60


class Payload(Struct, frozen=True):
    """A value, short and whole."""

    brief: list[Piece]
    whole: list[Piece]
    """Empty if the short form is all there is."""
    text: str
    """The JSON text, for copying."""


def show_payload(value: Any) -> Payload:
    """Return `value` as JSON in two lengths."""
    try:
        text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    except (RecursionError, ValueError):
        return Payload([("f", "nested too deeply to be shown")], [], "")
    brief, complete = _brief(value)
    if complete:
        return Payload(brief, [], text)
    whole = list(_whole(value))
    if len(text) > WHOLE_CHARACTERS:
        whole = [("", text[:WHOLE_CHARACTERS]), ("f", f" … {counted(len(text) - WHOLE_CHARACTERS, 'character')} more")]
    return Payload(brief, whole, text)


def show_scalar(value: Any) -> Piece:
    """Return a value that holds no other as a piece."""
    if isinstance(value, str):
        return "s", json.dumps(value, ensure_ascii=False)
    return "n", json.dumps(value, default=str)


def _brief(value: Any) -> tuple[list[Piece], bool]:
    """Return a few lines, and whether they are all of it."""
    if not isinstance(value, dict | list) or not value:
        tone, text = show_scalar(value) if not isinstance(value, dict | list) else ("", json.dumps(value))
        return [(tone, visible_line(text, BRIEF_TEXT))], len(text) <= BRIEF_TEXT
    opening, closing = ("{ ", " }") if isinstance(value, dict) else ("[ ", " ]")
    items = list(value.items()) if isinstance(value, dict) else [(None, each) for each in value]
    shown = items if len(items) <= BRIEF_LINES else items[: BRIEF_LINES - 1]
    pieces: list[Piece] = [("", opening)]
    complete = len(shown) == len(items)
    for number, (key, item) in enumerate(shown):
        if number:
            pieces.append(("", ",\n  "))
        if key is not None:
            pieces += [("k", json.dumps(key, ensure_ascii=False)), ("", ": ")]
        if isinstance(item, dict | list):
            noun = ("key" if isinstance(item, dict) else "item") if item else ""
            brackets = "{}" if isinstance(item, dict) else "[]"
            pieces.append(("f", f"{brackets[0]} {counted(len(item), noun)} {brackets[1]}" if item else brackets))
            complete = complete and not item
        else:
            tone, text = show_scalar(item)
            pieces.append((tone, visible_line(text, BRIEF_TEXT)))
            complete = complete and len(text) <= BRIEF_TEXT
    if len(shown) < len(items):
        pieces += [("", ",\n  "), ("f", f"… {counted(len(items) - len(shown), 'more', 'more')}")]
    return [*pieces, ("", closing)], complete


def _whole(value: Any, depth: int = 0) -> Iterator[Piece]:
    """Yield all of it, indented by two; what lies deeper than MAX_DEPTH on one line."""
    if not isinstance(value, dict | list) or not value:
        yield ("", json.dumps(value)) if isinstance(value, dict | list) else show_scalar(value)
        return
    if depth >= MAX_DEPTH:
        yield "", json.dumps(value, ensure_ascii=False, default=str)
        return
    indent = "  " * (depth + 1)
    is_map = isinstance(value, dict)
    yield "", "{\n" if is_map else "[\n"
    items = list(value.items()) if isinstance(value, dict) else [(None, each) for each in value]
    for number, (key, item) in enumerate(items):
        yield "", (",\n" if number else "") + indent
        if key is not None:
            yield "k", json.dumps(key, ensure_ascii=False)
            yield "", ": "
        yield from _whole(item, depth + 1)
    yield "", "\n" + "  " * depth + ("}" if is_map else "]")
