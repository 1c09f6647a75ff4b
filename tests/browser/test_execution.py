"""The page of an execution, in a browser."""

import re

import pytest
from playwright.async_api import expect

from spane_otel.clock import SECOND
from spane_otel.records import Batch, Stamp
from tests import rows
from tests.browser import story
from tests.browser.conftest import LIVE_MS, OpenPage, Site

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]


async def test_what_went_wrong_stands_there_before_any_click(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1")
    box = page.locator(".wrong")
    await expect(box).to_contain_text("SyntaxError: invalid character '€' (U+20AC) (badsyntax_3131.py, line 2)")
    await expect(box.locator(".path")).to_have_text(
        re.compile("parse_packages\\s*parse_package\\s*parse_modules\\s*ast.parse")
    )
    await expect(box.locator(".frame")).to_contain_text("demo/parse.py:118 in parse_module")
    await expect(page.get_by_role("row", selected=True)).to_contain_text("badsyntax_3131.py")
    await expect(page.locator(".panel")).to_contain_text("SyntaxError")


async def test_the_waterfall_aligns_bars_with_their_rows(site: Site, open_page: OpenPage, now_ns: int) -> None:
    """A bar begins and ends where its times are on the axis, in the lane beside its name."""
    await site.write(story.plain_story(now_ns - 100 * SECOND, "e-1", "order", 10))
    page = await open_page("/executions/e-1")
    row = page.get_by_role("row", name="work, node")
    bar, lane = await row.locator(".bar").bounding_box(), await row.locator(".lane").bounding_box()
    assert bar is not None
    assert lane is not None
    assert bar["x"] - lane["x"] == pytest.approx(lane["width"] * 0.1, abs=1)
    assert bar["width"] == pytest.approx(lane["width"] * 0.8, abs=1)
    assert lane["y"] <= bar["y"] <= bar["y"] + bar["height"] <= lane["y"] + lane["height"]


async def test_the_mark_of_a_failure_at_the_very_end_is_whole(site: Site, open_page: OpenPage, now_ns: int) -> None:
    failed = rows.root("e-1", status=2, status_message="no")
    await site.write(rows.batch(failed))
    page = await open_page("/executions/e-1")
    await expect(page.locator(".ruler .broke")).to_be_visible()
    beyond = await page.evaluate(
        """() => document.querySelector(".ruler .broke").getBoundingClientRect().right
          - document.querySelector(".ruler").getBoundingClientRect().right"""
    )
    assert beyond <= 0.1


async def test_a_key_gives_way_before_the_name_does(site: Site, open_page: OpenPage, now_ns: int) -> None:
    batch = story.failed_story(now_ns - 100 * SECOND, "e-1")
    for span in batch.spans:
        if span.stamp is not None and span.stamp.parent_execution_id is not None:
            span.attributes = span.attributes.replace('\\"test\\"', '\\"a.package.with.a.long.name\\"')
    await site.write(batch)
    page = await open_page("/executions/e-1")
    await expect(page.locator(".ruler .broke")).to_be_visible()
    found = await page.evaluate(
        """() => [...document.querySelectorAll(".row.execution .name")]
          .filter((name) => name.textContent === "parse_package")
          .map((name) => [name.getBoundingClientRect().width, name.parentElement.querySelector(".detail")])
          .map(([width, detail]) => [width, detail.scrollWidth > detail.clientWidth])"""
    )
    whole = [width for width, is_cut in found if not is_cut]
    cut = [width for width, is_cut in found if is_cut]
    assert whole, "inconclusive: every key had to give way"
    assert cut, "inconclusive: no key had to give way"
    assert cut == pytest.approx([whole[0]] * len(cut), abs=0.02)


async def test_a_click_shows_everything_about_a_span(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1")
    await page.get_by_role("row", name="os.walk").click()
    panel = page.locator(".panel")
    await expect(panel.locator("h2")).to_have_text("os.walk")
    for text in (
        "1.16 s",
        "+0.020 s",
        "url.path",
        "/usr/lib/python3.11",
        "half",
        "906",
        "skipping __pycache__",
        "host.name",
    ):
        await expect(panel).to_contain_text(text)
    await page.get_by_role("link", name="Show span").click()
    for text in ("SyntaxError", "demo/parse.py:118 in parse_module", "read_sources", "why", "follows"):
        await expect(panel).to_contain_text(text)
    await expect(page).to_have_url(re.compile("#[0-9a-f]{32}-[0-9a-f]{16}$"))
    await panel.get_by_role("button", name="Close").click()
    await expect(panel).to_have_count(0)


async def test_a_link_to_a_span_opens_it(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    told = story.Story("e-1", 0)
    key = f"{told.trace_id.hex()}-{told.span_id('asyncio.3') & 0xFFFF_FFFF_FFFF_FFFF:016x}"
    page = await open_page(f"/executions/e-1#{key}")
    await expect(page.get_by_role("row", selected=True)).to_contain_text("module_3.py")
    await expect(page.get_by_role("row", selected=True)).to_be_in_viewport()


async def test_a_running_execution_finishes_without_a_reload(site: Site, open_page: OpenPage, now_ns: int) -> None:
    begin = now_ns - 5 * SECOND
    stamp = Stamp(workflow_id="order", input='{"n": 1}')
    running = story.Story("e-1", begin)
    running.span("root", 0, None, execution="e-1", stamp=stamp, process="p")
    running.span("pay", 1, None, parent="root", node="pay", execution="e-1", process="p")
    await site.write(running.done())
    page = await open_page("/executions/e-1")
    await page.evaluate("window.same = true")
    await expect(page.locator(".title .pill")).to_have_text("Running")
    await expect(page.get_by_role("row", name="pay, node, running")).to_be_visible()
    ended = story.Story("e-1", begin)
    ended.span("pay", 1, 4, parent="root", node="pay", execution="e-1", process="p")
    ended.span("ship", 4, 6, parent="root", node="ship", execution="e-1", process="p")
    ended.span(
        "root",
        0,
        6.25,
        execution="e-1",
        process="p",
        stamp=Stamp(workflow_id="order", input='{"n": 1}', output='{"total": 42}'),
    )
    ended.log(5, "info", "shipped by sea", span="ship", execution="e-1")
    await site.write(ended.done())
    await expect(page.locator(".title .pill")).to_have_text("Completed", timeout=LIVE_MS)
    await expect(page.get_by_role("row", name="ship, node, completed")).to_be_visible()
    await expect(page.get_by_role("row", name="pay, node, completed, 3.00 s")).to_be_visible()
    await expect(page.locator(".facts")).to_contain_text("6.25 s")
    await expect(page.locator('[data-io="result"]')).to_contain_text("42")
    assert await page.evaluate("window.same"), "the page was loaded again"


async def test_what_was_not_found_opens_when_it_arrives(site: Site, open_page: OpenPage, now_ns: int) -> None:
    page = await open_page("/executions/e-late")
    await expect(page.get_by_role("heading", name="No execution e-late here")).to_be_visible()
    await site.write(story.plain_story(now_ns - 9 * SECOND, "e-late", "order", 4))
    await expect(page.locator(".title h1")).to_have_text("order", timeout=LIVE_MS)
    await expect(page.get_by_role("row", name="work, node")).to_be_visible()


async def test_abandoned_and_open_parts_say_so_and_since_when(site: Site, open_page: OpenPage, now_ns: int) -> None:
    """The parts of a process that fell silent turn abandoned while the page is open, those of the other run on."""
    await site.write(story.running_story(now_ns - 64 * SECOND, "e-1"))
    page = await open_page("/executions/e-1")
    await expect(page.get_by_role("row", name="upload report")).to_contain_text("no end reported")
    await expect(page.locator(".gone")).to_have_count(0)
    site.clock.shift_ns = 40 * SECOND
    await site.write(Batch(heartbeats=["p-alive"]))
    site.clock.shift_ns = 50 * SECOND
    box = page.locator(".gone")
    await expect(box).to_contain_text("last heartbeat", timeout=LIVE_MS)
    await expect(box).to_contain_text("parse_modules: its process (parse-worker, pid 4131 on atlas) is silent, 1 other")
    await expect(page.get_by_role("row", name="parse_modules, node, abandoned, at least")).to_contain_text(
        "last heartbeat"
    )
    await expect(page.get_by_role("row", name="BEGIN IMMEDIATE, span, running")).to_be_visible()


async def test_an_execution_whose_process_is_gone_is_abandoned(site: Site, open_page: OpenPage, now_ns: int) -> None:
    lost = story.Story("e-1", now_ns - 9 * SECOND)
    lost.span("root", 0, None, execution="e-1", stamp=Stamp(workflow_id="order"), process="p")
    await site.write(lost.done())
    page = await open_page("/")
    row = page.locator('tr[data-key="e-1"]')
    await expect(row).to_contain_text("Running")
    site.clock.shift_ns = 50 * SECOND
    await expect(row).to_have_class(re.compile("abandoned"), timeout=LIVE_MS)
    await expect(row).to_contain_text("≥ 9.")
    await row.get_by_role("link").click()
    await expect(page.locator(".title")).to_contain_text("Abandoned")
    await expect(page.locator(".gone")).to_contain_text(re.compile(r"5\d s ago"))


async def test_the_logs_stand_beside_their_spans(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/executions/e-1?tab=logs")
    lines = page.locator(".log")
    await expect(lines.first).to_contain_text("starting with root=/usr/lib/python3.11, 24 packages")
    error = page.locator(".log.error").first
    await expect(error).to_contain_text("cannot parse test/badsyntax_3131.py")
    await error.locator("summary").click()
    await expect(error).to_contain_text("thread.id")
    await expect(error).to_contain_text("140737488355327")
    await page.locator("[data-kind=debug]").uncheck()
    await expect(page.locator(".log.debug:visible")).to_have_count(0)
    await page.get_by_role("searchbox").fill("locked")
    await expect(page.locator(".log:visible")).to_have_count(5)
    await page.get_by_role("searchbox").fill("")
    await error.get_by_role("link", name="Show in timeline").click()
    await expect(page.get_by_role("row", selected=True)).to_contain_text("badsyntax_3131.py")


async def test_new_logs_are_appended(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.plain_story(now_ns - 30 * SECOND, "e-1", "order", 4))
    page = await open_page("/executions/e-1?tab=logs")
    await expect(page.locator(".no-logs")).to_be_visible()
    late = story.Story("e-1", now_ns - 30 * SECOND)
    late.log(3, "warn", "late but here", span="work", execution="e-1")
    await site.write(late.done())
    await expect(page.locator(".log.warning")).to_contain_text("late but here", timeout=LIVE_MS)


async def test_a_repaired_trace_says_what_was_repaired(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.foreign_story(now_ns - 9 * SECOND))
    page = await open_page("/traces")
    await page.get_by_role("link", name="GET /orders/{id}").click()
    await expect(page.get_by_role("row", name="parent not received")).to_be_visible()
    await expect(page.locator(".row .tag", has_text="duplicate id")).to_have_count(2)


@pytest.mark.parametrize("execution_id", ["a/b", "..", ".", "100%", "?x=#y", "a b", "漢字", "<b>"])
async def test_an_execution_opens_whatever_its_id(
    site: Site, open_page: OpenPage, now_ns: int, execution_id: str
) -> None:
    await site.write(story.plain_story(now_ns - 9 * SECOND, execution_id, "order", 4))
    page = await open_page("/")
    await page.get_by_role("link", name="order").click()
    await expect(page.locator(".crumbs")).to_contain_text(execution_id)
    await page.get_by_role("row", name="work, node").click()
    await expect(page.locator(".panel h2")).to_have_text("work")
    await page.get_by_role("link", name="Logs", exact=True).click()
    await expect(page.locator(".no-logs")).to_be_visible()


async def test_ten_thousand_spans_open_quickly_and_only_some_are_drawn(
    site: Site, open_page: OpenPage, now_ns: int
) -> None:
    long = story.Story("e-1", now_ns - 100 * SECOND)
    long.span("root", 0, 90, execution="e-1", stamp=Stamp(workflow_id="order"))
    for number in range(9_999):
        long.span(
            f"s{number}", number * 0.009, number * 0.009 + 0.005, parent="root", execution="e-1", name=f"step {number}"
        )
    await site.write(long.done())
    page = await open_page("/executions/e-1")
    await expect(page.get_by_role("row", name="step 3,")).to_be_visible()
    assert await page.locator("[role=row]").count() < 200
    await page.get_by_role("row", name="order").or_(page.locator(".row").first).first.focus()
    await page.keyboard.press("End")
    await expect(page.get_by_role("row", name="step 9998,")).to_be_in_viewport()
    assert await page.locator("[role=row]").count() < 200
