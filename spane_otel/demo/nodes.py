"""The nodes of the workflow: plain async functions, which know nothing of who runs them.

What is large stays in the workspace (the index, the parsed modules); a node takes and returns a little JSON. Their
own steps are OpenTelemetry spans and their remarks are log records of the logger `analyse_stdlib`, as in any program.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from opentelemetry import trace

from spane_otel.demo import index, report, sources, spelling
from spane_otel.demo.analysis import BrokenFile
from spane_otel.demo.cycles import build_graph, find_cycles
from spane_otel.demo.pace import Pace
from spane_otel.demo.parsing import Module, parse_module
from spane_otel.demo.report import Findings
from spane_otel.demo.sources import SourceFile, SourceText
from spane_otel.demo.spelling import Suspicion

TRACE: Final = 5
"""A level of Python's logging below DEBUG, OpenTelemetry's TRACE."""
UNPARSABLE: Final = (SyntaxError, ValueError, RecursionError)

_log: Final = logging.getLogger("analyse_stdlib")
_tracer: Final = trace.get_tracer("spane_otel.demo")


class Workspace(Struct, frozen=True):
    """Where an execution keeps its files, and how fast it may work."""

    folder: Path
    pace: Pace

    @property
    def index(self) -> Path:
        return self.folder / "index.sqlite3"

    @property
    def files(self) -> Path:
        return self.folder / "files.json"

    @property
    def report(self) -> Path:
        return self.folder / "report.md"

    def modules(self, package: str) -> Path:
        return self.folder / f"modules-{package}.json"


async def discover_files(work: Workspace, root: str, packages: list[str]) -> dict[str, Any]:
    """Find the files of `packages` under `root`; the broken package, if asked for, is written first."""
    with _tracer.start_as_current_span("os.walk", attributes={"file.directory": root}):
        found = sources.discover(Path(root))
    if sources.BROKEN_PACKAGE in packages and sources.BROKEN_PACKAGE not in found:
        found[sources.BROKEN_PACKAGE] = sources.write_broken_package(work.folder)
        _log.info("no file of this library is broken: one of our own joins the input")
    chosen = {name: found[name] for name in packages if name in found}
    for name in sorted(set(packages) - set(chosen)):
        _log.warning("%s is not in %s", name, root)
    work.files.write_bytes(msgspec.json.encode(chosen))
    index.create_index(work.index)
    await work.pace.rest()
    counts = {name: len(files) for name, files in chosen.items()}
    _log.info("%d files in %d packages", sum(counts.values()), len(counts))
    return {"packages": counts, "bytes": sum(file.size for files in chosen.values() for file in files)}


async def read_sources(work: Workspace, package: str) -> dict[str, Any]:
    """Read the files of a package into the index."""
    files = msgspec.json.decode(work.files.read_bytes(), type=dict[str, list[SourceFile]])[package]
    texts: list[tuple[SourceFile, SourceText]] = []
    for file in files:
        texts.append((file, sources.read_source(file)))
        _log.log(TRACE, "read %s, %d bytes", file.path, file.size)
        await work.pace.rest()
    index.store_sources(work.index, package, texts)
    return {"files": len(texts), "lines": sum(text.lines for _, text in texts)}


async def parse_modules(work: Workspace, package: str, on_broken_file: BrokenFile) -> dict[str, Any]:
    """Parse the files of a package; keep what they hold in the workspace.

    Raises:
        SyntaxError, ValueError, RecursionError: a file does not parse, and it is not to be skipped.

    """
    modules: list[Module] = []
    broken: dict[str, Exception] = {}
    for file, text in index.load_sources(work.index, package):
        try:
            modules.append(_parse(file, text))
        except UNPARSABLE as error:
            _log.error("cannot parse %s: %s", file.path, error)
            broken[file.path] = error
            if on_broken_file == "fail_fast":
                break
        await work.pace.rest()
    if broken and on_broken_file != "skip_file":
        _log.critical("giving %s up: %d of its files do not parse", package, len(broken))
        raise next(iter(broken.values()))
    work.modules(package).write_bytes(msgspec.json.encode(modules))
    return {"modules": len(modules), "skipped": sorted(broken)}


def _parse(file: SourceFile, text: SourceText) -> Module:
    attributes: dict[str, str | int] = {
        "code.function.name": "parse_module",
        "file.path": file.path,
        "file.size": file.size,
        "source.sha256_64": text.sha256_64,
    }
    with _tracer.start_as_current_span("ast.parse", attributes=attributes):
        module = parse_module(file.module, file.path, text.content, is_package=file.is_package)
        for complaint in module.warnings:
            _log.warning("%s %s", file.path, complaint)
        _log.debug("%s: %d definitions, %d imports", module.name, len(module.definitions), len(module.imports))
        return module


async def count_complexity(work: Workspace, package: str) -> dict[str, Any]:
    """Count how many branches the functions of a package have."""
    functions = [
        (definition.complexity, f"{module.name}.{definition.name}")
        for module in _load_modules(work, package)
        for definition in module.definitions
        if definition.kind != "class"
    ]
    await work.pace.rest()
    if not functions:
        return {"functions": 0}
    worst, name = max(functions)
    if worst > 40:
        _log.warning("%s has a complexity of %d", name, worst)
    mean = sum(complexity for complexity, _ in functions) / len(functions)
    return {"functions": len(functions), "mean": round(mean, 2), "worst": worst, "worst_function": name}


async def store_definitions(work: Workspace, package: str) -> dict[str, Any]:
    """Add what a package defines and imports to the index."""
    modules = _load_modules(work, package)
    with _tracer.start_as_current_span("INSERT definitions", attributes={"db.system.name": "sqlite"}) as span:
        rows = index.store_modules(work.index, package, modules)
        span.set_attribute("db.response.returned_rows", rows)
    await work.pace.rest()
    return {"definitions": rows}


async def compact_index(work: Workspace) -> dict[str, Any]:
    """Pack the source texts in the index; holds it locked meanwhile."""
    saved = 0
    before = work.index.stat().st_size
    with (
        _tracer.start_as_current_span("BEGIN EXCLUSIVE", attributes={"db.system.name": "sqlite"}) as span,
        closing(index.compact(work.index)) as steps,
    ):
        for saved in steps:
            span.set_attribute("index.bytes_saved", saved)
            await work.pace.rest()
    with _tracer.start_as_current_span("VACUUM", attributes={"db.system.name": "sqlite"}):
        after = await asyncio.to_thread(index.vacuum, work.index)
    _log.info("packed the index from %d to %d bytes", before, after)
    return {"bytes_before": before, "bytes_after": after, "saved": saved}


async def write_index(work: Workspace, busy_timeout_s: float) -> dict[str, Any]:
    """Write the summary of each module into the index.

    Raises:
        sqlite3.OperationalError: another node held the index locked for `busy_timeout_s`.

    """
    return {"modules": await asyncio.to_thread(_write_index, work.index, busy_timeout_s)}


def _write_index(path: Path, busy_timeout_s: float) -> int:
    attributes = {"db.system.name": "sqlite", "db.namespace": path.name}
    with closing(index.connect(path, busy_timeout_s=busy_timeout_s)) as connection:
        with _tracer.start_as_current_span("BEGIN IMMEDIATE", attributes=attributes):
            connection.execute("BEGIN IMMEDIATE")
        try:
            with _tracer.start_as_current_span("INSERT modules", attributes=attributes):
                modules = index.summarise(connection)
            with _tracer.start_as_current_span("COMMIT", attributes=attributes):
                connection.execute("COMMIT")
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
        return modules


async def check_spelling(work: Workspace, packages: list[str]) -> dict[str, Any]:
    """Look for misspelled words in the docstrings of `packages`; slow, and often cancelled."""
    words: Counter[str] = Counter()
    for package in packages:
        for module in _load_modules(work, package):
            words.update(module.words)
        await work.pace.rest()
    found: list[Suspicion] = []
    for suspicion in spelling.find_suspicions(words):
        if suspicion is not None:
            _log.debug("%r may mean %r", suspicion.word, suspicion.meant)
            found.append(suspicion)
        await work.pace.rest()
    return {"words": len(words), "suspicions": msgspec.to_builtins(found)}


async def aggregate(work: Workspace) -> dict[str, Any]:
    """Add the packages up."""
    totals = index.load_totals(work.index)
    most_complex = index.load_most_complex(work.index)
    await work.pace.rest()
    return {"packages": msgspec.to_builtins(totals), "most_complex": msgspec.to_builtins(most_complex)}


async def find_import_cycles(work: Workspace) -> dict[str, Any]:
    """Find the groups of modules that import each other."""
    with _tracer.start_as_current_span("build_graph") as span:
        graph = build_graph(index.load_imports(work.index))
        span.set_attribute("graph.nodes", len(graph))
        span.set_attribute("graph.edges", sum(len(targets) for targets in graph.values()))
    await work.pace.rest()
    with _tracer.start_as_current_span("strongly_connected"):
        cycles = find_cycles(graph)
    await work.pace.rest()
    for cycle in cycles:
        _log.warning("%d modules import each other, among them %s", len(cycle), cycle[0])
    return {"modules": len(graph), "cycles": cycles}


async def find_duplicates(work: Workspace) -> dict[str, Any]:
    """Find the files that are the same but for their place."""
    groups = index.load_duplicates(work.index)
    await work.pace.rest()
    for group in groups:
        _log.info("%s has the content of %s", ", ".join(group[1:]), group[0])
    return {"files": sum(len(group) - 1 for group in groups), "groups": groups}


async def render_report(work: Workspace, findings: dict[str, Any]) -> dict[str, Any]:
    """Render the report of `findings`, the builtins of a `Findings`, into the workspace."""
    text = report.render_report(msgspec.convert(findings, Findings))
    work.report.write_text(text, encoding="utf-8")
    await work.pace.rest()
    _log.info("report of %d lines", text.count("\n"))
    return {"report": text}


def _load_modules(work: Workspace, package: str) -> list[Module]:
    return msgspec.json.decode(work.modules(package).read_bytes(), type=list[Module])
