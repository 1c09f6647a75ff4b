"""Text made safe to look at (reliability.md, B24)."""

import unicodedata

import pytest

from spane_otel.traces.visible import visible, visible_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, €, 漢字, 👍", "plain, €, 漢字, 👍"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("a\u200bb\u2060c\ufeffd", "a\\u200bb\\u2060c\\ufeffd"),
        ("👩\u200d💻", "👩\\u200d💻"),
        ("bell\x07 back\x08", "bell\\x07 back\\x08"),
        ("line\nand\ttab", "line\nand\ttab"),
        ("windows\r\nline", "windows\nline"),
        ("over\rwritten", "over\\rwritten"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("c1\x9b31m", "c1\\x9b31m"),
        ("nel\x85ls\u2028ps\u2029", "nel\\x85ls\\u2028ps\\u2029"),
    ],
)
def test_what_moves_or_hides_text_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_control_and_format_character_of_unicode_is_written_out() -> None:
    """The list in the source is checked against the tables of this Python."""
    invisible = [
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    ]
    kept = [char for char in invisible if char not in "\n\t" and visible(char) == char]
    assert [f"U+{ord(char):04X}" for char in kept] == []


def test_a_line_stays_one_and_is_cut() -> None:
    assert visible_line("a\nb\tc") == "a\\nb\\tc"
    assert visible_line("x" * 1_000_000, 5) == "xxxxx…"
