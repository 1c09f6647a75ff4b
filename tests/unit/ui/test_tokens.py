"""The contrast of every colour, recomputed from the stylesheet (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from importlib.resources import files

import pytest

SHEET = files("spane_otel.server.ui").joinpath("static", "tokens.css").read_text()
GROUNDS = ("canvas", "surface", "hover", "selected")
TEXTS = ("text", "text-2", "text-3", "accent", "ok", "bad", "run", "warn", "cancel", "skip", "lost")
GRAPHICS = ("bad-fill", "control", *(f"service-{number}" for number in range(1, 9)))
TINTED = ("ok", "bad", "run", "warn", "cancel", "lost")


def tokens(selector: str) -> dict[str, str]:
    """Return the colours of the first rule with this selector."""
    start = SHEET.index(selector + " {")
    block = SHEET[start : SHEET.index("}", start)]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


LIGHT = tokens(':root[data-theme="light"]')
DARK = tokens(':root[data-theme="dark"]')
THEMES = {"light": LIGHT, "dark": DARK}


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", TEXTS)
def test_text_can_be_read_on_every_ground(theme: str, name: str) -> None:
    colours = THEMES[theme]
    assert min(contrast(colours[name], colours[ground]) for ground in GROUNDS) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", GRAPHICS)
def test_graphics_can_be_seen_on_every_ground(theme: str, name: str) -> None:
    colours = THEMES[theme]
    assert min(contrast(colours[name], colours[ground]) for ground in GROUNDS) >= 3


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", TINTED)
def test_a_states_text_can_be_read_on_its_own_tint(theme: str, name: str) -> None:
    colours = THEMES[theme]
    assert contrast(colours[name], colours[f"{name}-bg"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_a_primary_button_can_be_read(theme: str) -> None:
    colours = THEMES[theme]
    assert contrast(colours["on-accent"], colours["accent-fill"]) >= 4.5


def test_the_system_theme_is_one_of_the_two() -> None:
    """Four blocks, two sets of colours: what follows the system equals what is chosen by hand."""
    blocks = re.findall(r"color-scheme: (light|dark);(.*?)\}", SHEET, re.DOTALL)
    assert [theme for theme, _ in blocks] == ["light", "dark", "light", "dark"]
    for theme, block in blocks:
        assert dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) == THEMES[theme]


def test_no_text_is_smaller_than_eleven_pixels() -> None:
    sheets = files("spane_otel.server.ui").joinpath("static")
    for sheet in sheets.iterdir():
        if sheet.name.endswith(".css"):
            sizes = re.findall(r"font(?:-size)?:[^;]*?(\d+(?:\.\d+)?)rem", sheet.read_text())
            assert [size for size in sizes if float(size) * 16 < 11] == [], sheet.name


def test_every_colour_comes_from_the_tokens() -> None:
    """Elsewhere stands no colour, but for the shadow and the mix with black of a pressed button."""
    sheets = files("spane_otel.server.ui").joinpath("static")
    for sheet in sheets.iterdir():
        if sheet.name.endswith(".css") and sheet.name != "tokens.css":
            assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", sheet.read_text())) <= {"#000000"}, sheet.name
