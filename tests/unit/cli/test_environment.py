from pathlib import Path

import pytest

from spane_otel.cli.environment import read_settings
from spane_otel.errors import ConfigurationError


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_without_a_file_the_environment_alone_counts(dotenv: Path) -> None:
    assert read_settings({"SPANE_PORT": "5000"}, dotenv).port == 5000


@pytest.mark.parametrize(
    ("environ", "file", "url"),
    [
        ({"DATABASE_URL": "a"}, "", "a"),
        ({"DATABASE_URL": "a", "SPANE_DATABASE_URL": "b"}, "", "b"),
        ({"DATABASE_URL": "a", "SPANE_DATABASE_URL": ""}, "", "a"),
        ({}, "DATABASE_URL=c", "c"),
        ({"DATABASE_URL": "a"}, "DATABASE_URL=c", "a"),
        ({"DATABASE_URL": "a"}, "SPANE_DATABASE_URL=d", "d"),
        ({"SPANE_DATABASE_URL": "b"}, "SPANE_DATABASE_URL=d", "b"),
        ({}, "OTHER=x", None),
    ],
)
def test_our_own_name_wins_then_the_environment(
    dotenv: Path, environ: dict[str, str], file: str, url: str | None
) -> None:
    dotenv.write_text(file)
    assert read_settings(environ, dotenv).database_url == url


@pytest.mark.parametrize(
    ("line", "schema"),
    [
        ("SPANE_SCHEMA=traces", "traces"),
        ("  export SPANE_SCHEMA = traces  ", "traces"),
        ("SPANE_SCHEMA='tra ces'", "tra ces"),
        ('SPANE_SCHEMA="tra # ces"  # said twice', "tra # ces"),
        ("SPANE_SCHEMA=traces # for now", "traces"),
        ("SPANE_SCHEMA=tra#ces", "tra#ces"),
        ("# SPANE_SCHEMA=traces", "spane"),
        ("SPANE_SCHEMA=", "spane"),
        ("this is no assignment", "spane"),
    ],
)
def test_a_line_of_the_file_is_read_as_a_shell_would(dotenv: Path, line: str, schema: str) -> None:
    dotenv.write_text(f"FIRST=1\n{line}\n")
    assert read_settings({}, dotenv).schema == schema


def test_an_unknown_setting_in_the_file_is_an_error_with_a_suggestion(dotenv: Path) -> None:
    dotenv.write_text("SPANE_SHEMA=x")
    with pytest.raises(ConfigurationError, match="unknown setting SPANE_SHEMA: did you mean SPANE_SCHEMA"):
        read_settings({}, dotenv)


def test_a_file_that_is_not_text_is_an_error_that_names_it(dotenv: Path) -> None:
    dotenv.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=str(dotenv)):
        read_settings({}, dotenv)
