"""`spane-otel export` and `import`: an execution moves between databases in a file."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spane_otel.stores.postgres import PostgresExecutionStore
from tests.acceptance.test_cli import COMMAND, bare_environ, run
from tests.integration.test_transfer import fill
from tests.servers import PostgresServer


async def _fill(url: str) -> None:
    async with PostgresExecutionStore(url) as store:
        await fill(store)


async def _read(url: str, execution_id: str) -> Any:
    async with PostgresExecutionStore(url) as store:
        trace = await store.get_trace(execution_id)
        return await store.read_execution(execution_id), None if trace is None else trace.spans


@pytest.fixture
def source(migrated_postgres_url: str) -> dict[str, str]:
    """The environment of a command that reads a filled database."""
    asyncio.run(_fill(migrated_postgres_url))
    return {"SPANE_DATABASE_URL": migrated_postgres_url}


@pytest.fixture
def target(postgres_server: PostgresServer, migrated_template: str) -> Any:
    """The environment of a command that uses another database."""
    url = postgres_server.create_database(template=migrated_template)
    yield {"SPANE_DATABASE_URL": url}
    postgres_server.drop_database(url)


def test_an_execution_moves_in_a_file(source: dict[str, str], target: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "done.json"
    done = run("export", "done", "--json", "-o", str(file), environ=source, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert json.loads(file.read_text())["format"] == "spane-otel.executions"
    for _ in range(2):
        done = run("import", str(file), environ=target, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "imported 1 execution, 2 spans, 1 log record\n"
    found, expected = (asyncio.run(_read(each["SPANE_DATABASE_URL"], "done")) for each in (target, source))
    assert found == expected


def test_a_family_moves_through_a_pipe(source: dict[str, str], target: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        f'{" ".join(COMMAND)} export done --family | SPANE_DATABASE_URL="$TARGET" {" ".join(COMMAND)} import -',
        shell=True,
        env={**bare_environ(), **source, "TARGET": target["SPANE_DATABASE_URL"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imported 2 executions, ")
    assert asyncio.run(_read(target["SPANE_DATABASE_URL"], "child"))[0].execution.status == "paused"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["export", "nobody"], 1, "no execution 'nobody'"),
        (["export", "done", "--store", "memory"], 2, "the memory of this process holds nothing"),
        (["export", "done", "-o", "/nowhere/else"], 2, "can't write /nowhere/else: No such file or directory"),
        (["import", "missing.json"], 2, "can't read missing.json: No such file or directory"),
        (["import", "broken.json"], 1, "the document is no JSON object"),
        (["export"], 2, "see spane-otel export --help"),
    ],
)
def test_what_can_not_be_is_one_line(
    arguments: list[str], code: int, said: str, source: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text("nothing")
    done = run(*arguments, environ=source, cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if "telemetry goes to" not in line]
    assert (done.returncode, done.stdout, len(lines)) == (code, "", 1)
    assert said in lines[0]


def test_what_a_database_refuses_of_a_document_is_told(
    source: dict[str, str], target: dict[str, str], tmp_path: Path
) -> None:
    document = json.loads(run("export", "done", environ=source, cwd=tmp_path).stdout)
    document["executions"][0]["spans"][0]["kind"] = 77
    (tmp_path / "done.json").write_text(json.dumps(document))
    done = run("import", "done.json", environ=target, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "imported 1 execution, 1 span, 1 log record\n")
    assert done.stderr.splitlines()[-1] == "spane-otel: 1 not stored: invalid_value"
