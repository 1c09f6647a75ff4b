"""The source files of Python's standard library, grouped by package."""

import hashlib
import os
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

BROKEN_PACKAGE: Final = "broken"
UNPARSABLE: Final = {
    "test.tokenizedata": "test.tokenizedata.badsyntax_3131",
    "lib2to3": "lib2to3.tests.data.py2_test_grammar",
}
"""Packages in which CPython keeps files that must not parse, and one of these; some distributions leave them out."""

_BROKEN_SOURCE: Final = '''"""Left unfinished: the brace is never closed."""

PRICES = {
    "coffee": 2.20,
    "tea": 1.80,


def total(basket):
    return sum(PRICES[item] for item in basket)
'''
_LEFT_OUT: Final = frozenset({"site-packages", "dist-packages", "__pycache__", "node_modules"})
_SPLIT: Final = "test"
"""The one package so large that each folder in it counts as a package of its own."""


class SourceFile(Struct, frozen=True):
    """A file and the module that it is."""

    module: str
    """Dotted, with the package; a package's `__init__` has the package's name."""
    path: str
    size: int
    """Bytes."""

    @property
    def is_package(self) -> bool:
        return os.path.basename(self.path) == "__init__.py"  # noqa: PTH119 - called once per file, a Path costs more


class SourceText(Struct, frozen=True):
    """What a file holds, and a number that tells it from other versions."""

    content: bytes
    sha256_64: int
    """The first 8 bytes of the SHA-256, a signed integer: most do not fit a JavaScript number."""
    lines: int


def standard_library() -> Path:
    """Return the folder of the standard library that this interpreter runs on."""
    return Path(sysconfig.get_path("stdlib"))


def discover(root: Path) -> dict[str, list[SourceFile]]:
    """Return the Python files under `root` by package, packages and files sorted by name.

    A package is a top-level folder with an `__init__.py`; modules beside them are left out. A folder that can't be
    entered is skipped, as `os.walk` does.
    """
    packages: dict[str, list[SourceFile]] = {}
    for folder in sorted(root.iterdir()):
        if folder.name not in _LEFT_OUT and (folder / "__init__.py").is_file():
            for file in _walk(folder, folder.name):
                packages.setdefault(_package_of(file.module, is_package=file.is_package), []).append(file)
    return {name: sorted(packages[name], key=lambda file: file.module) for name in sorted(packages)}


def find_unparsable(packages: Mapping[str, Sequence[SourceFile]]) -> str | None:
    """Return a package of `packages` that holds files which are known not to parse."""
    for name, module in UNPARSABLE.items():
        if any(file.module == module for file in packages.get(name, ())):
            return name
    return None


def write_broken_package(folder: Path) -> list[SourceFile]:
    """Write a package with one file that does not parse into `folder`, and return its files."""
    package = folder / BROKEN_PACKAGE
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text('"""A package with an unfinished module."""\n', encoding="utf-8")
    (package / "unfinished.py").write_text(_BROKEN_SOURCE, encoding="utf-8")
    return sorted(_walk(package, BROKEN_PACKAGE), key=lambda file: file.module)


def read_source(file: SourceFile) -> SourceText:
    """Read `file`; bytes, since the encoding is declared inside.

    Raises:
        OSError: it can't be read.

    """
    content = Path(file.path).read_bytes()
    digest = hashlib.sha256(content).digest()
    return SourceText(
        content=content, sha256_64=int.from_bytes(digest[:8], "big", signed=True), lines=content.count(b"\n")
    )


def _walk(folder: Path, package: str) -> list[SourceFile]:
    files: list[SourceFile] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        inner = Path(here).relative_to(folder).parts
        for name in names:
            if name.endswith(".py"):
                parts = (package, *inner) if name == "__init__.py" else (package, *inner, name.removesuffix(".py"))
                path = os.path.join(here, name)  # noqa: PTH118 - called once per file, a Path costs more
                files.append(SourceFile(module=".".join(parts), path=path, size=os.stat(path).st_size))  # noqa: PTH116 - as above
    return files


def _package_of(module: str, *, is_package: bool) -> str:
    top, _, rest = module.partition(".")
    if top != _SPLIT or not rest:
        return top
    inner, _, deeper = rest.partition(".")
    return f"{top}.{inner}" if deeper or is_package else top
