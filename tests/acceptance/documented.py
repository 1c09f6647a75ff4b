"""Runs the code blocks of a document, and compares what they come to with what it says.

A fence's first line is a language and a mark: `python` runs everywhere, `python memory` and `python postgres` for that
store alone, `python redis` where there is one beside it, `sh postgres` in a shell, `sh not run` nowhere. In Python a
line that ends in `# → value` says what its expression, or the name it assigns to, is equal to; `# raises Name` says
what it raises.
"""

import ast
import inspect
import io
import re
import subprocess
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

_FENCE: Final = re.compile(r"^( *)```(\w+)(.*?)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_NOTE: Final = re.compile(r"#\s*(→|raises)\s+(.+)")
_MARKS: Final = {"python": ("", "memory", "postgres", "redis"), "sh": ("postgres", "not run")}


class Block(Struct, frozen=True):
    """A code block; `line` is the document's that its code begins after."""

    language: str
    mark: str
    source: str
    line: int

    def runs_with(self, *marks: str) -> bool:
        return self.mark in ("", *marks)

    @property
    def notes(self) -> dict[int, re.Match[str]]:
        """What it says it comes to, by line; empty where it is no Python."""
        if self.language != "python":
            return {}
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        comments = [
            (token.start[0], _NOTE.fullmatch(token.string)) for token in tokens if token.type == tokenize.COMMENT
        ]
        return {line: note for line, note in comments if note is not None}


def read_blocks(text: str) -> list[Block]:
    """Return the code blocks of a Markdown text.

    Raises:
        ValueError: a block's language or mark is none of those above.

    """
    blocks = []
    for found in _FENCE.finditer(text):
        _, language, mark, source = found.groups()
        if mark.strip() not in _MARKS.get(language, ()):
            raise ValueError(f"```{language}{mark}: no block is run like that")
        blocks.append(Block(language, mark.strip(), source, text[: found.start(4)].count("\n")))
    return blocks


async def run_python(block: Block, namespace: dict[str, Any], page: str) -> int:
    """Run a block and check what it says; return how many lines were checked.

    Raises:
        AssertionError: a line came to something else, or a note stands where no statement ends.

    """
    notes = block.notes
    checked = 0
    for statement in ast.parse(block.source).body:
        note = notes.pop(statement.end_lineno or 0, None)
        ast.increment_lineno(statement, block.line)
        place = f"{page}:{statement.lineno}"
        if note is None:
            await _run(statement, namespace, place)
        elif note[1] == "raises":
            await _check_error(statement, namespace, place, note[2])
        else:
            await _check_value(statement, namespace, place, note[2])
        checked += note is not None
    assert not notes, f"{page}: no statement ends where {[note[0] for note in notes.values()]} stands"
    return checked


def run_shell(block: Block, environ: Mapping[str, str], folder: Path) -> None:
    """Run a block in a shell that stops at the first command that fails."""
    done = subprocess.run(
        ["sh", "-euc", block.source], env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{block.source}{done.stdout}{done.stderr}"


async def _check_value(statement: ast.stmt, namespace: dict[str, Any], place: str, text: str) -> None:
    value = await _run(statement, namespace, place)
    expected = eval(text, namespace)
    assert value == expected, f"{place}: it is {value!r}, not {text}"
    assert isinstance(value, bool) == isinstance(expected, bool), f"{place}: it is {value!r}, not {text}"


async def _check_error(statement: ast.stmt, namespace: dict[str, Any], place: str, name: str) -> None:
    try:
        value = await _run(statement, namespace, place)
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__[:-1]]
        if name not in kinds:
            raise AssertionError(f"{place}: it raises {kinds[0]}, not {name}") from error
    else:
        raise AssertionError(f"{place}: it is {value!r} and raises nothing, not {name}")


async def _run(statement: ast.stmt, namespace: dict[str, Any], place: str) -> Any:
    """Run a statement; return what its expression, or the one name that it assigns to, came to."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    if isinstance(statement, ast.Expr):
        value = eval(compile(ast.Expression(statement.value), place, "eval", flags), namespace)
        return await value if inspect.iscoroutine(value) else value
    done = eval(compile(ast.Module([statement], []), place, "exec", flags), namespace)
    if inspect.iscoroutine(done):
        await done
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return namespace[name]
    return None
