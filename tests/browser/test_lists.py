"""The lists of executions and of traces, in a browser."""

import pytest
from playwright.async_api import expect

from spane_otel.clock import SECOND
from spane_otel.ids import hash16
from spane_otel.records import Stamp
from tests.browser import story
from tests.browser.conftest import LIVE_MS, OpenPage, Site

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]


async def test_an_empty_service_says_how_to_send_and_turns_into_the_list(
    site: Site, open_page: OpenPage, now_ns: int
) -> None:
    page = await open_page("/")
    await expect(page.get_by_role("heading", name="No executions yet")).to_be_visible()
    await expect(page.locator("#otel")).to_contain_text("OTEL_EXPORTER_OTLP_PROTOCOL")
    await page.evaluate("window.same = true")
    await site.write(story.plain_story(now_ns - 9 * SECOND, "e-1", "order", 4))
    await expect(page.get_by_role("row", name="order")).to_be_visible(timeout=LIVE_MS)
    assert await page.evaluate("window.same"), "the page was loaded again"


async def test_a_row_tells_status_workflow_start_duration_counts_and_first_error(
    site: Site, open_page: OpenPage, now_ns: int
) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/")
    row = page.locator('tr[data-key="e-1"]')
    for text in ("Failed", "analyse_stdlib", "v12", "38.64 s", "15", "SyntaxError", "invalid character"):
        await expect(row).to_contain_text(text)
    await expect(row.locator(".errors")).to_contain_text("4")
    await expect(row.locator(".fill")).to_be_visible()


async def test_executions_inside_others_are_listed_on_demand(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.failed_story(now_ns - 100 * SECOND, "e-1"))
    page = await open_page("/")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_role("link", name="Show sub-executions").click()
    await expect(page.locator("tbody tr")).to_have_count(5)


async def test_new_rows_appear_and_old_ones_change_without_a_reload(
    site: Site, open_page: OpenPage, now_ns: int
) -> None:
    await site.write(story.plain_story(now_ns - 20 * SECOND, "e-1", "order", 4))
    open_story = story.Story("e-2", now_ns - 5 * SECOND)
    stamp = Stamp(workflow_id="billing")
    open_story.span("root", 0, None, execution="e-2", stamp=stamp, process="p")
    page = await open_page("/")
    await page.evaluate("window.same = true")
    await site.write(open_story.done())
    row = page.locator('tr[data-key="e-2"]')
    await expect(row).to_contain_text("Running", timeout=LIVE_MS)
    ended = story.Story("e-2", now_ns - 5 * SECOND)
    ended.span("root", 0, 6.5, execution="e-2", stamp=stamp, process="p", error=("ValueError", "no price", ""))
    await site.write(ended.done())
    await expect(row).to_contain_text("Failed", timeout=LIVE_MS)
    await expect(row).to_contain_text("6.50 s")
    await expect(row).to_contain_text("no price")
    assert await page.evaluate("window.same"), "the page was loaded again"


async def test_new_rows_wait_while_the_pointer_is_in_the_list(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.plain_story(now_ns - 20 * SECOND, "e-1", "order", 4))
    page = await open_page("/")
    await page.hover('tr[data-key="e-1"]')
    await site.write(story.plain_story(now_ns - 2 * SECOND, "e-2", "order", 1))
    button = page.get_by_role("button", name="1 new")
    await expect(button).to_be_visible(timeout=LIVE_MS)
    await expect(page.locator("tbody tr")).to_have_count(1)
    await button.click()
    await expect(page.locator("tbody tr").first).to_have_attribute("data-key", "e-2")


async def test_what_runs_counts_once_a_second(site: Site, open_page: OpenPage, now_ns: int) -> None:
    running = story.Story("e-1", now_ns - 61 * SECOND)
    running.span("root", 0, None, execution="e-1", stamp=Stamp(workflow_id="order"), process="p")
    await site.write(running.done())
    page = await open_page("/")
    number = page.locator('tr[data-key="e-1"] .number')
    before = await number.inner_text()
    assert before.startswith("1 m ")
    await expect(number).not_to_have_text(before, timeout=LIVE_MS)


async def test_executions_and_traces_lead_to_each_other(site: Site, open_page: OpenPage, now_ns: int) -> None:
    await site.write(story.plain_story(now_ns - 20 * SECOND, "e-1", "order", 4))
    page = await open_page("/")
    await page.get_by_role("link", name="order").click()
    await page.locator(".facts a.mono").click()
    await expect(page).to_have_url(f"{site.url}/traces/{hash16(b'trace', b'e-1').hex()}")
    await page.locator(".facts").get_by_role("link", name="e-1").click()
    await expect(page).to_have_url(f"{site.url}/executions/e-1")
    await page.get_by_role("link", name="Traces").click()
    await page.get_by_role("link", name="1 execution").click()
    await expect(page).to_have_url(f"{site.url}/executions/e-1")


async def test_a_trace_that_no_execution_owns_is_listed_by_its_root(
    site: Site, open_page: OpenPage, now_ns: int
) -> None:
    page = await open_page("/traces")
    await site.write(story.foreign_story(now_ns - 9 * SECOND))
    row = page.get_by_role("row", name="GET /orders/{id}")
    for text in ("Completed", "shop", "server", "412 ms", "5"):
        await expect(row).to_contain_text(text, timeout=LIVE_MS)
    await row.get_by_role("link").click()
    await expect(page.locator(".wrong")).to_contain_text("stock.local refused the connection")


async def test_older_executions_are_pages_of_their_own(site: Site, open_page: OpenPage, now_ns: int) -> None:
    for number in range(130):
        await site.write(story.plain_story(now_ns - (300 - number) * SECOND, f"e-{number:03}", "order", 1))
    page = await open_page("/")
    await expect(page.locator("tbody tr")).to_have_count(100)
    await page.get_by_role("link", name="Older executions").click()
    await expect(page.locator("tbody tr")).to_have_count(30)
    await expect(page.locator("tbody tr").last).to_have_attribute("data-key", "e-000")
