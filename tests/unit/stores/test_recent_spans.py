"""What a process remembers of the spans that it wrote last stays bounded, and is forgotten with its execution."""

from spane_otel.stores.postgres.recent import RecentSpans
from tests.rows import span


def test_the_oldest_make_room() -> None:
    recent = RecentSpans(most=2)
    rows = {name: span(name) for name in "abc"}
    recent.put((("e", name), row) for name, row in rows.items())
    assert [recent.get(("e", name)) for name in "abc"] == [None, rows["b"], rows["c"]]


def test_large_rows_make_room_by_their_bytes() -> None:
    recent = RecentSpans(most_bytes=10_000)
    recent.put([(("e", "a"), span("a")), (("e", "b"), span("b", attributes='{"k":"' + "x" * 9_500 + '"}'))])
    assert recent.get(("e", "a")) is None
    recent.put([(("e", "c"), span("c"))])
    assert recent.get(("e", "c")) is not None


def test_a_newer_version_replaces_the_older_one() -> None:
    recent = RecentSpans(most=1)
    recent.put([(("e", "a"), span("a")), (("e", "a"), span("a", revision=1))])
    row = recent.get(("e", "a"))
    assert row is not None
    assert row.revision == 1


def test_a_deleted_execution_is_forgotten_and_no_other() -> None:
    recent = RecentSpans()
    recent.put([(("e", "a"), span("a")), (("f", "a"), span("a"))])
    recent.forget_execution("e")
    assert recent.get(("e", "a")) is None
    assert recent.get(("f", "a")) is not None
