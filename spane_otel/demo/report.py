"""The report of an analysis, as Markdown."""

from collections.abc import Sequence

from msgspec import Struct

from spane_otel.demo.index import Complexity, PackageTotals
from spane_otel.demo.spelling import Suspicion


class Findings(Struct, frozen=True, kw_only=True):
    """What an analysis found out."""

    totals: Sequence[PackageTotals]
    most_complex: Sequence[Complexity]
    cycles: Sequence[Sequence[str]]
    """Groups of modules that import each other."""
    duplicates: Sequence[Sequence[str]] | None = None
    """Groups of modules with the same content; None: nobody looked."""
    broken: Sequence[str]
    """What did not parse: files that were skipped, and packages that were given up."""
    suspicions: Sequence[Suspicion] | None
    """Possible misspellings; None: the check ran out of its time."""


def render_report(findings: Findings) -> str:
    """Return the report."""
    lines = ["# Standard library", ""]
    lines += _table(
        ("package", "modules", "lines", "definitions", "worst complexity"),
        [(t.package, t.modules, t.lines, t.definitions, t.worst) for t in findings.totals],
    )
    lines += ["## Most complex", ""]
    lines += _table(("function", "complexity"), [(f"{c.module}.{c.name}", c.complexity) for c in findings.most_complex])
    lines += ["## Import cycles", ""]
    lines += [f"- {' → '.join([*cycle, cycle[0]])}" for cycle in findings.cycles] or ["None."]
    if findings.duplicates is not None:
        lines += ["", "## Same content", ""]
        lines += [f"- {' = '.join(group)}" for group in findings.duplicates] or ["None."]
    lines += ["", "## Not parsed", ""]
    lines += [f"- {name}" for name in findings.broken] or ["Everything parsed."]
    lines += ["", "## Spelling", "", *_spelling(findings.suspicions)]
    return "\n".join(lines) + "\n"


def _spelling(suspicions: Sequence[Suspicion] | None) -> list[str]:
    if suspicions is None:
        return ["Not finished within its budget."]
    return [f"- {each.word}: {each.meant}? ({each.likeness})" for each in suspicions] or ["Nothing suspicious."]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [_row(head), _row(["---"] * len(head))]
    return [*lines, *(_row([str(cell) for cell in row]) for row in rows), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
