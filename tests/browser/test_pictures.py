"""The pictures of the README. Run with PICTURES=docs/images to renew them."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser import story
from tests.browser.conftest import OpenPage, Site

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]


async def test_the_pictures_show_the_list_and_what_went_wrong(
    site: Site, open_page: OpenPage, now_ns: int, pictures: Path
) -> None:
    await site.write(*story.seed(now_ns))
    page = await open_page("/", height=960, color_scheme="light")
    await expect(page.locator("tbody tr")).to_have_count(26)
    await page.screenshot(path=pictures / "executions.png")
    await page.locator("tr.failed a.name").first.click()
    await expect(page.locator(".panel")).to_contain_text("Exception")
    await expect(page.get_by_role("row", selected=True)).to_be_attached()
    await page.screenshot(path=pictures / "execution.png")
