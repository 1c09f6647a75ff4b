r"""Text made safe to look at: what would move, hide or reverse other text is written out instead.

Control characters (ANSI escapes among them), bidirectional marks, zero-width and other invisible characters appear
as `\x1b`, `\u202e`, `\U000e0041`. Nothing is escaped for HTML here. The stored text is not changed, and copying
gives the stored text.
"""

import re
from typing import Final

_INVISIBLE: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and line feed
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, bidirectional, separators
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters and marks that show nothing
    "\ud800-\udfff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0001\U000e0020-\U000e007f"  # tags
    "]"
)


def visible(text: str) -> str:
    """Return `text` with invisible characters written out; tabs and line feeds stay."""
    return _INVISIBLE.sub(_write_out, text.replace("\r\n", "\n"))


def visible_line(text: str, limit: int = 400) -> str:
    """Return `text` on one line, tabs and line feeds written out too, cut after `limit` characters with `…`."""
    cut = text[:limit]
    shown = visible(cut).replace("\n", "\\n").replace("\t", "\\t")
    return f"{shown}…" if len(text) > limit else shown


def _write_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x0D:
        return "\\r"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
