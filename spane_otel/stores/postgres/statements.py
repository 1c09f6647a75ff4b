"""SQL as data: the files in sql/, with the schema's name put in.

In the files the schema is called `spane`. A query file holds statements, each preceded by `-- name: x` and one line
that says what it does; parameters are written `:name`. A line that ends in `-- when: name` belongs to the statement
only where that parameter is given, so that every combination of filters is planned for what it asks.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from spane_otel.errors import ConfigurationError

_PACKED: Final = Path(__file__).parents[2] / "_sql"
_SOURCE: Final = Path(__file__).parents[3] / "sql"

_SCHEMA_NAME: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_SCHEMA: Final = re.compile(r"\bspane\b(?!-)")
_NAME: Final = re.compile(r"^-- name: (\w+)\n-- .+\n", re.MULTILINE)
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)")
_WHEN: Final = re.compile(r"-- when: (\w+)$")
_TOKEN: Final = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|/\*.*?\*/|;", re.DOTALL)


class Statement:
    """One named statement."""

    def __init__(self, name: str, text: str) -> None:
        self.name: Final = name
        self._text: Final = text
        self._optional: Final = frozenset(
            found[1] for line in text.splitlines() if (found := _WHEN.search(line)) is not None
        )
        self._forms: Final[dict[frozenset[str], tuple[str, tuple[str, ...]]]] = {}

    def bind(self, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Return the statement's text with `$1`, `$2` … and the arguments in their order."""
        absent = frozenset(name for name in self._optional if values.get(name) is None)
        form = self._forms.get(absent)
        if form is None:
            form = self._forms[absent] = self._form(absent)
        text, names = form
        return text, [values[name] for name in names]

    def _form(self, absent: frozenset[str]) -> tuple[str, tuple[str, ...]]:
        lines = []
        for line in self._text.splitlines():
            found = _WHEN.search(line)
            if found is None:
                lines.append(line)
            elif found[1] not in absent:
                lines.append(line[: found.start()].rstrip())
        names: dict[str, int] = {}
        text = _PARAMETER.sub(lambda found: f"${names.setdefault(found[1], len(names) + 1)}", "\n".join(lines))
        return text, tuple(names)


@lru_cache(maxsize=16)
def load_statements(schema: str) -> Mapping[str, Statement]:
    """Return every statement of sql/queries by its name, for one schema."""
    statements: dict[str, Statement] = {}
    for path in sorted((sql_folder() / "queries").glob("*.sql")):
        parts = _NAME.split(_put_schema(path.read_text("utf-8"), schema))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            statements[name] = Statement(name, text.strip().removesuffix(";"))
    return statements


def load_script(name: str, schema: str) -> list[str]:
    """Return the statements of a file below sql/, e.g. `schema.sql`, one by one, for one schema."""
    return split_script(_put_schema((sql_folder() / name).read_text("utf-8"), schema))


def migration_names() -> list[str]:
    """Return the migrations' file names without `.sql`, oldest first: `NNNN_what_it_does`."""
    return sorted(path.stem for path in (sql_folder() / "migrations").glob("*.sql"))


def sql_folder() -> Path:
    """Return where the SQL is: packed into the wheel, else beside the package in a source tree."""
    return _PACKED if _PACKED.is_dir() else _SOURCE


def split_script(text: str) -> list[str]:
    """Return the statements of a script; semicolons in strings, function bodies and comments don't end one."""
    statements = []
    start = 0
    for token in _TOKEN.finditer(text):
        if token[0] == ";":
            statements.append(text[start : token.start()].strip())
            start = token.end()
    return [statement for statement in statements if statement]


def check_schema_name(schema: str) -> str:
    """Return `schema` if a schema of ours may be called so.

    Raises:
        ConfigurationError: it is not lower-case letters, digits and underscores, or PostgreSQL's own.

    """
    if _SCHEMA_NAME.fullmatch(schema) is None:
        raise ConfigurationError(
            f"{schema!r} can't be a schema's name: use lower-case letters, digits and _, and no pg_ in front"
        )
    return schema


def _put_schema(text: str, schema: str) -> str:
    return _SCHEMA.sub(f'"{check_schema_name(schema)}"', text)
