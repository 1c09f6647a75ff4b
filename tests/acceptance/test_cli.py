"""The command line as its users meet it: a process, its streams and its exit code."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from spane_otel.cli.options import _SIZES
from spane_otel.settings import Settings, variable_of
from tests.servers import public_folder
from tests.service_process import ServiceProcess

COMMAND = [sys.executable, "-m", "spane_otel.cli.main"]
NOWHERE = "postgresql://reader:secret@127.0.0.1:1/nowhere"


def bare_environ() -> dict[str, str]:
    """Return this process's environment without what the command reads."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPANE_", "DATABASE_", "REDIS_", "OTEL_"))
    }


def run(
    *arguments: str, environ: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing of ours in its environment but `environ`."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**bare_environ(), **(environ or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_serve_answers_once_it_says_ready_and_ends_well_at_sigterm() -> None:
    with ServiceProcess("--store", "memory") as service:
        export = urllib.request.Request(
            f"{service.otlp}/v1/traces", data=b"", headers={"Content-Type": "application/x-protobuf"}, method="POST"
        )
        for request in (f"{service.ui}/healthz", export):
            with urllib.request.urlopen(request, timeout=10) as response:
                assert response.status == 200
        assert service.stop() == 0
        assert not any("Traceback" in line for line in service.errors), service.errors


def test_the_first_line_of_output_is_the_ready_line_alone() -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--store", "memory", "--port", "0", "--otlp-http-port", "0"],
        env=bare_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert re.fullmatch(r"ready ui=http://127\.0\.0\.1:\d+ otlp=http://127\.0\.0\.1:\d+\n", line)
    assert output == ""
    assert errors.splitlines() == ["spane-otel: telemetry goes to the memory of this process, until it ends"]
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        ([], {}, "COMMAND"),
        (["srve"], {}, "choose from 'serve', 'demo', 'migrate'"),
        (["serve", "--prot", "1"], {}, "--prot"),
        (["serve", "--port", "x"], {}, "--port: invalid int value: 'x'"),
        (["serve", "--port", "65536"], {}, "--port (SPANE_PORT) must be a port"),
        (["serve", "--workers", "0"], {}, "--workers (SPANE_WORKERS) must be at least 1"),
        (["serve", "--store", "sqlite"], {}, "choose from 'memory', 'embedded', 'postgres'"),
        (["serve"], {"SPANE_STORE": "postgre"}, "did you mean postgres?"),
        (["serve"], {"SPANE_PORT": "high"}, "SPANE_PORT must be a whole number"),
        (["serve"], {"SPANE_SWEEP_SECONDS": "often"}, "SPANE_SWEEP_SECONDS must be a number"),
        (["serve"], {"SPANE_SWEEP_SECONDS": "0"}, "--sweep-seconds (SPANE_SWEEP_SECONDS) must be above 0"),
        (["serve", "--statement-seconds", "nan"], {}, "--statement-seconds (SPANE_STATEMENT_SECONDS) must be above 0"),
        (["serve", "--pool-size", "-1"], {}, "--pool-size (SPANE_POOL_SIZE) must be above 0"),
        (["serve"], {"SPANE_PROT": "1"}, "unknown setting SPANE_PROT: did you mean SPANE_PORT?"),
        (["serve", "--store", "memory", "--host", "0.0.0.0"], {}, "--host (SPANE_HOST): '0.0.0.0' is refused"),
        (["demo", "--store", "memory", "--host", "::"], {}, "--host (SPANE_HOST): '::' is refused"),
        (["serve", "--store", "postgres"], {}, "no database is named: set SPANE_DATABASE_URL"),
        (["serve"], {"DATABASE_URL": "mysql://127.0.0.1/x"}, "the database must be a PostgreSQL, not 'mysql'"),
        (["migrate"], {}, "no database is named: set SPANE_DATABASE_URL"),
        (["migrate", "--force"], {}, "--force"),
    ],
)
def test_misuse_is_one_line_that_says_what_to_do(
    arguments: list[str], environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = run(*arguments, environ=environ, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_database_that_does_not_answer_is_one_line_without_its_password(command: str, tmp_path: Path) -> None:
    done = run(command, environ={"SPANE_DATABASE_URL": NOWHERE}, cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "telemetry goes to" not in line]
    assert len(lines) == 1
    assert "reader:***@127.0.0.1:1/nowhere" in lines[0]
    assert "start it, or correct SPANE_DATABASE_URL" in lines[0]
    assert "secret" not in done.stderr


def test_a_data_folder_in_use_is_one_line_that_speaks_of_no_other_database() -> None:
    with public_folder() as folder, (folder / "owner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("serve", "--store", "embedded", "--data-dir", str(folder))
    assert done.returncode == 1
    said = f"spane-otel: {folder} is in use by another process: stop that one, or give another --data-dir"
    assert done.stderr.splitlines() == [said]


def test_a_port_in_use_is_one_line_that_names_the_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("serve", "--store", "memory", "--port", port, "--otlp-http-port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr.splitlines()[-1]
    assert "--port" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_every_option_of_the_service_names_its_variable_in_the_help(command: str) -> None:
    text = " ".join(run(command, "--help").stdout.split())
    named = {variable_of(field) for field in Settings.__struct_fields__}
    for option in re.findall(r" (--[a-z-]+) [A-Z{]", text):
        assert f"[{variable_of(option[2:].replace('-', '_'))}]" in text
        assert variable_of(option[2:].replace("-", "_")) in named
    for field in ("store", "data_dir", "host", "port", "otlp_http_port", "otlp_grpc_port", "workers", *_SIZES):
        assert field in Settings.__struct_fields__
        assert f"--{field.replace('_', '-')} " in text
        assert f"[{variable_of(field)}]" in text


def test_migrate_says_what_it_did_and_where(postgres_url: str, tmp_path: Path) -> None:
    parts = urlsplit(postgres_url)
    named = urlunsplit(parts._replace(netloc=parts.netloc.replace("@", ":secret@")))
    first = run("migrate", environ={"DATABASE_URL": named}, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("applied 0001")
    assert "schema spane is up to date\n" in first.stdout
    assert parts.path[1:] in first.stdout
    assert "secret" not in first.stdout + first.stderr
    again = run("migrate", environ={"DATABASE_URL": named}, cwd=tmp_path)
    assert again.returncode == 0
    assert "applied" not in again.stdout
    assert again.stdout.endswith("up to date already\n")


def test_migrate_takes_the_schema_and_the_database_from_the_file_in_the_folder(
    postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"SPANE_DATABASE_URL='{postgres_url}'\nSPANE_SCHEMA=traces\nOTHER=1\n")
    done = run("migrate", environ={"DATABASE_URL": NOWHERE}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "schema traces is up to date\n" in done.stdout


def test_serve_refuses_a_named_database_that_is_behind_and_prints_the_command(
    postgres_url: str, tmp_path: Path
) -> None:
    done = run("serve", environ={"SPANE_DATABASE_URL": postgres_url}, cwd=tmp_path)
    assert done.returncode == 1
    assert "spane-otel migrate" in done.stderr.splitlines()[-1]


def test_serve_uses_a_named_database_that_is_up_to_date(migrated_postgres_url: str) -> None:
    with ServiceProcess(environ={"SPANE_DATABASE_URL": migrated_postgres_url}) as service:
        with urllib.request.urlopen(f"{service.ui}/readyz", timeout=10) as response:
            assert response.status == 200
        assert service.stop() == 0
