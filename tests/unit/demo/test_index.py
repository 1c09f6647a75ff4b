"""The index: what is stored is read back, and a lock is a lock."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from spane_otel.demo import index
from spane_otel.demo.parsing import parse_module
from spane_otel.demo.sources import SourceFile, SourceText


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "index.sqlite3"
    index.create_index(file)
    source = b"import a.c\ndef f(x):\n    if x: pass\n" * 50
    texts = [
        (SourceFile(module=name, path=f"/{name}.py", size=len(source)), SourceText(source, -(2**63), 150))
        for name in ("a.b", "a.c")
    ]
    index.store_sources(file, "a", texts)
    return file


def summarise(path: Path, *, busy_timeout_s: float = 0.0) -> int:
    with index.transaction(path, busy_timeout_s=busy_timeout_s) as connection:
        return index.summarise(connection)


def test_sources_are_read_back_exactly(path: Path) -> None:
    (file, text), _ = index.load_sources(path, "a")
    assert (file.module, file.path, file.size) == ("a.b", "/a.b.py", len(text.content))
    assert text.sha256_64 == -(2**63)
    assert index.load_sources(path, "other") == []


def test_totals_imports_and_the_most_complex_functions_come_from_what_was_stored(path: Path) -> None:
    module = parse_module("a.b", "/a.b.py", b"import a.c\nclass A:\n    def f(self, x):\n        if x: pass\n")
    assert index.store_modules(path, "a", [module]) == 2
    assert summarise(path) == 2
    assert index.load_totals(path) == [index.PackageTotals("a", modules=2, lines=300, definitions=2, worst=2)]
    assert index.load_imports(path) == {"a.b": ["a.c"], "a.c": []}
    assert index.load_most_complex(path) == [index.Complexity("a.b", "A.f", 2)]


def test_a_writer_meets_the_lock_that_compaction_holds(path: Path) -> None:
    with closing(index.compact(path)) as steps:
        next(steps)
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            summarise(path)
        assert len(list(steps)) == 2
    assert summarise(path) == 2


def test_compaction_packs_every_source_and_loses_nothing(path: Path) -> None:
    contents = [text.content for _, text in index.load_sources(path, "a")]
    *_, saved = index.compact(path)
    packed = [text.content for _, text in index.load_sources(path, "a")]
    assert [zlib.decompress(content) for content in packed] == contents
    assert saved == sum(map(len, contents)) - sum(map(len, packed)) > 0


def test_compaction_that_is_given_up_changes_nothing_and_unlocks(path: Path) -> None:
    before = index.load_sources(path, "a")
    with closing(index.compact(path)) as steps:
        next(steps)
        next(steps)
    assert index.load_sources(path, "a") == before
    assert summarise(path) == 2


def test_a_transaction_that_raises_leaves_nothing_behind(path: Path) -> None:
    def fail_late() -> None:
        with index.transaction(path) as connection:
            index.summarise(connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_late()
    assert summarise(path) == 2


def test_every_step_may_be_done_again(path: Path) -> None:
    """A node whose process was killed runs again, on what it had written."""
    module = parse_module("a.b", "/a.b.py", b"import a.c\ndef f(): pass\n")
    for _ in range(2):
        index.store_sources(path, "a", index.load_sources(path, "a"))
        assert index.store_modules(path, "a", [module]) == 1
        assert summarise(path) == 2
    assert [total.definitions for total in index.load_totals(path)] == [1]
    index.create_index(path)
    assert index.load_totals(path) == []


def test_files_with_the_same_content_are_found_before_and_after_compaction(path: Path) -> None:
    assert index.load_duplicates(path) == [["a.b", "a.c"]]
    list(index.compact(path))
    assert index.load_duplicates(path) == [["a.b", "a.c"]]


def test_an_index_that_does_not_exist_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        index.load_totals(tmp_path / "missing.sqlite3")
    assert list(tmp_path.iterdir()) == []
