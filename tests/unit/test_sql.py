"""SQL is data: in files, by name."""

import ast
import re
from pathlib import Path

import pytest

import spane_otel
from spane_otel.errors import ConfigurationError
from spane_otel.stores.postgres.statements import (
    Statement,
    load_script,
    load_statements,
    split_script,
    sql_folder,
)

PACKAGE = Path(spane_otel.__file__).parent
SQL = re.compile(r"^\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|LOCK|WITH|SET) [\w*(\"]", re.MULTILINE)


def texts(path: Path) -> list[tuple[int, str]]:
    """Return the strings of a module that are not docstrings, with their lines."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_no_module_holds_sql() -> None:
    """Of ours, that is: the demo's workflow keeps its findings in SQLite, as users' programs do."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        if "demo" not in path.parts
        for line, text in texts(path)
        if SQL.search(text)
    ]
    assert found == []


def test_every_statement_is_used_and_every_used_one_is_there() -> None:
    names = set(load_statements("spane"))
    strings = {text for path in PACKAGE.rglob("*.py") for _, text in texts(path)}
    assert names - strings == set()


def test_every_statement_says_in_a_line_what_it_does() -> None:
    for path in (sql_folder() / "queries").glob("*.sql"):
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            if line.startswith("-- name:"):
                assert re.fullmatch(r"-- [A-Z].+\.", lines[number + 1]), f"{path.name}: {line}"
                assert not lines[number + 2].startswith("--"), f"{path.name}: {line}"


def test_parameters_are_numbered_in_the_order_of_their_first_use() -> None:
    statement = Statement("x", "SELECT :b::text, :a, :b, now()::date")
    assert statement.bind({"a": 1, "b": None}) == ("SELECT $1::text, $2, $1, now()::date", [None, 1])


def test_a_line_stands_only_where_its_parameter_is_given() -> None:
    statement = Statement("x", "SELECT 1 WHERE true\n   AND a = :a -- when: a\n   AND b -- when: flag\n LIMIT :n")
    assert statement.bind({"n": 5}) == ("SELECT 1 WHERE true\n LIMIT $1", [5])
    assert statement.bind({"a": 0, "n": 5}) == ("SELECT 1 WHERE true\n   AND a = $1\n LIMIT $2", [0, 5])
    assert statement.bind({"flag": True, "n": 5}) == ("SELECT 1 WHERE true\n   AND b\n LIMIT $1", [5])


def test_a_script_is_split_at_semicolons_that_end_a_statement() -> None:
    script = "A ';'; B $x$ ; $y$ ; $x$; -- c;\nC /* ; */;\n"
    assert split_script(script) == ["A ';'", "B $x$ ; $y$ ; $x$", "-- c;\nC /* ; */"]


def test_the_schema_is_put_in_everywhere() -> None:
    for name in ("schema.sql", "migrations/0001_initial.sql"):
        for statement in load_script(name, "other"):
            code = re.sub(r"--.*", "", statement)
            assert not re.search(r"\bspane\b", code), statement
    for loaded in load_statements("other").values():
        text, _ = loaded.bind(dict.fromkeys(re.findall(r":(\w+)", loaded._text), 1))
        assert not re.search(r"\bspane\b", text), text


@pytest.mark.parametrize("schema", ["", "a-b", 'x"; DROP TABLE y; --', "Ä", "pg_catalog"])
def test_a_schema_name_can_not_smuggle_sql(schema: str) -> None:
    with pytest.raises(ConfigurationError):
        load_statements(schema)
