"""Who may import whom: read from the source, so that no import goes upwards unnoticed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "spane_otel"
ROOT = Path(__file__).parents[2] / PACKAGE

GROUPS: dict[str, frozenset[str]] = {
    "ground": frozenset({"errors", "records", "state", "jsontext", "ids", "clock", "counters", "settings", "version"}),
    "pure": frozenset(
        {
            "identity",
            "values",
            "valuetext",
            "terms",
            "mapping",
            "derivation",
            "archives",
            "graph",
            "search",
            "traces",
            "history",
            "otlp",
        }
    ),
    "state and outside": frozenset({"transport", "stores", "upkeep", "transfer", "forward"}),
    "roles": frozenset({"telemetry", "engine", "server"}),
    "outermost": frozenset({"cli", "demo"}),
}
"""The parts of the package, each below those that may import it."""

BANS = [("server", "engine"), ("engine", "server"), ("stores", "forward"), ("forward", "stores")]
LATE = ("starlette", "uvicorn", "grpc", "bullmq", "jinja2", "asyncpg")
"""What `import spane_otel` and `configure()` must not load."""

RANKS = {part: rank for rank, parts in enumerate(GROUPS.values()) for part in parts}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for path in ROOT.rglob("*.py")}


def imports(path: Path, known: frozenset[str]) -> Iterator[str]:
    """Yield every module that a file imports, anywhere in it, for type checkers alone included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a module is"
            module = node.module or ""
            for alias in node.names:
                name = f"{module}.{alias.name}"
                yield name if name in known else module


def imports_when_loaded(path: Path, known: frozenset[str]) -> Iterator[str]:
    """Yield the modules that are loaded with a file: not those in functions and under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.If):
            node.body = [ast.Pass()]
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        pending.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else str(node.module)


def is_upwards(importer: str, imported: str) -> bool:
    """Whether an import leads to a later group; the package itself, which re-exports, is above all."""
    if imported == PACKAGE:
        return True
    return imported.startswith(f"{PACKAGE}.") and RANKS[part_of(imported)] > RANKS[part_of(importer)]


def part_of(module: str) -> str:
    """Return the part of the package that a module belongs to: its second name."""
    return module.split(".")[1] if "." in module else ""


MODULES = modules()
KNOWN = frozenset(MODULES)
OURS = sorted(name for name in MODULES if name != PACKAGE)


def test_every_part_has_its_place() -> None:
    assert {part_of(name) for name in OURS} <= set(RANKS)


@pytest.mark.parametrize("name", OURS)
def test_imports_never_go_upwards(name: str) -> None:
    assert [imported for imported in imports(MODULES[name], KNOWN) if is_upwards(name, imported)] == []


@pytest.mark.parametrize("name", OURS)
def test_parts_that_must_not_know_each_other_do_not(name: str) -> None:
    banned = [
        imported
        for imported in imports(MODULES[name], KNOWN)
        if imported.startswith(f"{PACKAGE}.") and (part_of(name), part_of(imported)) in BANS
    ]
    assert banned == []


@pytest.mark.parametrize("name", [name for name in OURS if part_of(name) in ("server", "telemetry", "engine", "cli")])
def test_only_stores_speak_to_the_database(name: str) -> None:
    assert [imported for imported in imports(MODULES[name], KNOWN) if imported.split(".")[0] == "asyncpg"] == []


@pytest.mark.parametrize("name", [name for name in OURS if part_of(name) in ("server", "telemetry", "engine")])
def test_roles_name_no_concrete_store(name: str) -> None:
    """A URL becomes a store in stores/opening.py alone."""
    concrete = {f"{PACKAGE}.stores.{kind}" for kind in ("memory", "postgres", "embedded", "remote")}
    named = [imported for imported in imports(MODULES[name], KNOWN) if ".".join(imported.split(".")[:3]) in concrete]
    assert named == []


@pytest.mark.parametrize("group", GROUPS)
def test_parts_of_one_group_do_not_import_each_other_in_a_circle(group: str) -> None:
    edges: dict[str, set[str]] = {part: set() for part in GROUPS[group]}
    for name in OURS:
        part = part_of(name)
        if part in edges:
            edges[part] |= {
                part_of(imported)
                for imported in imports(MODULES[name], KNOWN)
                if imported.startswith(f"{PACKAGE}.") and part_of(imported) in edges and part_of(imported) != part
            }
    assert find_cycle(edges) is None


def test_modules_do_not_load_each_other_in_a_circle() -> None:
    edges = {
        name: {each for each in imports_when_loaded(MODULES[name], KNOWN) if each in KNOWN and each != name}
        for name in OURS
    }
    assert find_cycle(edges) is None


def find_cycle(edges: dict[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return None


@pytest.mark.parametrize(
    "program",
    [
        "import spane_otel",
        "import spane_otel; spane_otel.configure",
        "import spane_otel; spane_otel.configure('late', endpoint='http://127.0.0.1:9')",
    ],
    ids=["import", "name", "call"],
)
def test_what_traced_code_does_not_need_is_not_loaded(program: str) -> None:
    check = f"import sys; print(*[name for name in {LATE!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{check}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
