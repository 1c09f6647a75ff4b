"""Discovery of source files."""

import ast
from pathlib import Path

import pytest

from spane_otel.demo.sources import (
    UNPARSABLE,
    SourceFile,
    discover,
    find_unparsable,
    read_source,
    standard_library,
    write_broken_package,
)


def write(root: Path, *paths: str) -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("", encoding="utf-8")


def test_a_module_is_named_by_its_place_below_the_package(tmp_path: Path) -> None:
    write(tmp_path, "json/__init__.py", "json/decoder.py", "json/inner/__init__.py", "json/inner/deep.py")
    assert [file.module for file in discover(tmp_path)["json"]] == [
        "json",
        "json.decoder",
        "json.inner",
        "json.inner.deep",
    ]


def test_single_modules_and_folders_without_init_and_installed_packages_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "os.py", "plain/module.py", "site-packages/__init__.py", "site-packages/pip/__init__.py")
    assert discover(tmp_path) == {}


def test_each_folder_of_the_test_package_is_a_package_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "test/__init__.py", "test/test_a.py", "test/data/__init__.py", "test/data/bad.py")
    found = discover(tmp_path)
    assert {name: [file.module for file in files] for name, files in found.items()} == {
        "test": ["test", "test.test_a"],
        "test.data": ["test.data", "test.data.bad"],
    }


def test_the_standard_library_of_this_machine_is_found() -> None:
    packages = discover(standard_library())
    assert {"asyncio", "email", "json"} <= packages.keys()
    assert "json.decoder" in [file.module for file in packages["json"]]


def test_our_own_broken_package_does_not_parse(tmp_path: Path) -> None:
    files = write_broken_package(tmp_path)
    assert [file.module for file in files] == ["broken", "broken.unfinished"]
    with pytest.raises(SyntaxError, match="never closed"):
        ast.parse(Path(files[1].path).read_bytes())


def test_a_package_is_unparsable_only_if_the_distribution_left_the_files_in_it(tmp_path: Path) -> None:
    write(tmp_path, "lib2to3/__init__.py", "lib2to3/main.py")
    assert find_unparsable(discover(tmp_path)) is None
    write(tmp_path, "lib2to3/tests/data/py2_test_grammar.py")
    assert find_unparsable(discover(tmp_path)) == "lib2to3"


def test_what_is_taken_as_unparsable_on_this_machine_does_not_parse() -> None:
    packages = discover(standard_library())
    name = find_unparsable(packages)
    if name is not None:
        (path,) = [file.path for file in packages[name] if file.module == UNPARSABLE[name]]
        with pytest.raises(SyntaxError):
            ast.parse(Path(path).read_bytes())


def test_the_content_is_told_apart_by_a_signed_64_bit_number(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(b"x = 1\ny = 2\n")
    text = read_source(SourceFile(module="a", path=str(path), size=12))
    # sha256sum a.py | cut -c1-16, as a signed big-endian integer
    assert text.sha256_64 == int.from_bytes(bytes.fromhex("8353afe579a16d27"), "big", signed=True)
    assert text.lines == 2
