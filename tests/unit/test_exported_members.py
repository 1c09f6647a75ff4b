"""The public names: what `__all__` lists is there, loads lazily, and is what type checkers see."""

import ast
import importlib
from pathlib import Path

import pytest

import spane_otel

SOURCE = Path(str(spane_otel.__file__))


def checked_names() -> set[str]:
    """Return the names that a type checker sees: the imports under TYPE_CHECKING."""
    return {
        alias.asname or alias.name
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_type_checkers_see_what_is_exported() -> None:
    assert checked_names() | {"__version__"} == set(spane_otel.__all__)


def test_dir_lists_what_is_exported() -> None:
    assert dir(spane_otel) == sorted(spane_otel.__all__)


@pytest.mark.parametrize("name", spane_otel.__all__)
def test_every_exported_name_loads(name: str) -> None:
    assert getattr(spane_otel, name) is not None


@pytest.mark.parametrize("name", sorted(checked_names()))
def test_every_exported_name_says_what_it_promises(name: str) -> None:
    assert getattr(spane_otel, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        importlib.import_module("spane_otel").nonsense  # noqa: B018 - the access is what raises
