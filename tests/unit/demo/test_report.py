"""The report."""

from spane_otel.demo.index import Complexity, PackageTotals
from spane_otel.demo.report import Findings, render_report
from spane_otel.demo.spelling import Suspicion


def test_a_report_has_every_section_filled() -> None:
    text = render_report(
        Findings(
            totals=[PackageTotals("json", 5, 900, 40, 17)],
            most_complex=[Complexity("json.scanner", "scan", 17)],
            cycles=[["a", "b"]],
            duplicates=[["a.x", "b.x"]],
            broken=["test.tokenizedata"],
            suspicions=[Suspicion("recieved", "received", 0.88)],
        )
    )
    assert "| json | 5 | 900 | 40 | 17 |" in text
    assert "| json.scanner.scan | 17 |" in text
    assert "- a → b → a" in text
    assert "- a.x = b.x" in text
    assert "- test.tokenizedata" in text
    assert "- recieved: received? (0.88)" in text


def test_an_unfinished_spelling_check_is_told_from_a_clean_one() -> None:
    empty = Findings(totals=[], most_complex=[], cycles=[], broken=[], suspicions=[])
    assert "Nothing suspicious." in render_report(empty)
    unfinished = Findings(totals=[], most_complex=[], cycles=[], broken=[], suspicions=None)
    assert "Not finished within its budget." in render_report(unfinished)
