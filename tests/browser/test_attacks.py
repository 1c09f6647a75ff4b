"""Attacks S1 and S2 and input B24 of the reliability anchors, on every page, in a browser."""

import json
import re
from typing import Any, Final
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from spane_otel.clock import SECOND
from spane_otel.derivation import inherit
from spane_otel.identity import log_trace_key, resource_row, scope_row
from spane_otel.ids import hash16
from spane_otel.records import Batch, LogRow, SpanRow, Stamp
from tests.browser.conftest import OpenPage, Site

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

PAYLOADS: Final = (
    "<script>window.__xss=1</script>",
    "</script><script>window.__xss=1</script>",
    "<img src=x onerror=window.__xss=1>",
    '"><img src=x onerror=window.__xss=1>',
    "'><img src=x onerror=window.__xss=1>",
    "<svg onload=window.__xss=1>",
    "<svg><script>window.__xss=1</script></svg>",
    "<svg><use href=\"data:image/svg+xml,<svg id='x' xmlns='http://www.w3.org/2000/svg'/>#x\"></use></svg>",
    "<iframe srcdoc='<script>parent.__xss=1</script>'></iframe>",
    "<iframe src=javascript:parent.__xss=1></iframe>",
    "<object data=javascript:window.__xss=1>",
    "<embed src=javascript:window.__xss=1>",
    "<math><a xlink:href=javascript:window.__xss=1>x</a></math>",
    "<a href=javascript:window.__xss=1>x</a>",
    "<form action=javascript:window.__xss=1><button>x</button></form>",
    "<body onload=window.__xss=1>",
    "<input autofocus onfocus=window.__xss=1>",
    "<details open ontoggle=window.__xss=1>",
    "<video><source onerror=window.__xss=1></video>",
    "<style>@import '//evil.example';*{display:none}</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<template><script>window.__xss=1</script></template>",
    "<!--><script>window.__xss=1</script>-->",
    "' onmouseover=window.__xss=1 x='",
    "javascript:window.__xss=1",
    "data:text/html,<script>window.__xss=1</script>",
    "{{constructor.constructor('window.__xss=1')()}}",
    "\u2028</title></textarea></style><script>window.__xss=1</script>",
)


def poisoned(payload: str, number: int, begin_ns: int) -> Batch:
    """Return an execution in which every string of every signal is `payload`."""
    resource = resource_row(json.dumps({"service.name": payload, payload: payload}), payload, 0, payload)
    scope = scope_row(payload, payload, json.dumps({payload: payload}), payload)
    ids: dict[str, Any] = {"resource_id": resource.resource_id, "scope_id": scope.scope_id, "service": payload}
    trace_id = hash16(b"attack", str(number).encode())
    attributes = json.dumps(
        {
            payload: payload,
            "url.full": payload,
            "nested": {payload: [payload]},
            "__proto__": payload,
            "constructor": payload,
        }
    )
    details = {
        payload: payload,
        "exception.type": payload,
        "exception.message": payload,
        "exception.stacktrace": payload,
    }
    event = {"time_ns": str(begin_ns), "attributes": details, "dropped_attributes_count": 0}
    events = json.dumps([{"name": payload, **event}, {"name": "exception", **event}])
    links = json.dumps(
        [
            {
                "trace_id": "0" * 31 + "1",
                "span_id": "0" * 15 + "1",
                "trace_state": payload,
                "flags": 0,
                "attributes": {payload: payload},
                "dropped_attributes_count": 0,
            }
        ]
    )
    text = json.dumps({payload: payload, "n": [payload]})
    stamp = Stamp(workflow_id=payload, version_label=payload, external_id=payload, input=text, output=text)
    common: dict[str, Any] = {
        **ids,
        "trace_id": trace_id,
        "name": payload,
        "status": 2,
        "status_message": payload,
        "trace_state": payload,
        "attributes": attributes,
        "events": events,
        "links": links,
        "execution_id": payload,
    }
    spans = [
        SpanRow(span_id=1, start_ns=begin_ns, end_ns=begin_ns + SECOND, stamp=stamp, **common),
        SpanRow(span_id=2, start_ns=begin_ns + 1, end_ns=None, parent_id=1, node_id=payload, stamp=Stamp(), **common),
    ]
    log_id = hash16(b"log", str(number).encode())
    log = LogRow(
        log_id=log_id,
        trace_key=log_trace_key(trace_id, payload, log_id),
        time_ns=begin_ns,
        severity=17,
        severity_text=payload,
        body=json.dumps(payload),
        attributes=attributes,
        event_name=payload,
        uid=payload,
        trace_id=trace_id,
        span_id=1,
        execution_id=payload,
        node_id=payload,
        **ids,
    )
    batch = Batch(spans=spans, logs=[log], resources={resource.resource_id: resource}, scopes={scope.scope_id: scope})
    inherit(batch)
    return batch


async def assert_harmless(page: Page) -> None:
    """Nothing ran, nothing was loaded, nothing became an element or a link that could run something."""
    assert await page.evaluate("window.__xss") is None
    assert await page.evaluate("window.problems") == []
    assert (
        await page.locator(
            "main :is(script, img, iframe, object, embed, form, style, link, base, meta, video, math)"
        ).count()
        == 0
    )
    links = await page.locator("a[href], use[href]").evaluate_all("nodes => nodes.map(n => n.getAttribute('href'))")
    assert [link for link in links if re.match(r"\s*(javascript|data|vbscript):", link, re.IGNORECASE)] == []


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
async def test_text_is_text_on_every_page(site: Site, open_page: OpenPage, now_ns: int, number: int) -> None:
    """S1: span names, attribute keys and values, events, links, services, stacks, payloads, logs, ids."""
    payload = PAYLOADS[number]
    await site.write(poisoned(payload, number, now_ns - 9 * SECOND))
    page = await open_page("/")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await assert_harmless(page)
    await page.locator("a.name").click()
    await expect(page.locator(".wrong")).to_be_visible()
    for row in await page.locator("[role=row]").all():
        await row.click()
        await expect(page.locator(".panel")).to_contain_text("Attributes")
        for summary in await page.locator(".panel summary").all():
            await summary.click()
        await assert_harmless(page)
    await page.locator(".tabs a", has_text="Logs").click()
    for line in await page.locator(".log > summary").all():
        await line.click()
    await assert_harmless(page)
    await page.goto(f"{site.url}/traces")
    await assert_harmless(page)
    await page.locator("a.name").click()
    await expect(page.locator("[role=row]")).to_have_count(2)
    await assert_harmless(page)
    for kind in ("executions", "traces"):
        await page.goto(f"{site.url}/{kind}/{quote('no ' + payload, safe='')}")
        await expect(page.locator(".not-found h1")).to_contain_text("no ")
        await assert_harmless(page)


async def test_only_harmless_addresses_become_links(site: Site, open_page: OpenPage, now_ns: int) -> None:
    """S2: and those that do open without a handle on this page."""
    batch = poisoned("x", 0, now_ns - 9 * SECOND)
    values = {
        "a": "https://example.org/page", "b": "javascript:alert(1)", "c": "data:text/html,x",
        "d": "mailto:anna@example.org",
        "e": " javascript:alert(1)", "f": "JAVASCRIPT:alert(1)", "g": "vbscript:x",
        "h": "//example.org", "i": "http://example.org",
    }  # fmt: skip
    batch.spans[0].attributes = json.dumps(values)
    await site.write(batch)
    page = await open_page("/executions/x")
    await page.locator("[role=row]").first.click()
    links = page.locator(".panel section", has_text="Attributes").first.locator("a")
    await expect(links).to_have_text(["https://example.org/page", "mailto:anna@example.org", "http://example.org"])
    for link in await links.all():
        assert await link.get_attribute("rel") == "noopener noreferrer"


async def test_invisible_characters_are_written_out(site: Site, open_page: OpenPage, now_ns: int) -> None:
    """B24: in names, values, logs and titles."""
    tricky = "\x1b[31mred\x1b[0m invoice\u202efdp.exe zero\u200bwidth 👩\u200d💻 \x9b"
    shown = "\\x1b[31mred\\x1b[0m invoice\\u202efdp.exe zero\\u200bwidth 👩\\u200d💻 \\x9b"
    await site.write(poisoned(tricky, 0, now_ns - 9 * SECOND))
    page = await open_page("/")
    await expect(page.locator("a.name")).to_contain_text(shown)
    await expect(page.locator("td.error")).to_contain_text(shown)
    await page.locator("a.name").click()
    await expect(page.locator("[role=row] .name").first).to_have_text(shown)
    await page.locator("[role=row]").first.click()
    await expect(page.locator(".panel")).to_contain_text(shown)
    await page.locator(".tabs a", has_text="Logs").click()
    await expect(page.locator(".log .text").first).to_have_text(shown)
    raw = await page.evaluate(r"document.documentElement.textContent.match(/[\x1b\x9b\u202e\u200b\u200d]/)")
    assert raw is None


async def test_a_million_lines_cost_one(site: Site, open_page: OpenPage, now_ns: int) -> None:
    """B24: a record of a million line feeds is a row like any other, and copies whole."""
    batch = poisoned("x", 0, now_ns - 9 * SECOND)
    batch.logs[0].body = json.dumps("begin" + "\n" * 1_000_000 + "end")
    await site.write(batch)
    page = await open_page("/executions/x?tab=logs")
    line = page.locator(".log", has_text="begin")
    box = await line.bounding_box()
    assert box is not None
    assert box["height"] < 40
    await line.locator("summary").click()
    await expect(line).to_contain_text("more")
    copied = await line.locator("[data-copy]").last.evaluate("node => JSON.parse(node.dataset.copy).length")
    assert copied == 1_000_008
