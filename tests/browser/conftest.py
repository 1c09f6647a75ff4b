"""A service with a store in memory, and a browser that looks at it."""

import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from spane_otel.errors import StoreUnavailableError
from spane_otel.records import Batch, Change, Execution
from spane_otel.server.service import Service
from spane_otel.stores.memory import InMemoryExecutionStore

SWITCHES: Final = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LIVE_MS: Final = 2_000
"""A page shows what happened within this time, without being loaded again."""

EXPECTED: Final = re.compile(r"status of (404|503)")
"""What a browser calls an error and a test asked for: a page that is not there, a store that is away."""

NOTE_PROBLEMS: Final = """
window.problems = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.problems.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class ShiftedClock:
    """The clock of this machine, moved forward by hand."""

    shift_ns = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.shift_ns


class AwayStore(InMemoryExecutionStore):
    """A store that can be told not to answer readers."""

    away = False

    async def get_execution(self, execution_id: str) -> Execution | None:
        self._check()
        return await super().get_execution(execution_id)

    async def poll_changes(self, cursor: str | None = None) -> tuple[str, list[Change]]:
        self._check()
        return await super().poll_changes(cursor)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailableError("connection to 127.0.0.1:5432 refused")


class Site:
    """A service under test."""

    def __init__(self, store: AwayStore, clock: ShiftedClock, url: str) -> None:
        self.store: Final = store
        self.clock: Final = clock
        self.url: Final = url

    async def write(self, *batches: Batch) -> None:
        """Commit batches; none of their rows may be refused."""
        for batch in batches:
            result = await self.store.write(batch)
            assert result.rejected == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser, once for all tests."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program is not None, "these tests need a browser: apt-get install chromium"
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=program, args=list(SWITCHES))
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    """A service with an empty store."""
    clock = ShiftedClock()
    async with (
        AwayStore(clock=clock) as store,
        Service(store, port=0, otlp_http_port=0, clock=clock) as addresses,
    ):
        yield Site(store, clock, addresses.ui)


OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, site: Site) -> AsyncIterator[OpenPage]:
    """Opens pages of the site; afterwards none of them may have reported an error or broken the policy."""
    contexts: list[BrowserContext] = []
    pages: list[Page] = []
    errors: list[str] = []

    async def open_page(path: str = "/", *, width: int = 1440, height: int = 900, **options: Any) -> Page:
        context = await browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        await context.add_init_script(NOTE_PROBLEMS)
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text) if message.type == "error" and not EXPECTED.search(message.text) else None
            ),
        )
        pages.append(page)
        await page.goto(site.url + path)
        await page.wait_for_selector('.live[data-state="live"]')
        return page

    yield open_page
    for page in pages:
        errors += await page.evaluate("window.problems")
    for context in contexts:
        await context.close()
    assert errors == []


@pytest.fixture
def now_ns() -> int:
    """The present; stories are told from it."""
    return time.time_ns()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: PICTURES names a folder, for example docs/images."""
    return Path(os.environ.get("PICTURES", tmp_path))
