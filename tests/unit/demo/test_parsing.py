"""What is read from one source file."""

import pytest

from spane_otel.demo.parsing import Module, parse_module


def parse(source: str, name: str = "package.module", *, is_package: bool = False) -> Module:
    return parse_module(name, f"{name}.py", source.encode(), is_package=is_package)


def complexity_of(body: str) -> int:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return parse(f"def f(a, b):\n{lines}\n").definitions[0].complexity


def test_definitions_carry_their_dotted_names_in_source_order() -> None:
    source = "class A:\n    def one(self): ...\n    async def two(self): ...\ndef three():\n    def four(): ...\n"
    assert [(each.name, each.kind, each.line) for each in parse(source).definitions] == [
        ("A", "class", 1),
        ("A.one", "function", 2),
        ("A.two", "coroutine", 3),
        ("three", "function", 4),
        ("three.four", "function", 5),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return a", 1),
        ("if a:\n    return b", 2),
        ("if a:\n    return b\nelif b:\n    return a\nelse:\n    return 0", 3),
        ("for x in a:\n    pass\nelse:\n    pass", 2),
        ("while a and b:\n    pass", 3),
        ("return a and b or a or b", 4),
        ("try:\n    pass\nexcept ValueError:\n    pass\nexcept OSError:\n    pass\nfinally:\n    pass", 3),
        ("return [x for x in a for y in b]", 3),
        ("return a if b else 0", 2),
        ("match a:\n    case 1:\n        pass\n    case _:\n        pass", 3),
        ("with a:\n    pass", 1),
    ],
)
def test_complexity_is_one_more_than_the_branches(body: str, expected: int) -> None:
    assert complexity_of(body) == expected


def test_a_branch_counts_for_the_innermost_definition_only() -> None:
    source = "def outer():\n    def inner():\n        if x: pass\n        if y: pass\n    if z: pass\n"
    assert {each.name: each.complexity for each in parse(source).definitions} == {"outer": 2, "outer.inner": 3}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, os.path as p", ["os", "os.path"]),
        ("from json import decoder", ["json.decoder"]),
        ("from json import *", ["json"]),
        ("from . import sibling", ["package.sibling"]),
        ("from .sibling import name", ["package.sibling.name"]),
        ("from ..too.far import name", []),
        ("try:\n    import a\nexcept ImportError:\n    import b", ["a", "b"]),
        ("def f():\n    import late", []),
        ("class A:\n    import inside", ["inside"]),
    ],
)
def test_imports_are_absolute_and_only_those_of_loading(source: str, expected: list[str]) -> None:
    assert parse(source).imports == expected


def test_a_package_resolves_relative_imports_from_itself() -> None:
    assert parse("from . import child", "package", is_package=True).imports == ["package.child"]


def test_whole_lower_case_words_come_from_docstrings() -> None:
    source = '"""Returns words; no tiny."""\nx = "ignored string"\ndef f():\n    """words again."""\n'
    assert parse(source).words == {"words": 2, "again": 1}


def test_the_parsers_complaints_are_kept_not_raised() -> None:
    assert parse('x = "\\d"\n').warnings == ["line 1: invalid escape sequence '\\d'"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"x = (\n", "never closed"),
        (b"# coding: uft-8\n", "unknown encoding"),
        (b"x = '\xf6'\n", "utf-8"),
        (b"x = \xe2\x82\xac\n", "invalid character"),
    ],
)
def test_what_is_not_python_raises_a_syntax_error(source: bytes, message: str) -> None:
    with pytest.raises(SyntaxError, match=message):
        parse_module("m", "m.py", source)
