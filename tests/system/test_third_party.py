"""A foreign program, instrumented by OpenTelemetry's own packages, is shown as it was on the wire."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import SWITCHES
from tests.service_process import ServiceProcess
from tests.system.tee import Tee, tee
from tests.system.wire import logs_of, spans_of

pytestmark = pytest.mark.system

PROGRAM = Path(__file__).with_name("inventory_program.py")
INSTRUMENT = Path(sys.executable).with_name("opentelemetry-instrument")


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a browser of this test's own."""
    program = shutil.which("chromium")
    assert program is not None, "this test needs a browser: apt-get install chromium"
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=list(SWITCHES)) as browser,
    ):
        yield browser.new_page()


def run_program(proxy: Tee) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANE_"))}
    settings = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": proxy.url,
        "OTEL_SERVICE_NAME": "inventory",
        "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
        "OTEL_PYTHON_ASYNCIO_TO_THREAD_FUNCTION_NAMES_TO_TRACE": "count",
    }
    subprocess.run(
        [str(INSTRUMENT), sys.executable, str(PROGRAM), f"{proxy.url}/"],
        env={**kept, **settings},
        check=True,
        timeout=60,
        capture_output=True,
    )


def with_indexes_resolved(item: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        **item,
        "resource": answer["resources"][item["resource"]],
        "scope": answer["scopes"][item["scope"]],
    }


def differences(shown: dict[str, Any], sent: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the fields that are not shown as they were sent."""
    return [(name, shown[name], sent[name]) for name in sent if shown[name] != sent[name]]


def test_every_field_of_a_foreign_program_is_shown_as_it_was_on_the_wire(migrated_postgres_url: str) -> None:
    with (
        ServiceProcess("--store", "postgres", environ={"SPANE_DATABASE_URL": migrated_postgres_url}) as service,
        tee(service.otlp_address) as proxy,
    ):
        run_program(proxy)
        sent = spans_of(proxy.seen["/v1/traces"])
        assert {"take stock", "warm up", "GET"} <= {span["name"] for span in sent.values()}
        shown: dict[str, dict[str, Any]] = {}
        for trace_id in {span["trace_id"] for span in sent.values()}:
            answer = service.get(f"/api/v1/traces/{trace_id}")
            shown |= {span["span_id"]: with_indexes_resolved(span, answer) for span in answer["spans"]}
        assert shown.keys() == sent.keys()
        assert [difference for key in sent for difference in differences(shown[key], sent[key])] == []

        answer = service.get("/api/v1/logs")
        sent_logs = logs_of(proxy.seen["/v1/logs"])
        shown_logs = [with_indexes_resolved(record, answer) for record in answer["items"]]
        assert len(sent_logs) >= 2
        assert len(shown_logs) == len(sent_logs)
        pairs = zip(shown_logs, sent_logs, strict=True)
        assert [difference for shown_log, sent_log in pairs for difference in differences(shown_log, sent_log)] == []


def test_a_foreign_program_is_found_by_clicking_from_the_first_page(page: Page, migrated_postgres_url: str) -> None:
    with (
        ServiceProcess("--store", "postgres", environ={"SPANE_DATABASE_URL": migrated_postgres_url}) as service,
        tee(service.otlp_address) as proxy,
    ):
        run_program(proxy)
        page.goto(service.ui)
        page.get_by_role("navigation").get_by_role("link", name="Traces").click()
        page.get_by_role("link", name="take stock").click()
        row = page.get_by_role("row").filter(has_text="take stock").first
        row.click()
        panel = page.get_by_role("complementary")
        for text in ("server", "a table is missing", "9223372036854775807", "-9223372036854775808", "counted"):
            panel.get_by_text(text, exact=True).first.wait_for()
