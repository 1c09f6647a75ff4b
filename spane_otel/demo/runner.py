"""Wires the nodes into the workflow `analyse_stdlib` and runs it, recorded by the telemetry API.

    discover_files → parse_packages → compact_index  ┐
                       ↳ parse_package   write_index ├→ aggregate → find_import_cycles → render_report
                         (a sub-workflow check_spelling ┘
                          per package)

`write_index` meets the lock that `compact_index` holds and is tried again; `check_spelling` is cancelled when its
budget is spent, which costs the report one section and nothing else.
"""

import asyncio
import logging
import sqlite3
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from spane_otel.demo import nodes
from spane_otel.demo.analysis import Analysis
from spane_otel.demo.nodes import UNPARSABLE, Workspace
from spane_otel.demo.pace import Pace
from spane_otel.records import ExecutionStatus
from spane_otel.telemetry import execution, node
from spane_otel.version import __version__

WORKFLOW: Final = "analyse_stdlib"
SUB_WORKFLOW: Final = "parse_package"
ATTEMPTS: Final = 6
"""Of `write_index`, before the execution fails."""

_log: Final = logging.getLogger("analyse_stdlib")


class Outcome(Struct, frozen=True):
    """How an execution ended."""

    execution_id: str
    status: ExecutionStatus
    error: str | None = None


class Parsed(Struct, frozen=True):
    """What became of the packages."""

    packages: list[str]
    """Those that were parsed, in the order asked for."""
    broken: list[str]
    """What did not parse."""


async def run_analysis(analysis: Analysis) -> Outcome:
    """Run one execution to its end; how it failed is in the outcome, never raised."""
    execution_id = ""
    try:
        async with asyncio.timeout(analysis.deadline_s):
            with execution(WORKFLOW, input=msgspec.to_builtins(analysis), version=__version__) as run:
                execution_id = run.execution_id
                with _temporary_folder() as folder:
                    run.set_result(await _analyse(analysis, Workspace(Path(folder), Pace(analysis.cpu_share))))
    except TimeoutError:
        return Outcome(execution_id, "cancelled")
    except (*UNPARSABLE, OSError, sqlite3.Error) as error:
        return Outcome(execution_id, "failed", f"{type(error).__name__}: {error}")
    return Outcome(execution_id, "completed")


def _temporary_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder that goes with the execution, whatever a cancelled thread still does inside."""
    return tempfile.TemporaryDirectory(prefix="spane-demo-", ignore_cleanup_errors=True)


async def _analyse(analysis: Analysis, work: Workspace) -> dict[str, Any]:
    with node("discover_files", input={"root": analysis.root, "packages": analysis.packages}) as step:
        discovered = await nodes.discover_files(work, analysis.root, analysis.packages)
        step.set_result(discovered)
    parsed = await _parse_packages(analysis, work, list(discovered["packages"]))

    branches = await _gather(
        compact=_compact_index(work), write=_write_index(analysis, work), spell=_check_spelling(analysis, work, parsed)
    )

    with node("aggregate") as step:
        totals = await nodes.aggregate(work)
        step.set_result(totals)
    with node("find_import_cycles") as step:
        found = await nodes.find_import_cycles(work)
        step.set_result(found)
    findings = {
        "totals": totals["packages"],
        "most_complex": totals["most_complex"],
        "cycles": found["cycles"],
        "broken": parsed.broken,
        "suspicions": branches["spell"],
    }
    with node("render_report", input=findings) as step:
        step.set_result(await nodes.render_report(work, findings))
    return {"packages": len(parsed.packages), "broken": parsed.broken, "cycles": len(found["cycles"])}


async def _parse_packages(analysis: Analysis, work: Workspace, packages: list[str]) -> Parsed:
    """Parse packages side by side, each in an execution of its own; `fail_fast` cancels the rest at the first failure.

    Raises:
        SyntaxError, ValueError, RecursionError: under `fail_fast`, what the first broken file raised.

    """
    turns = asyncio.Semaphore(analysis.parallel)

    async def parse(package: str) -> list[str] | Exception:
        async with turns:
            try:
                return await _parse_package(analysis, work, package)
            except UNPARSABLE as error:
                if analysis.on_broken_file == "fail_fast":
                    raise
                return error

    with node("parse_packages", input={"packages": packages, "parallel": analysis.parallel}) as step:
        outcomes = await _gather(**{package: parse(package) for package in packages})
        failed = {package: error for package, error in outcomes.items() if isinstance(error, Exception)}
        skipped = [path for paths in outcomes.values() if isinstance(paths, list) for path in paths]
        for package in failed:
            _log.warning("going on without %s", package)
        step.set_result({"parsed": len(packages) - len(failed), "failed": sorted(failed), "skipped": skipped})
    return Parsed([name for name in packages if name not in failed], sorted([*failed, *skipped]))


async def _gather(**branches: Coroutine[Any, Any, Any]) -> dict[str, Any]:
    """Return what `branches` return; the first that raises cancels the others, and is raised once they have ended.

    A task group would raise an ExceptionGroup, in which nobody looks for the file that does not parse.
    """
    tasks = {name: asyncio.create_task(branch) for name, branch in branches.items()}
    try:
        await asyncio.gather(*tasks.values())
    except BaseException:
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())
        raise
    return {name: task.result() for name, task in tasks.items()}


async def _parse_package(analysis: Analysis, work: Workspace, package: str) -> list[str]:
    """Run the sub-workflow of one package; return the files that were skipped."""
    with execution(SUB_WORKFLOW, input={"package": package, "on_broken_file": analysis.on_broken_file}) as run:
        with node("read_sources", input={"package": package}) as step:
            step.set_result(await nodes.read_sources(work, package))
        with node("parse_modules", input={"package": package}) as step:
            parsed = await nodes.parse_modules(work, package, analysis.on_broken_file)
            step.set_result(parsed)
        with node("count_complexity") as step:
            complexity = await nodes.count_complexity(work, package)
            step.set_result(complexity)
        with node("store_definitions") as step:
            stored = await nodes.store_definitions(work, package)
            step.set_result(stored)
        run.set_result({"package": package, **parsed, **complexity, **stored})
        skipped: list[str] = parsed["skipped"]
        return skipped


async def _compact_index(work: Workspace) -> None:
    with node("compact_index") as step:
        step.set_result(await nodes.compact_index(work))


async def _write_index(analysis: Analysis, work: Workspace) -> None:
    """Try until the index is not locked, waiting twice as long each time.

    Raises:
        sqlite3.OperationalError: it was locked at every one of ATTEMPTS attempts.

    """
    wait_s = analysis.retry_after_s
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with node("write_index", input={"busy_timeout_s": analysis.busy_timeout_s}) as step:
                step.set_result(await nodes.write_index(work, analysis.busy_timeout_s))
        except sqlite3.OperationalError as error:
            if attempt == ATTEMPTS:
                raise
            _log.warning("attempt %d to write the index failed (%s), next in %.1f s", attempt, error, wait_s)
            await asyncio.sleep(wait_s)
            wait_s *= 2
        else:
            return


async def _check_spelling(analysis: Analysis, work: Workspace, parsed: Parsed) -> list[Any] | None:
    """Return the suspicions; None if the budget was spent first."""
    try:
        async with asyncio.timeout(analysis.spelling_budget_s):
            with node("check_spelling", input={"budget_s": analysis.spelling_budget_s}) as step:
                checked = await nodes.check_spelling(work, parsed.packages)
                step.set_result(checked)
    except TimeoutError:
        _log.warning("spelling not checked: its budget of %.1f s is spent", analysis.spelling_budget_s)
        return None
    suspicions: list[Any] = checked["suspicions"]
    return suspicions
