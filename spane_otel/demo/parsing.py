"""One source file as a syntax tree: what it defines, how complex that is, what it imports, what words it uses."""

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

_WORD: Final = re.compile(r"\b[a-z]{5,24}\b")

_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_BRANCHES: Final = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.Assert,
    ast.comprehension,
    ast.match_case,
)


class Definition(Struct):
    """A class or a function."""

    name: str
    """Dotted within its module: `Parser.feed`."""
    kind: Literal["class", "function", "coroutine"]
    line: int
    complexity: int
    """McCabe's: 1 and one for each branch of its own; for a class, of its body without its methods."""


class Module(Struct):
    """What a source file holds."""

    name: str
    path: str
    definitions: list[Definition]
    imports: list[str]
    """Absolute names imported while the module is loaded; of `from a import b` it is `a.b`. Imports inside functions
    are left out: they can't make a cycle."""
    words: dict[str, int]
    """Lower-case words of the docstrings and how often each occurs."""
    warnings: list[str]
    """What the parser complained about without refusing."""


def parse_module(name: str, path: str, source: bytes, *, is_package: bool = False) -> Module:
    """Return what `source` holds; `name` is the dotted name that relative imports start from.

    Raises:
        SyntaxError: it is not Python, its encoding is unknown, or it does not decode.
        ValueError: it holds a null byte.
        RecursionError: it nests deeper than the parser can follow.

    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tree = ast.parse(source, filename=path)
    package = name if is_package else name.rpartition(".")[0]
    return Module(
        name=name,
        path=path,
        definitions=_read_definitions(tree),
        imports=sorted(set(_read_imports(tree, package))),
        words=_count_words(tree),
        warnings=[f"line {each.lineno}: {each.message}" for each in caught],
    )


def _read_definitions(tree: ast.Module) -> list[Definition]:
    """Return all definitions in source order; a branch counts for the innermost definition around it."""
    found: list[Definition] = []
    waiting: list[tuple[ast.AST, Definition | None]] = [(tree, None)]
    while waiting:
        node, owner = waiting.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            owner = _define(node, owner)
            found.append(owner)
        elif owner is not None:
            owner.complexity += _branches_of(node)
        waiting.extend((child, owner) for child in ast.iter_child_nodes(node))
    return sorted(found, key=lambda definition: definition.line)


def _define(node: ast.AST, owner: Definition | None) -> Definition:
    assert isinstance(node, (*_FUNCTIONS, ast.ClassDef))  # noqa: S101 - narrows the type for the checker
    kind: Literal["class", "function", "coroutine"] = "class"
    if not isinstance(node, ast.ClassDef):
        kind = "coroutine" if isinstance(node, ast.AsyncFunctionDef) else "function"
    name = node.name if owner is None else f"{owner.name}.{node.name}"
    return Definition(name=name, kind=kind, line=node.lineno, complexity=1)


def _branches_of(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return 1 if isinstance(node, _BRANCHES) else 0


def _read_imports(tree: ast.Module, package: str) -> Iterator[str]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _resolve(node.module or "", node.level, package)
            yield from (base if alias.name == "*" else f"{base}.{alias.name}" for alias in node.names if base)
        elif not isinstance(node, (*_FUNCTIONS, ast.expr)):
            waiting.extend(ast.iter_child_nodes(node))


def _resolve(module: str, level: int, package: str) -> str:
    """Return the absolute name of a relative import; empty if it leaves the top."""
    if level == 0:
        return module
    parts = package.split(".")
    if level > len(parts):
        return ""
    return ".".join(part for part in (*parts[: len(parts) - level + 1], module) if part)


def _count_words(tree: ast.Module) -> dict[str, int]:
    words: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *_FUNCTIONS)):
            words.update(_WORD.findall(ast.get_docstring(node, clean=False) or ""))
    return dict(words)
