"""The workflows of the demo as definitions: `analyse_stdlib` in two versions, and `parse_package`, which it nests.

    discover_files → parse_package_1 … 8 → collect_packages → compact_index  ┐
                     (each a sub-workflow,                    write_index    ├→ aggregate ─┐
                      as many as packages)                    check_spelling ┘             │
                                                  ┌────────────────────────────────────────┘
                                                  ├→ find_import_cycles            ┐
                                                  └→ find_duplicates (2nd version) ┴→ render_report

`write_index` meets the lock that `compact_index` holds and is tried again; `check_spelling` is cancelled when its
budget is spent, which costs the report one section and nothing else.
"""

from typing import Any, Final

WORKFLOW: Final = "analyse_stdlib"
SUB_WORKFLOW: Final = "parse_package"
PLACES: Final = 8
"""Packages that one execution has room for."""
ATTEMPTS: Final = 6
"""Of `write_index`, before the execution fails."""
FIRST_NOTES: Final = "The standard library, package by package"
SECOND_NOTES: Final = "Look for files with the same content"

_GIVEN: Final = ("folder", "cpu_share", "on_broken_file")
"""What a package's execution is given as its parent was."""


def package_node(place: int) -> str:
    """Return the id of the node that parses the package at `place`, from 1."""
    return f"parse_package_{place}"


def parse_package() -> dict[str, Any]:
    """Return the definition of the workflow that parses one package."""
    return {
        "id": SUB_WORKFLOW,
        "name": "Parse a package",
        "entryNodeId": "read_sources",
        "maxConcurrency": 6,
        "nodes": [
            _node("read_sources", []),
            _node("parse_modules", ["read_sources"]),
            _node("count_complexity", ["parse_modules"]),
            _node("store_definitions", ["count_complexity"]),
        ],
    }


def analyse_stdlib(*, retry_after_ms: int = 1_000, with_duplicates: bool = False) -> dict[str, Any]:
    """Return the definition of the workflow; `with_duplicates` is its second version.

    `retry_after_ms` is waited before the second attempt to write the index, and twice as long before each further one.
    """
    packages = [_package(place) for place in range(1, PLACES + 1)]
    backoff = {"type": "exponential", "delay": retry_after_ms}
    findings = ["find_import_cycles", *(["find_duplicates"] if with_duplicates else [])]
    branches = ["compact_index", "write_index", "check_spelling"]
    return {
        "id": WORKFLOW,
        "name": "Analyse the standard library",
        "entryNodeId": "discover_files",
        "nodes": [
            _node("discover_files", []),
            *packages,
            _node("collect_packages", [each["id"] for each in packages]),
            _node("compact_index", ["collect_packages"]),
            _node("write_index", ["collect_packages"], retryPolicy={"maxAttempts": ATTEMPTS, "backoff": backoff}),
            _node("check_spelling", ["collect_packages"], continueOnFail=True),
            _node("aggregate", branches),
            *(_node(each, ["aggregate"]) for each in findings),
            _node("render_report", findings),
        ],
    }


def _package(place: int) -> dict[str, Any]:
    """Return the node that runs the sub-workflow of a package, whose failure costs that package alone."""
    mapping = {"package": f"package_{place}", **{name: name for name in _GIVEN}}
    config = {"workflowId": SUB_WORKFLOW, "inputMapping": mapping, "continueOnFail": True}
    return {"id": package_node(place), "type": "sub-workflow", "config": config, "inputs": ["discover_files"]}


def _node(name: str, inputs: list[str], **config: Any) -> dict[str, Any]:
    """Return a node of a type of its own; what fails is not tried again unless its config says so."""
    return {"id": name, "type": name, "config": {"retryPolicy": {"maxAttempts": 1}, **config}, "inputs": inputs}
