"""Words that may be misspelled."""

from spane_otel.demo.spelling import COMMON_FROM, Suspicion, find_suspicions

COMMON = {"received": COMMON_FROM, "separate": COMMON_FROM + 5, "connection": 40}


def test_a_rare_word_close_to_a_common_one_is_suspect() -> None:
    found = list(find_suspicions({**COMMON, "recieved": 1, "banana": 1}))
    assert found == [None, Suspicion("recieved", "received", 0.875)]


def test_a_word_seen_twice_is_not_looked_at() -> None:
    assert list(find_suspicions({**COMMON, "seperate": 2})) == []


def test_an_inflected_form_is_not_suspect() -> None:
    assert list(find_suspicions({**COMMON, "connections": 1, "separated": 1})) == [None, None]
