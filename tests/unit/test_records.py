"""Pages, levels and the small promises of records."""

import pytest

from spane_otel.jsontext import JsonMap
from spane_otel.records import (
    HEARTBEAT_SECONDS,
    STALE_AFTER_SECONDS,
    Execution,
    Log,
    LogPage,
    Page,
    Resource,
    least_severity,
    level_of,
)

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


def test_a_page_is_a_sequence_that_knows_what_follows() -> None:
    page = Page([3, 1, 2], next="cursor")
    assert list(page) == [3, 1, 2]
    assert (len(page), page[0], page[-1], page[1:], 1 in page, page.index(2)) == (3, 3, 2, [1, 2], True, 2)
    assert page.next == "cursor"
    assert Page([]).next is None
    assert not Page([])
    with pytest.raises(IndexError):
        page[3]


def test_a_page_equals_its_items_and_another_page_only_with_the_same_next() -> None:
    assert Page([1]) == [1]
    assert Page([1], next="a") == Page([1], next="a")
    assert Page([1], next="a") != Page([1], next="b")
    assert Page([1]) != (1,)
    with pytest.raises(TypeError):
        hash(Page([1]))


def test_a_page_does_not_share_the_list_that_it_was_made_from() -> None:
    items = [1]
    page = Page(items)
    items.append(2)
    assert page == [1]


def test_a_page_of_logs_carries_resources_and_scopes() -> None:
    page = LogPage([Log(log_id="1")], "next", [Resource(JsonMap())])
    assert (page[0].log_id, page.next, len(page.resources), page.scopes) == ("1", "next", 1, [])


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_four_severities_and_begins_at_its_least(level: str) -> None:
    least = least_severity(level)
    assert [level_of(severity) for severity in range(least, least + 4)] == [level] * 4
    assert level_of(least - 1) != level


@pytest.mark.parametrize("severity", [-1, 0, 25, 2**15])
def test_a_severity_outside_1_to_24_has_no_level(severity: int) -> None:
    assert level_of(severity) == "unspecified"


@pytest.mark.parametrize("level", ["", "WARN", "warning", "unspecified"])
def test_an_unknown_level_is_an_error(level: str) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        least_severity(level)


def test_a_logs_message_is_its_text_or_its_json() -> None:
    assert Log(log_id="1", body="text", body_text='"text"').message == "text"
    assert Log(log_id="1", body={"a": 1}, body_text='{"a": 1}').message == '{"a": 1}'
    assert Log(log_id="1").message == "null"


def test_records_do_not_share_what_can_change() -> None:
    one, other = Execution(execution_id="a"), Execution(execution_id="b")
    one.metadata["k"] = "v"
    assert other.metadata == {}


def test_a_process_may_miss_two_heartbeats() -> None:
    assert STALE_AFTER_SECONDS >= 3 * HEARTBEAT_SECONDS
