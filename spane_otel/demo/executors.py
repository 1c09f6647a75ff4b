"""What runs the nodes: for each type an executor, which takes what its node needs from the results before it.

Nothing is kept here between two nodes but the pace: another process that takes an execution over goes on with it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from spane_otel.demo import nodes
from spane_otel.demo.analysis import Analysis
from spane_otel.demo.definition import PLACES, package_node
from spane_otel.demo.nodes import Workspace
from spane_otel.demo.pace import Pace
from spane_otel.engine import ExecutionContext, NodeRegistry
from spane_otel.state import ExecutionResult

Step = Callable[[ExecutionContext, Workspace, dict[str, Any]], Awaitable[Any]]
"""A node of an execution: its context, its workspace and what the execution's first node passed on."""

_log: Final = logging.getLogger("analyse_stdlib")


class Executors:
    """The executors of the demo, in a registry."""

    def __init__(self) -> None:
        self.registry: Final = NodeRegistry()
        self._paces: Final[WeakValueDictionary[str, Pace]] = WeakValueDictionary()
        """By folder, as long as a node works there: all nodes of an execution, and of what it nests, share one."""
        self.registry.register("discover_files", self._discover_files)
        self.registry.register("read_sources", self._read_sources)
        for first, steps in (("discover_files", _ANALYSE), ("read_sources", _PARSE)):
            for node_type, step in steps.items():
                self.registry.register(node_type, self._executor(first, step))

    def _executor(self, first: str, step: Step) -> Callable[[ExecutionContext], Awaitable[ExecutionResult]]:
        async def execute(context: ExecutionContext) -> ExecutionResult:
            given = context.all_node_results[first].data
            assert isinstance(given, dict)  # noqa: S101 - our own first nodes return one
            result = await step(context, self._workspace(given), given)
            return result if isinstance(result, ExecutionResult) else ExecutionResult(success=True, data=result)

        return execute

    def _workspace(self, given: Mapping[str, Any]) -> Workspace:
        folder = str(given["folder"])
        pace = self._paces.get(folder)
        if pace is None:
            pace = self._paces[folder] = Pace(given["cpu_share"])
        return Workspace(Path(folder), pace)

    async def _discover_files(self, context: ExecutionContext) -> ExecutionResult:
        analysis = msgspec.convert(context.input_data, Analysis)
        given: dict[str, Any] = msgspec.to_builtins(analysis)
        found = await nodes.discover_files(self._workspace(given), analysis.root, analysis.packages)
        packages = list(found["packages"])[:PLACES]
        places = {f"package_{place}": name for place, name in enumerate(packages, 1)}
        chosen = tuple(package_node(place) for place in range(1, len(packages) + 1))
        data = {**given, **places, "packages": packages, "files": found["packages"], "bytes": found["bytes"]}
        return ExecutionResult(success=True, data=data, next_nodes=chosen)

    async def _read_sources(self, context: ExecutionContext) -> ExecutionResult:
        given = context.input_data
        read = await nodes.read_sources(self._workspace(given), given["package"])
        return ExecutionResult(success=True, data={**given, **read})


async def _collect_packages(
    context: ExecutionContext, _work: Workspace, given: dict[str, Any]
) -> ExecutionResult | dict[str, Any]:
    """Tell packages that were parsed from those that failed, which ends the execution if it was asked to fail fast."""
    errors: dict[str, str] = {}
    skipped: list[str] = []
    for place, package in enumerate(given["packages"], 1):
        result = context.previous_results[package_node(place)]
        if result.success and isinstance(result.data, dict):
            skipped += result.data["skipped"]
        else:
            errors[package] = (result.error or "").partition(": ")[2]  # behind which sub-workflow it was
    if errors and given["on_broken_file"] == "fail_fast":
        return ExecutionResult(success=False, error=next(iter(errors.values())))
    for package in errors:
        _log.warning("going on without %s", package)
    parsed = [package for package in given["packages"] if package not in errors]
    return {"packages": parsed, "failed": sorted(errors), "skipped": skipped}


async def _parse_modules(_context: ExecutionContext, work: Workspace, given: dict[str, Any]) -> dict[str, Any]:
    return await nodes.parse_modules(work, given["package"], given["on_broken_file"])


async def _count_complexity(_context: ExecutionContext, work: Workspace, given: dict[str, Any]) -> dict[str, Any]:
    return await nodes.count_complexity(work, given["package"])


async def _store_definitions(context: ExecutionContext, work: Workspace, given: dict[str, Any]) -> dict[str, Any]:
    """Store what was parsed, and return all that is known of the package: what its execution results in."""
    stored = await nodes.store_definitions(work, given["package"])
    before = context.all_node_results
    return {
        "package": given["package"],
        **_data(before["parse_modules"]),
        **_data(before["count_complexity"]),
        **stored,
    }


async def _compact_index(_context: ExecutionContext, work: Workspace, _given: dict[str, Any]) -> dict[str, Any]:
    return await nodes.compact_index(work)


async def _write_index(_context: ExecutionContext, work: Workspace, given: dict[str, Any]) -> dict[str, Any]:
    return await nodes.write_index(work, given["busy_timeout_s"])


async def _check_spelling(context: ExecutionContext, work: Workspace, given: dict[str, Any]) -> dict[str, Any]:
    """Look for misspellings until the budget is spent.

    Raises:
        CancelledError: it was; the node is cancelled, not failed.

    """
    packages = _data(context.all_node_results["collect_packages"])["packages"]
    check = asyncio.create_task(nodes.check_spelling(work, packages))
    try:
        done, _ = await asyncio.wait([check], timeout=given["spelling_budget_s"])
        if not done:
            _log.warning("spelling not checked: its budget of %.1f s is spent", given["spelling_budget_s"])
    finally:
        check.cancel()
    return await check


async def _aggregate(_context: ExecutionContext, work: Workspace, _given: dict[str, Any]) -> dict[str, Any]:
    return await nodes.aggregate(work)


async def _find_import_cycles(_context: ExecutionContext, work: Workspace, _given: dict[str, Any]) -> dict[str, Any]:
    return await nodes.find_import_cycles(work)


async def _find_duplicates(_context: ExecutionContext, work: Workspace, _given: dict[str, Any]) -> dict[str, Any]:
    return await nodes.find_duplicates(work)


async def _render_report(context: ExecutionContext, work: Workspace, _given: dict[str, Any]) -> dict[str, Any]:
    """Render the report, and return with it what the execution results in."""
    before = context.all_node_results
    totals, cycles = _data(before["aggregate"]), _data(before["find_import_cycles"])
    collected, spelling = _data(before["collect_packages"]), before["check_spelling"]
    broken = sorted([*collected["failed"], *collected["skipped"]])
    findings = {
        "totals": totals["packages"],
        "most_complex": totals["most_complex"],
        "cycles": cycles["cycles"],
        "duplicates": _data(before["find_duplicates"])["groups"] if "find_duplicates" in before else None,
        "broken": broken,
        "suspicions": _data(spelling)["suspicions"] if spelling.success else None,
    }
    rendered = await nodes.render_report(work, findings)
    counts = {"packages": len(collected["packages"]), "broken": broken, "cycles": len(cycles["cycles"])}
    return {**counts, **rendered}


def _data(result: ExecutionResult) -> dict[str, Any]:
    assert isinstance(result.data, dict)  # noqa: S101 - our own nodes return one
    return result.data


_PARSE: Final[dict[str, Step]] = {
    "parse_modules": _parse_modules,
    "count_complexity": _count_complexity,
    "store_definitions": _store_definitions,
}
_ANALYSE: Final[dict[str, Step]] = {
    "collect_packages": _collect_packages,
    "compact_index": _compact_index,
    "write_index": _write_index,
    "check_spelling": _check_spelling,
    "aggregate": _aggregate,
    "find_import_cycles": _find_import_cycles,
    "find_duplicates": _find_duplicates,
    "render_report": _render_report,
}
