"""The index of an analysis: one SQLite file with source texts, definitions, imports and a summary per module.

Everything here is synchronous and short, except `compact`, which holds the file locked from its first step to its
last. A writer that meets the lock waits for its `busy_timeout_s` and then gets SQLite's own
`OperationalError: database is locked`. Every step may be done again, since a node whose process was killed is.
"""

import sqlite3
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from spane_otel.demo.parsing import Module
from spane_otel.demo.sources import SourceFile, SourceText

_SCHEMA: Final = """
CREATE TABLE sources (
    module TEXT PRIMARY KEY, package TEXT, path TEXT, is_package INT, lines INT, sha256_64 INT, content BLOB, packed INT
);
CREATE TABLE definitions (module TEXT, package TEXT, name TEXT, kind TEXT, line INT, complexity INT);
CREATE TABLE imports (module TEXT, package TEXT, imported TEXT);
CREATE TABLE modules (module TEXT PRIMARY KEY, package TEXT, lines INT, definitions INT, imports INT, worst INT);
"""
_SUMMARISE: Final = """
INSERT INTO modules
SELECT s.module, s.package, s.lines,
       (SELECT count(*) FROM definitions d WHERE d.module = s.module),
       (SELECT count(*) FROM imports i WHERE i.module = s.module),
       (SELECT coalesce(max(complexity), 0) FROM definitions d WHERE d.module = s.module)
FROM sources s
"""


class Complexity(Struct, frozen=True):
    """A definition and how complex it is."""

    module: str
    name: str
    complexity: int


class PackageTotals(Struct, frozen=True):
    """A package in numbers."""

    package: str
    modules: int
    lines: int
    definitions: int
    worst: int


def create_index(path: Path) -> None:
    """Make an empty index at `path`, in the place of one that is there."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_SCHEMA)


@contextmanager
def transaction(path: Path, kind: str = "IMMEDIATE", *, busy_timeout_s: float = 5.0) -> Iterator[sqlite3.Connection]:
    """Open `path`, begin a transaction of `kind` and commit it, or roll back what raised.

    Raises:
        sqlite3.OperationalError: another connection held the file locked for `busy_timeout_s`.

    """
    with closing(connect(path, busy_timeout_s=busy_timeout_s)) as connection:
        connection.execute(f"BEGIN {kind}")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def connect(path: Path, *, busy_timeout_s: float = 5.0) -> sqlite3.Connection:
    """Return a connection to an index that exists; the caller begins, commits and closes."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )


def store_sources(path: Path, package: str, sources: Iterable[tuple[SourceFile, SourceText]]) -> None:
    """Keep the files of a package, in the place of those that are there."""
    with transaction(path) as connection:
        connection.execute("DELETE FROM sources WHERE package = ?", (package,))
        connection.executemany(
            "INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            [
                (file.module, package, file.path, file.is_package, text.lines, text.sha256_64, text.content)
                for file, text in sources
            ],
        )


def load_sources(path: Path, package: str) -> list[tuple[SourceFile, SourceText]]:
    """Return what `store_sources` stored for `package`, by module name; not after `compact`."""
    with closing(connect(path)) as connection:
        rows = connection.execute(
            "SELECT module, path, lines, sha256_64, content FROM sources WHERE package = ? ORDER BY module", (package,)
        ).fetchall()
    return [
        (
            SourceFile(module=module, path=file, size=len(content)),
            SourceText(content=content, sha256_64=sha256_64, lines=lines),
        )
        for module, file, lines, sha256_64, content in rows
    ]


def store_modules(path: Path, package: str, modules: Iterable[Module]) -> int:
    """Keep what the modules of a package define and import, as `store_sources`; return the number of definitions."""
    definitions: list[tuple[str, str, str, str, int, int]] = []
    imports: list[tuple[str, str, str]] = []
    for module in modules:
        definitions += [(module.name, package, d.name, d.kind, d.line, d.complexity) for d in module.definitions]
        imports += [(module.name, package, imported) for imported in module.imports]
    with transaction(path) as connection:
        connection.execute("DELETE FROM definitions WHERE package = ?", (package,))
        connection.execute("DELETE FROM imports WHERE package = ?", (package,))
        connection.executemany("INSERT INTO definitions VALUES (?, ?, ?, ?, ?, ?)", definitions)
        connection.executemany("INSERT INTO imports VALUES (?, ?, ?)", imports)
    return len(definitions)


def summarise(connection: sqlite3.Connection) -> int:
    """Make the look-up indexes and a row per module, in the caller's transaction; return the number of modules."""
    connection.execute("DELETE FROM modules")
    connection.execute("CREATE INDEX IF NOT EXISTS definitions_module ON definitions (module)")
    connection.execute("CREATE INDEX IF NOT EXISTS imports_module ON imports (module)")
    return connection.execute(_SUMMARISE).rowcount


def compact(path: Path) -> Generator[int, None, None]:
    """Pack every source text, one a step, in a single exclusive transaction; yield the bytes saved so far.

    The file is locked from before the first step until the iterator ends or is closed, which rolls back.
    """
    saved = 0
    with transaction(path, "EXCLUSIVE") as connection:
        rows = connection.execute("SELECT rowid FROM sources WHERE packed = 0 ORDER BY rowid").fetchall()
        yield saved
        for (rowid,) in rows:
            (content,) = connection.execute("SELECT content FROM sources WHERE rowid = ?", (rowid,)).fetchone()
            packed = zlib.compress(content, 9)
            connection.execute("UPDATE sources SET content = ?, packed = 1 WHERE rowid = ?", (packed, rowid))
            saved += len(content) - len(packed)
            yield saved


def vacuum(path: Path) -> int:
    """Give the space that packing freed back to the file system; return the size of the file afterwards."""
    with closing(connect(path)) as connection:
        connection.execute("VACUUM")
    return path.stat().st_size


def load_imports(path: Path) -> dict[str, list[str]]:
    """Return each module's imported names."""
    with closing(connect(path)) as connection:
        imports: dict[str, list[str]] = {
            module: [] for (module,) in connection.execute("SELECT module FROM modules ORDER BY module")
        }
        for module, imported in connection.execute("SELECT module, imported FROM imports ORDER BY module, imported"):
            imports.setdefault(module, []).append(imported)
    return imports


def load_duplicates(path: Path) -> list[list[str]]:
    """Return the groups of modules whose files have the same content, the largest first, empty files left out."""
    with closing(connect(path)) as connection:
        groups: dict[int, list[str]] = {}
        rows = connection.execute("SELECT sha256_64, module FROM sources WHERE lines > 0 ORDER BY module")
        for sha256_64, module in rows:
            groups.setdefault(sha256_64, []).append(module)
    return sorted((each for each in groups.values() if len(each) > 1), key=lambda group: (-len(group), group))


def load_totals(path: Path) -> list[PackageTotals]:
    """Return the packages in numbers, by name."""
    with closing(connect(path)) as connection:
        rows = connection.execute(
            "SELECT package, count(*), sum(lines), sum(definitions), max(worst) FROM modules GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return [PackageTotals(*row) for row in rows]


def load_most_complex(path: Path, limit: int = 10) -> list[Complexity]:
    """Return the functions with the most branches."""
    with closing(connect(path)) as connection:
        rows = connection.execute(
            "SELECT module, name, complexity FROM definitions WHERE kind <> 'class'"
            " ORDER BY complexity DESC, module, name LIMIT ?",
            (limit,),
        ).fetchall()
    return [Complexity(*row) for row in rows]
