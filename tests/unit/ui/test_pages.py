"""The pages, asked for without a browser."""

import re
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape as html_text
from typing import Final

import httpx
import pytest

from spane_otel.clock import SECOND, ManualClock
from spane_otel.counters import Counters
from spane_otel.errors import StoreUnavailableError
from spane_otel.records import Batch, Execution, Page, Stamp
from spane_otel.server.applications import ui_application
from spane_otel.server.changes import ChangeHub
from spane_otel.server.context import Addresses, ServerContext
from spane_otel.server.intake import Intake
from spane_otel.stores.memory import InMemoryExecutionStore
from tests import rows
from tests.browser import story

NOW_NS: Final = time.time_ns()


class Store(InMemoryExecutionStore):
    """A store that can be told not to answer."""

    away = False

    async def list_executions(self, *args: object, **keywords: object) -> Page[Execution]:
        if self.away:
            raise StoreUnavailableError("connection refused")
        return await super().list_executions(*args, **keywords)  # type: ignore[arg-type] # passed through


@dataclass
class Pages:
    """The UI over a store."""

    store: Store
    clock: ManualClock
    client: httpx.AsyncClient

    async def get(self, path: str, status: int = 200) -> str:
        response = await self.client.get(path)
        assert response.status_code == status, response.text[:2_000]
        return response.text

    async def write(self, *batches: Batch) -> None:
        for batch in batches:
            assert (await self.store.write(batch)).rejected == []


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    clock = ManualClock(NOW_NS)
    async with Store(clock=clock) as store:
        addresses = Addresses("http://127.0.0.1:4380", "http://127.0.0.1:4318")
        context = ServerContext(store, clock, Counters(), addresses, ChangeHub(store), Intake())
        transport = httpx.ASGITransport(ui_application(context))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4380") as client:
            yield Pages(store, clock, client)


def text_of(html: str) -> str:
    """Return what a reader reads, roughly."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


@pytest.mark.parametrize("path", ["/", "/traces"])
async def test_an_empty_page_carries_this_services_address(pages: Pages, path: str) -> None:
    html = await pages.get(path)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in html
    assert "http://127.0.0.1:4318" in html


@pytest.mark.parametrize("path", ["/", "/traces", "/executions/e-1", "/executions/none", "/?cursor=bad"])
async def test_every_page_carries_a_strict_policy(pages: Pages, path: str) -> None:
    await pages.write(story.failed_story(NOW_NS - 100 * SECOND, "e-1"))
    policy = (await pages.client.get(path)).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/executions/none", 404),
        ("/traces/none", 404),
        ("/traces/" + "0" * 32, 404),
        ("/execution", 404),
        ("/nowhere/at/all", 404),
        ("/executions/e-1?part=panel&span=none", 404),
        ("/?cursor=none%20of%20ours", 400),
        ("/traces?cursor=x", 400),
        ("/executions/e-1?tab=logs&cursor=x", 400),
        ("/executions/e-1?tab=unknown", 200),
    ],
)
async def test_what_is_not_there_is_a_page_that_says_so(pages: Pages, path: str, status: int) -> None:
    await pages.write(story.failed_story(NOW_NS - 100 * SECOND, "e-1"))
    html = await pages.get(path, status)
    assert "Traceback" not in html.replace(story.STACK, "")
    assert "<html" in html


async def test_a_trace_id_asked_for_as_an_execution_leads_to_the_trace(pages: Pages) -> None:
    await pages.write(story.foreign_story(NOW_NS - 100 * SECOND))
    trace_id = (await pages.store.list_traces()).items[0].trace_id
    response = await pages.client.get(f"/executions/{trace_id.upper()}")
    assert (response.status_code, response.headers["location"]) == (307, f"/traces/{trace_id}")


async def test_an_outage_is_a_page_that_says_so(pages: Pages) -> None:
    pages.store.away = True
    response = await pages.client.get("/")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "The store does not answer" in response.text
    assert "data-away" in response.text


async def test_the_page_of_a_failed_execution_reads_without_scripts(pages: Pages) -> None:
    await pages.write(story.failed_story(NOW_NS - 100 * SECOND, "e-1"))
    text = text_of(await pages.get("/executions/e-1"))
    for words in (
        "What went wrong first of 2 failures · +23.640 s",
        "SyntaxError : invalid character",
        "demo/parse.py:118 in parse_module tree = ast.parse(source, filename=path)",
        "&#34;seed&#34; : 9007199254740993",
        "No result: the execution failed first.",
        "Sub-executions 4",
    ):
        assert words in text


async def test_the_first_sixty_rows_come_with_the_page(pages: Pages) -> None:
    long = story.Story("e-1", NOW_NS - 100 * SECOND)
    long.span("root", 0, 90, execution="e-1", stamp=Stamp(workflow_id="order"))
    for number in range(500):
        long.span(f"s{number}", number, number + 1, parent="root", execution="e-1", name=f"step {number}")
    await pages.write(long.done())
    html = await pages.get("/executions/e-1")
    assert html.count('role="row"') == 60
    assert len(html) < 200_000
    assert (await pages.client.get("/executions/e-1?part=rows")).json()["rows"][500]["name"] == "step 499"


async def test_an_api_execution_that_failed_without_a_span_says_why(pages: Pages) -> None:
    execution_id = await pages.store.create_execution("order", execution_id="e-1")
    await pages.store.set_execution_status(execution_id, "failed", error="ValueError: no price")
    text = text_of(await pages.get("/executions/e-1"))
    assert "What went wrong ValueError : no price" in text
    assert "No span has been received for this execution yet" in text


async def test_a_completed_execution_explains_nothing(pages: Pages) -> None:
    """What it recovered from stays in the waterfall."""
    told = story.Story("e-1", NOW_NS - 100 * SECOND)
    told.span("root", 0, 9, execution="e-1", stamp=Stamp(workflow_id="order"))
    told.span("w1", 1, 2, parent="root", node="write", attempt=1, execution="e-1", error=("OSError", "busy", ""))
    told.span("w2", 3, 4, parent="root", node="write", attempt=2, execution="e-1")
    await pages.write(told.done())
    text = text_of(await pages.get("/executions/e-1"))
    assert "What went wrong" not in text
    assert "attempt 1" in text
    assert "attempt 2" in text


async def test_an_inner_executions_root_has_its_parent_elsewhere(pages: Pages) -> None:
    """On its own page nothing is missing; on its parent's it hangs below the node that started it."""
    await pages.write(story.failed_story(NOW_NS - 100 * SECOND, "e-1"))
    child = next(each for each in await pages.store.list_executions() if each.version_label == '"email"')
    text = text_of(await pages.get(f"/executions/{child.execution_id}"))
    assert "parent not received" not in text
    assert "Executions analyse_stdlib" in text
    whole = text_of(await pages.get("/executions/e-1"))
    assert "parent not received" in whole


async def test_a_lost_parent_is_missed_on_an_inner_executions_page_too(pages: Pages) -> None:
    told = story.Story("shared", NOW_NS - 100 * SECOND)
    for name in ("e-1", "e-2"):
        told.span(name, 0, 9, execution=name, stamp=Stamp(workflow_id="order"))
    told.span("known", 1, 2, parent="e-1", execution="e-2")
    told.span("stray", 3, 4, parent="lost", execution="e-2")
    await pages.write(told.done())
    text = text_of(await pages.get("/executions/e-2"))
    assert text.count("parent not received") == 1


async def test_a_running_execution_counts_from_the_services_clock(pages: Pages) -> None:
    told = story.Story("e-1", NOW_NS - 5 * SECOND)
    told.span("root", 0, None, execution="e-1", stamp=Stamp(workflow_id="order"), process="p")
    await pages.write(told.done())
    html = await pages.get("/")
    assert f'data-now-ns="{NOW_NS}"' in html
    assert f'data-ticks="{NOW_NS - 5 * SECOND}">5.00 s' in html
    pages.clock.advance(46)
    html = await pages.get("/")
    assert "≥ 5.00 s" in html
    assert "abandoned" in html


async def test_how_many_nodes_of_its_version_are_done_and_when_its_time_is_up(pages: Pages) -> None:
    nodes = [{"id": node, "type": "t"} for node in "abcde"]
    await pages.store.save_workflow({"id": "w", "nodes": nodes})
    await pages.store.create_execution("w", execution_id="e")
    await pages.store.set_execution_timeout("e", NOW_NS + 60 * SECOND)
    for node in "abc":
        await pages.store.complete_node("e", node, {"success": True})
    assert "3 of 5</span>" in await pages.get("/")
    page = await pages.get("/executions/e")
    assert "<dt>Nodes</dt><dd>3 of 5</dd>" in page
    assert f'<dt>Time-out</dt><dd><time data-ns="{NOW_NS + 60 * SECOND}"' in page
    await pages.store.set_execution_status("e", "cancelled")
    assert "<dt>Time-out</dt>" not in await pages.get("/executions/e")


async def test_logs_come_in_pages(pages: Pages) -> None:
    told = story.Story("e-1", NOW_NS - 100 * SECOND)
    told.span("root", 0, 90, execution="e-1", stamp=Stamp(workflow_id="order"), events=[(1, "an event", {})])
    for number in range(1_005):
        told.log(number / 20, "info", f"record {number}", span="root", execution="e-1")
    await pages.write(told.done())
    html = await pages.get("/executions/e-1?tab=logs")
    assert html.count("<details") == 1_000
    assert "an event" not in html, "events have no pages: they stand where all records are at hand"
    later = re.search(r'href="([^"]*cursor=[^"]*)"', html)
    assert later is not None
    rest = await pages.get(later[1].replace("&amp;", "&"))
    assert re.findall(r"record \d+", rest.split('class="logs"')[1])[0] == "record 1000"


async def test_a_silence_in_the_logs_is_shown(pages: Pages) -> None:
    told = story.Story("e-1", NOW_NS - 100 * SECOND)
    told.span("root", 0, 20, execution="e-1", stamp=Stamp(workflow_id="order"))
    for at in (1, 2, 12, 13):
        told.log(at, "info", f"at {at}", span="root", execution="e-1")
    await pages.write(told.done())
    assert text_of(await pages.get("/executions/e-1?tab=logs")).count("without a record") == 1


async def test_times_of_any_century_are_shown(pages: Pages) -> None:
    """B13: a clock that was wrong costs no page. The store takes them where its window is wide."""
    clock = ManualClock(NOW_NS)
    async with Store(clock=clock, accept_past_days=400_000) as store:
        told = story.Story("e-1", 0)
        told.span("root", 0, 2**62 / SECOND, execution="e-1", stamp=Stamp(workflow_id="order"))
        assert (await store.write(told.done())).rejected == []
        addresses = Addresses("http://127.0.0.1:4380", "http://127.0.0.1:4318")
        context = ServerContext(store, clock, Counters(), addresses, ChangeHub(store), Intake())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(ui_application(context)), base_url="http://127.0.0.1:4380"
        ) as client:
            assert re.search("1 Jan 1970|31 Dec 1969", (await client.get("/")).text)
            assert "53,375 d" in (await client.get("/executions/e-1")).text


@pytest.mark.parametrize(("root_failed", "explained"), [(False, False), (True, True)])
async def test_a_trace_of_an_execution_that_recovered_explains_nothing(
    pages: Pages, root_failed: bool, explained: bool
) -> None:
    top = rows.root("e-9", trace="t", status=2 if root_failed else 0)
    tried = rows.span("tried", trace="t", parent=top.name, execution="e-9", node="try", status=2, status_message="no")
    await pages.write(rows.batch(top, tried))
    html = await pages.get(f"/traces/{rows.trace_id('t').hex()}")
    assert ("What went wrong" in html) == explained


async def test_a_trace_that_no_execution_owns_explains_any_failure(pages: Pages) -> None:
    await pages.write(rows.batch(rows.span("top", trace="t"), rows.span("in", trace="t", parent="top", status=2)))
    assert "What went wrong" in await pages.get(f"/traces/{rows.trace_id('t').hex()}")


async def test_what_recorded_neither_input_nor_result_shows_no_box_for_them(pages: Pages) -> None:
    await pages.write(rows.batch(rows.root("e-9")))
    assert 'data-io="input"' not in await pages.get("/executions/e-9")


async def test_the_result_of_an_abandoned_execution_is_not_awaited(pages: Pages) -> None:
    await pages.write(rows.batch(rows.root("e-9", end=None, process_id="gone")))
    pages.clock.advance(60)
    assert "No result: its process is silent." in await pages.get("/executions/e-9")


async def test_the_lines_to_copy_set_the_variables_of_an_exporter_in_a_shell(pages: Pages) -> None:
    (block,) = re.findall(r'<pre id="otel"[^>]*>(.*?)</pre>', await pages.get("/"), re.DOTALL)
    lines = html_text(re.sub(r"<[^>]+>", "", block))
    script = f'{lines}\necho "$OTEL_EXPORTER_OTLP_ENDPOINT $OTEL_EXPORTER_OTLP_PROTOCOL"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)  # noqa: ASYNC221 - nothing else waits here
    assert done.stdout == "http://127.0.0.1:4318 http/protobuf\n"
