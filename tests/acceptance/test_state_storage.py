"""The code of docs/state-storage.md runs, against each store, and comes to what the page says."""

import ast
import asyncio
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from spane_otel import InMemoryExecutionStore, PostgresExecutionStore, WorkflowCacheOptions
from tests.acceptance.documented import Block, read_blocks, run_python, run_shell

PAGE = Path(__file__).parents[2] / "docs" / "state-storage.md"
SCHEMA = PAGE.parents[1] / "sql" / "schema.sql"
TEXT = PAGE.read_text(encoding="utf-8")


async def run_page(text: str, marks: tuple[str, ...], folder: Path, url: str | None = None) -> int:
    """Run the page's blocks in its order and one namespace; return how many lines were checked."""
    namespace: dict[str, Any] = {"__name__": "__page__"}
    checked = 0
    for block in read_blocks(text):
        if not block.runs_with(*marks):
            continue
        if block.language == "python":
            checked += await run_python(block, namespace, PAGE.name)
        else:
            await asyncio.to_thread(run_shell, block, environ(url), folder)
    return checked


def environ(url: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPANE_", "OTEL_"))}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": programs, **({} if url is None else {"SPANE_DATABASE_URL": url})}


def promises(*marks: str) -> int:
    """How many lines of the page say what they come to."""
    return sum(len(block.notes) for block in read_blocks(TEXT) if block.runs_with(*marks))


async def test_the_page_holds_in_memory(tmp_path: Path) -> None:
    assert await run_page(TEXT, ("memory",), tmp_path) == promises("memory") >= 60


async def test_the_page_holds_in_postgresql(
    migrated_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANE_DATABASE_URL", migrated_postgres_url)
    checked = await run_page(TEXT, ("postgres",), tmp_path, migrated_postgres_url)
    assert checked == promises("postgres") > promises()


async def test_the_page_holds_with_redis_beside_postgresql(
    migrated_postgres_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANE_DATABASE_URL", migrated_postgres_url)
    monkeypatch.setenv("SPANE_REDIS_URL", redis_url)
    marks = ("postgres", "redis")
    assert await run_page(TEXT, marks, tmp_path, migrated_postgres_url) == promises(*marks) > promises("postgres")


@pytest.mark.parametrize("number", range(sum(block.language == "python" for block in read_blocks(TEXT))))
async def test_each_block_is_run_for_the_store_that_it_is_for(number: int) -> None:
    """A block that is broken is an error there, and stays unseen where it is not for."""
    block = [block for block in read_blocks(TEXT) if block.language == "python"][number]
    broken = Block(block.language, block.mark, "raise ZeroDivisionError\n" + block.source, block.line)
    assert broken.runs_with("memory") or broken.runs_with("postgres", "redis")
    with pytest.raises(ZeroDivisionError):
        await run_python(broken, {}, PAGE.name)


@pytest.mark.parametrize(
    ("was", "now", "error"),
    [
        ('execution.status  # → "running"', 'execution.status  # → "paused"', AssertionError),
        ("# raises InvalidTransitionError", "# raises SpanExistsError", AssertionError),
        ('get_execution("no-such-execution")  # → None', 'get_execution("x")  # raises NotFoundError', AssertionError),
        ("store.get_logs(execution_id)\n", "store.read_logs(execution_id)\n", AttributeError),
        ("engine = WorkflowEngine(registry, store)\n", "", NameError),
    ],
)
async def test_a_page_that_is_wrong_fails(was: str, now: str, error: type[Exception], tmp_path: Path) -> None:
    assert was in TEXT
    with pytest.raises(error):
        await run_page(TEXT.replace(was, now, 1), ("memory",), tmp_path)


async def test_a_note_where_no_statement_ends_is_an_error() -> None:
    (block,) = read_blocks("```python\nx = [\n  1,  # → 1\n]\n```\n")
    with pytest.raises(AssertionError, match="no statement ends"):
        await run_python(block, {}, PAGE.name)


@pytest.mark.parametrize("value", ["1", "[True]", "'1'"])
async def test_a_number_is_not_taken_for_a_truth(value: str) -> None:
    (block,) = read_blocks(f"```python\n{value}  # → True\n```\n")
    with pytest.raises(AssertionError):
        await run_python(block, {}, PAGE.name)


@pytest.mark.parametrize("fence", ["python mongo", "sh", "bash", "pycon"])
def test_a_block_that_nothing_would_run_is_an_error(fence: str) -> None:
    with pytest.raises(ValueError, match="run like that"):
        read_blocks(f"```{fence}\nx\n```\n")


def test_every_table_is_on_the_page_and_none_besides() -> None:
    section = TEXT.split("### Database schema")[1].split("##")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+)\|", section, re.MULTILINE)))
    tables = re.findall(r"^CREATE TABLE spane\.(\w+)", SCHEMA.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(tables)


@pytest.mark.parametrize("made", [InMemoryExecutionStore, PostgresExecutionStore, WorkflowCacheOptions])
def test_the_numbers_that_the_page_gives_for_defaults_are_the_defaults(made: type) -> None:
    calls = [
        call
        for block in read_blocks(TEXT)
        if block.language == "python"
        for call in ast.walk(ast.parse(block.source))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == made.__name__
    ]
    given = {
        (keyword.arg, keyword.value.value)
        for call in calls
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, int)
    }
    parameters = inspect.signature(made).parameters
    assert given
    assert given == {(name, parameters[name or ""].default) for name, _ in given}


def test_every_section_of_spanes_page_has_its_counterpart() -> None:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
    assert {
        "State storage",
        "In-memory store",
        "Overview",
        "Usage",
        "Features",
        "API",
        "PostgreSQL store",
        "Setup",
        "Database schema",
        "Workflow persistence",
        "Execution querying",
        "Logging and tracing",
        "Sub-workflow support",
        "Choosing the right store",
        "Best practices",
        "Performance tuning",
        "Connection pooling",
        "Query optimisation",
        "Caching",
        "Migration guide",
    } <= set(headings)
