"""Counters that add up."""

import threading

from spane_otel.counters import Counters


def test_counts_are_kept_by_signal_fate_and_reason() -> None:
    counters = Counters()
    counters.add("spans", "accepted", 10)
    counters.add("spans", "rejected", 2, "invalid_value")
    counters.add("spans", "rejected", 1, "start_out_of_window")
    counters.add("logs", "accepted", 5)
    assert counters.get("spans", "rejected") == 3
    assert counters.get("spans", "rejected", "invalid_value") == 2
    assert counters.get("spans", "rejected", "other") == 0
    assert counters.get("logs", "rejected") == 0
    assert list(counters) == [
        ("logs", "accepted", "", 5),
        ("spans", "accepted", "", 10),
        ("spans", "rejected", "invalid_value", 2),
        ("spans", "rejected", "start_out_of_window", 1),
    ]


def test_buffered_is_what_was_accepted_and_has_met_no_fate() -> None:
    counters = Counters()
    counters.add("spans", "accepted", 10)
    assert counters.buffered("spans") == 10
    counters.add("spans", "stored", 6)
    counters.add("spans", "duplicates", 4)
    counters.add("spans", "repaired", 3)
    counters.add("spans", "rejected", 1, "invalid_value")
    counters.add("spans", "dropped", 2, "queue_full")
    assert counters.buffered("spans") == 1
    assert counters.buffered("logs") == 0


def test_nothing_counted_leaves_no_trace() -> None:
    counters = Counters()
    counters.add("spans", "dropped", 0, "queue_full")
    assert list(counters) == []


def test_threads_lose_no_count() -> None:
    counters = Counters()

    def count() -> None:
        for _ in range(2_000):
            counters.add("spans", "accepted", 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.get("spans", "accepted") == 8_000
