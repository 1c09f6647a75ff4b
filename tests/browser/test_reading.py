"""What readers rely on: exact numbers, copying, keys, narrow screens, themes, an outage that says so."""

import re
from typing import Final

import pytest
from playwright.async_api import Page, expect

from spane_otel.clock import SECOND
from spane_otel.records import Stamp
from spane_otel.server.ui.assets import asset_url
from spane_otel.traces.wording import age, duration, offset
from tests.browser import story
from tests.browser.conftest import LIVE_MS, OpenPage, Site

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

CLIPBOARD: Final = ["clipboard-read", "clipboard-write"]
SPAN: Final = "badsyntax_3131.py"


async def copied(page: Page) -> str:
    text: str = await page.evaluate("navigator.clipboard.readText()")
    return text


@pytest.mark.parametrize(("key", "number"), [("big", 2**53 + 1), ("source.sha256_64", -(2**63))])
async def test_numbers_beyond_doubles_are_shown_and_copied_exactly(
    site: Site, open_page: OpenPage, now_ns: int, key: str, number: int
) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1", permissions=CLIPBOARD)
    pair = page.locator(".panel .pairs > div").filter(has=page.get_by_text(key, exact=True))
    await expect(pair.locator("dd [data-value]")).to_have_text(str(number))
    await pair.hover()
    await pair.get_by_role("button").click()
    assert await copied(page) == str(number)


async def test_the_input_is_shown_and_copied_exactly(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1", permissions=CLIPBOARD)
    box = page.locator('[data-io="input"]')
    await expect(box.locator(".brief")).to_contain_text('"seed": 9007199254740993')
    await box.get_by_role("button", name="Show all").click()
    await expect(box.locator(".whole")).to_contain_text('"package23"')
    await box.get_by_role("button", name="Copy the input").click()
    assert '"seed": 9007199254740993' in await copied(page)


async def test_copying_gives_the_stored_text_not_the_shown_one(site: Site, open_page: OpenPage, now_ns: int) -> None:
    raw = "a\u202eb\r\nc\x1b[0m\td"
    told = story.Story("e-1", now_ns - 9 * SECOND)
    told.span("root", 0, 1, execution="e-1", stamp=Stamp(workflow_id="order"), attributes={"note": raw})
    await site.write(told.done())
    page = await open_page("/executions/e-1", permissions=CLIPBOARD)
    await page.get_by_role("row").last.click()
    button = page.get_by_role("button", name="Copy the value of note")
    assert await button.evaluate("node => JSON.parse(node.dataset.copy)") == raw


async def test_the_waterfall_is_read_with_the_keyboard(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1")
    await page.locator("[role=row]").first.focus()
    focused = page.locator("[role=row]:focus")
    for key, name in (
        ("ArrowDown", "discover_files"),
        ("j", "os.walk"),
        ("k", "discover_files"),
        ("ArrowLeft", "discover_files"),
        ("ArrowDown", "parse_packages"),
        ("ArrowRight", "parse_package"),
        ("p", "parse_packages"),
        ("Home", "analyse_stdlib"),
    ):
        await page.keyboard.press(key)
        await expect(focused.locator(".name")).to_have_text(name)
    await page.keyboard.press("End")
    await expect(focused.locator(".name")).to_have_text("strongly_connected")
    await page.keyboard.press("Enter")
    await expect(page.locator(".panel:focus h2")).to_have_text("strongly_connected")
    await page.keyboard.press("Escape")
    await expect(page.locator(".panel")).to_have_count(0)
    await expect(focused.locator(".name")).to_have_text("strongly_connected")
    await page.keyboard.press("e")
    await expect(page.get_by_role("row", selected=True)).to_contain_text(SPAN)
    assert await page.locator("[role=row][tabindex='0']").count() == 1


async def test_a_closed_branch_says_how_much_it_hides(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1")
    row = page.get_by_role("row", name="parse_package, sub-execution, completed").first
    await expect(row).to_have_attribute("aria-expanded", "false")
    await expect(row.locator(".chip")).to_have_text("20")
    await row.locator(".chevron").click()
    await expect(row).to_have_attribute("aria-expanded", "true")
    await expect(page.get_by_role("row", name="read_sources, node, completed").first).to_be_visible()


async def test_the_list_is_read_with_the_keyboard(site: Site, open_page: OpenPage, now_ns: int) -> None:
    for number in range(3):
        await site.write(story.plain_story(now_ns - (9 + number) * SECOND, f"e-{number}", "order", 1))
    page = await open_page("/")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{site.url}/executions/e-1")


async def test_no_key_works_while_the_reader_writes(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1")
    await page.keyboard.press("f")
    await page.keyboard.type("parse eD")
    field = page.get_by_role("searchbox")
    await expect(field).to_have_value("parse eD")
    await expect(page.locator("html")).not_to_have_attribute("data-theme", re.compile("."))
    await field.fill("modules")
    await expect(page.locator("[data-found]")).to_have_text(re.compile(r"^\d+ of \d+$"))
    await expect(page.get_by_role("row", name="discover_files")).to_have_class(re.compile("dim"))


@pytest.mark.parametrize("width", [360, 390, 641, 901, 1101])
async def test_no_page_scrolls_sideways(site: Site, open_page: OpenPage, now_ns: int, width: int) -> None:
    page = await open_page("/", width=width, height=844)
    paths = ["/", "/executions/none"]
    await site.write(
        story.failed_story(now_ns - 100 * SECOND, "e-1"),
        story.running_story(now_ns - 64 * SECOND, "e-2"),
        story.foreign_story(now_ns - 9 * SECOND),
    )
    paths += ["/", "/traces", "/executions/e-1", "/executions/e-1?tab=logs", "/executions/e-2"]
    for path in paths:
        await page.goto(site.url + path)
        await page.wait_for_selector('.live[data-state="live"]')
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


async def test_a_phone_shows_the_panel_over_the_page(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1", width=390, height=844)
    await expect(page.locator(".panel")).to_have_count(0)
    await page.get_by_role("link", name="Show span").click()
    # The panel is replaced once its content has come: a box taken in between is none.
    await page.wait_for_function(
        """() => {
          const box = document.querySelector(".panel")?.getBoundingClientRect();
          return box?.width === 390 && box.height === 844;
        }"""
    )
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_role("row", selected=True)).to_be_in_viewport()


async def test_a_theme_is_remembered(site: Site, open_page: OpenPage, now_ns: int) -> None:
    page = await open_page("/", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(ground) == "rgb(247, 248, 250)"
    await page.keyboard.press("Shift+D")
    await page.keyboard.press("Shift+D")
    assert await page.evaluate(ground) == "rgb(13, 15, 19)"
    await page.reload()
    assert await page.evaluate(ground) == "rgb(13, 15, 19)"
    await page.get_by_role("button", name="Theme: dark").click()
    assert await page.evaluate(ground) == "rgb(247, 248, 250)"


async def test_a_page_says_when_the_store_does_not_answer_and_when_it_does_again(
    site: Site, open_page: OpenPage, now_ns: int
) -> None:
    await site.write(story.plain_story(now_ns - 9 * SECOND, "e-1", "order", 1))
    page = await open_page("/executions/e-1")
    site.store.away = True
    await expect(page.locator(".away")).to_contain_text("The store does not answer", timeout=2 * LIVE_MS)
    await expect(page.get_by_role("row", name="work, node")).to_be_visible()
    site.store.away = False
    await expect(page.locator(".away")).to_have_count(0, timeout=3 * LIVE_MS)


async def test_the_page_can_be_read_without_scripts(
    site: Site, browser: object, open_page: OpenPage, now_ns: int
) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/")
    context = await page.context.browser.new_context(java_script_enabled=False)  # type: ignore[union-attr] # launched by us
    plain = await context.new_page()
    await plain.goto(f"{site.url}/executions/e-1")
    await expect(plain.locator("[role=row]").nth(1)).to_contain_text("discover_files")
    await expect(plain.locator("[role=row]").nth(1)).to_contain_text("1.48 s")
    await expect(plain.locator(".wrong")).to_contain_text("SyntaxError")
    await context.close()


SECONDS: Final = (9.104, 38.64, 59.999_999_999, 64, 3_599, 7_980, 86_399, 273_600)
NUMBERS: Final = [0, 7, 999, 6_400, 28_400_000, 999_999_999, *(round(each * SECOND) for each in SECONDS), 2**53 - 1]


async def test_the_page_and_the_service_word_numbers_alike(site: Site, open_page: OpenPage) -> None:
    page = await open_page("/")
    words = await page.evaluate(
        """async ([url, numbers]) => {
            const wording = await import(url);
            return numbers.map((ns) => [wording.duration(ns), wording.duration(ns, true), wording.age(ns),
              wording.offset(ns, 4e10), wording.offset(-ns, 1e6)]);
        }""",
        [asset_url("wording.js"), NUMBERS],
    )
    assert words == [
        [duration(ns), duration(ns, running=True), age(ns), offset(ns, 40 * SECOND), offset(-ns, 1_000_000)]
        for ns in NUMBERS
    ]
