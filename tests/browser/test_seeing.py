"""What readers see: contrast on every tint, no motion where none is wanted, names for what is drawn."""

from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from spane_otel.clock import SECOND
from tests.browser import story
from tests.browser.conftest import OpenPage, Site

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

POOR_CONTRAST: Final = """
() => {
  const parse = (colour) => {
    const numbers = colour.match(/-?[\\d.]+(e-?\\d+)?/g).map(Number);
    const scale = colour.startsWith("color(") ? 255 : 1;
    return [numbers[0] * scale, numbers[1] * scale, numbers[2] * scale, numbers[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const layers = [];
    for (let each = node; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || node.closest(".sr, [hidden], .skip-link, svg")) continue;
    const box = node.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || !node.checkVisibility()) continue;
    seen += 1;
    const below = ground(node);
    const text = over(parse(getComputedStyle(node).color), below);
    const [light, dark] = [luminance(text), luminance(below)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const text40 = walker.currentNode.textContent.trim().slice(0, 40);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.className} "${text40}"`);
  }
  return { poor: [...new Set(poor)], seen };
}
"""


async def assert_readable(page: Page, *, least: int) -> None:
    result: dict[str, Any] = await page.evaluate(POOR_CONTRAST)
    assert result["poor"] == []
    assert result["seen"] >= least


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_text_can_be_read_wherever_it_stands(site: Site, open_page: OpenPage, now_ns: int, theme: str) -> None:
    """WCAG 1.4.3 on every page, tints included."""
    options: dict[str, Any] = {"color_scheme": theme, "reduced_motion": "reduce"}
    page = await open_page("/", **options)
    await assert_readable(page, least=20)
    await site.write(
        story.failed_story(now_ns - 100 * SECOND, "e-1"),
        story.running_story(now_ns - 64 * SECOND, "e-2"),
        story.foreign_story(now_ns - 9 * SECOND),
    )
    site.clock.shift_ns = 50 * SECOND
    for path in ("/", "/traces", "/executions/e-1", "/executions/e-2", "/executions/e-1?tab=logs", "/executions/none"):
        await page.goto(site.url + path)
        await page.wait_for_selector('.live[data-state="live"]')
        if path == "/executions/e-1":
            await expect(page.locator(".panel")).to_contain_text("Exception")
        await assert_readable(page, least=12)


async def test_nothing_moves_where_no_motion_is_wanted(site: Site, open_page: OpenPage, now_ns: int) -> None:
    """Numbers and bar ends still step."""
    await site.write(story.running_story(now_ns - 64 * SECOND, "e-1"))
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    page = await open_page("/executions/e-1")
    await expect(page.locator(".row.running .bar").first).to_be_visible()
    assert await page.evaluate(moving) > 0
    still = await open_page("/executions/e-1", reduced_motion="reduce")
    await expect(still.locator(".row.running .bar").first).to_be_visible()
    assert await still.evaluate(moving) == 0
    took = still.locator(".row.running .took").first
    before = await took.inner_text()
    await expect(took).not_to_have_text(before)


async def test_bars_keep_an_edge_where_the_reader_forces_colours(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1", forced_colors="active")
    bar = page.locator(".row.node .bar").first
    assert await bar.evaluate("node => getComputedStyle(node).borderTopWidth") == "1px"


async def test_a_screen_reader_hears_rows_as_sentences(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1")
    tree = page.get_by_role("treegrid", name="Spans by time")
    row = tree.get_by_role("row", name="parse_modules, node, failed inside, 19.00 s from 5.100 s, 1 failure inside")
    await expect(row).to_have_attribute("aria-level", "4")
    await expect(row).to_have_attribute("aria-expanded", "true")
    assert await row.get_attribute("aria-rowindex") is not None
    assert await tree.locator(".lane:not([aria-hidden=true])").count() == 0


@pytest.mark.parametrize("path", ["/", "/traces", "/executions/e-1", "/executions/e-1?tab=logs", "/executions/none"])
async def test_every_control_has_a_name(site: Site, open_page: OpenPage, now_ns: int, path: str) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page(path)
    controls = page.locator("button:visible, a:visible, input:visible, summary:visible")
    nameless = await controls.evaluate_all(
        "nodes => nodes.filter(n => !(n.getAttribute('aria-label') || n.textContent.trim() || n.title"
        " || n.labels?.[0]?.textContent.trim())).map(n => n.className)"
    )
    assert nameless == []
