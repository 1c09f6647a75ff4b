"""What the documents say of the code is so: links, tests, settings, limits, layout."""

import inspect
import re
from pathlib import Path

import pytest

from spane_otel.jsontext import PAYLOAD_MAX_BYTES
from spane_otel.records import TRACE_SPAN_LIMIT
from spane_otel.server.bodies import MAX_BYTES
from spane_otel.settings import Settings, variable_of
from spane_otel.state import MAX_DEPTH
from spane_otel.stores.admission import MAX_ID
from spane_otel.stores.memory.store import MAX_LOGS, MAX_SPANS, InMemoryExecutionStore
from spane_otel.values import DEFAULT_LIMITS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def max_executions() -> int:
    default: int = inspect.signature(InMemoryExecutionStore).parameters["max_executions"].default
    return default


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_file_of_the_repository_that_is_named_exists(path: Path) -> None:
    named = re.findall(r"`((?:tests|spane_otel|sql|docs|benchmarks)/[\w./]*)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if "NNNN" not in name and not (ROOT / name).exists()] == []


def test_every_promise_names_what_shows_it() -> None:
    table = README.split("## What it promises")[1].split("##")[0]
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    assert len(rows) >= 5
    for row in rows:
        shown = re.findall(r"`(tests/[\w./]+)`", row)
        assert shown, row
        assert all(list(_tests_in(ROOT / name)) for name in shown), row


def _tests_in(path: Path) -> list[str]:
    files = path.rglob("test_*.py") if path.is_dir() else [path]
    return [name for file in files for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))]


def test_every_setting_in_the_readme_exists() -> None:
    known = {variable_of(name) for name in Settings.__struct_fields__}
    named = set(re.findall(r"\bSPANE_[A-Z_]+\b", README)) - {"SPANE_"}
    assert named <= known


def test_the_readme_gives_the_defaults_of_the_code() -> None:
    settings = Settings()
    for variable, default in re.findall(r"\| `(SPANE_(?:HOST|PORT|OTLP_HTTP_PORT|SCHEMA))` \| `?([\w.]+)`? \|", README):
        assert default == str(getattr(settings, variable.removeprefix("SPANE_").lower())), variable


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        ("a request, on the wire", [MAX_BYTES // 2**20, DEFAULT_LIMITS.request_items]),
        ("an attribute value", [DEFAULT_LIMITS.value_bytes // 1024, DEFAULT_LIMITS.payload_bytes // 2**20]),
        ("attributes, events, links", [DEFAULT_LIMITS.attributes]),
        ("a span's name", [DEFAULT_LIMITS.name_characters]),
        ("nesting", [DEFAULT_LIMITS.depth]),
        ("an execution id", [MAX_ID]),
        ("spans of one trace read", [TRACE_SPAN_LIMIT]),
        ("a node's result or input", [PAYLOAD_MAX_BYTES // 2**20]),
        ("sub-workflows inside each other", [MAX_DEPTH]),
        ("the in-memory store", [MAX_SPANS, MAX_LOGS, max_executions()]),
    ],
)
def test_the_readme_gives_the_limits_of_the_code(row: str, numbers: list[int]) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| {row}")]
    said = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", line.split("|")[2])]
    assert said == numbers


def test_attributes_events_and_links_share_one_limit() -> None:
    assert DEFAULT_LIMITS.attributes == DEFAULT_LIMITS.events == DEFAULT_LIMITS.links


def test_every_decision_record_is_in_the_index() -> None:
    records = {path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")}
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\d{3}-[\w-]+\.md)\)", index)) == records
