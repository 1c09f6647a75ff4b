"""Executions that callers make: create, read, list, change, count."""

from itertools import product
from typing import Any, get_args

import pytest

from spane_otel.clock import SECOND
from spane_otel.errors import ExecutionExistsError, InvalidTransitionError, InvalidValueError, UnknownExecutionError
from spane_otel.records import ExecutionStatus
from spane_otel.stores.cursors import encode_cursor
from spane_otel.stores.protocols import Store
from tests.conformance.pages import read_pages
from tests.conformance.subjects import Subject
from tests.rows import batch, log, ns, root

STATUSES: tuple[ExecutionStatus, ...] = get_args(ExecutionStatus)
ALLOWED = {("running", "paused"), ("paused", "running")} | {
    (before, after) for before in ("running", "paused") for after in ("completed", "failed", "cancelled")
}


async def test_a_new_execution_reads_as_it_was_created(subject: Subject) -> None:
    before_ns = subject.now_ns()
    execution_id = await subject.store.create_execution(
        "order", initial_data={"items": [1, 2.5, None]}, metadata={"by": "cron"}
    )
    execution = await subject.store.get_execution(execution_id)
    assert execution is not None
    assert execution.execution_id == execution_id
    assert execution.workflow_id == "order"
    assert execution.origin == "api"
    assert execution.status == "running"
    assert before_ns - SECOND <= execution.started_ns <= subject.now_ns() + SECOND
    assert execution.ended_ns is None
    assert execution.initial_data == {"items": [1, 2.5, None]}
    assert execution.metadata == {"by": "cron"}
    assert (execution.result, execution.error, execution.trace_ids) == (None, None, ())
    assert execution.abandoned_since_ns is None


async def test_without_an_id_each_call_makes_another_execution(store: Store) -> None:
    made = [await store.create_execution("order") for _ in range(3)]
    assert len(set(made)) == 3
    assert all(len(each) == 36 and each[14] == "7" for each in made)
    assert await store.get_execution_count() == 3


async def test_an_unknown_execution_reads_as_none_whatever_its_id(store: Store) -> None:
    for unknown in ("nobody", "", "a\0b", "\ud800", "x" * 10_000):
        assert await store.get_execution(unknown) is None
        assert await store.get_trace(unknown) is None
        assert await store.get_logs(unknown) == []
        assert await store.count_telemetry([unknown]) == {}
        assert await store.list_executions(unknown) == []
        assert await store.get_execution_count(unknown) == 0


async def test_filters_that_no_row_can_meet_find_nothing(store: Store) -> None:
    await store.write(batch(root("e", trace="t"), log("a", trace="t")))
    for text in ("a\0b", "\ud800"):
        assert await store.list_traces(service=text) == []
        assert await store.list_traces(name=text) == []
        assert await store.list_logs(text=text) == []
        assert await store.get_logs("e", node_id=text) == []
        assert await store.get_logs("e", text=text) == []
    for time_ns in (2**63, 2**80):
        assert await store.list_executions(since=time_ns) == []
        assert await store.list_traces(since=time_ns) == []
        assert await store.list_logs(since=time_ns) == []
        assert await store.list_executions(until=-time_ns) == []
        assert len(await store.list_traces(until=time_ns, since=-time_ns)) == 1


async def test_any_text_of_up_to_256_characters_is_an_execution_id(store: Store) -> None:
    ids = ["a/b", "..", ".", "%", "ü €😀", " ", "x" * 256, "😀" * 256, "'; DROP TABLE", "a\nb", "E", "e"]
    for execution_id in ids:
        assert await store.create_execution("order", execution_id=execution_id) == execution_id
        execution = await store.get_execution(execution_id)
        assert execution is not None, execution_id
        assert execution.execution_id == execution_id
    assert {each.execution_id for each in await store.list_executions()} == set(ids)


async def test_an_id_that_cannot_be_stored_is_refused_and_makes_nothing(store: Store) -> None:
    for execution_id in ("", "x" * 257, "a\0b", "\ud800"):
        with pytest.raises(InvalidValueError):
            await store.create_execution("order", execution_id=execution_id)
        if execution_id:
            with pytest.raises(InvalidValueError):
                await store.create_execution("order", execution_id)
    assert await store.get_execution_count() == 0


async def test_arguments_of_the_wrong_kind_are_refused_alike_and_make_nothing(store: Store) -> None:
    wrong: list[dict[str, Any]] = [
        *({"workflow_id": bad} for bad in (None, "", 5, "x" * 257)),
        *({"execution_id": bad} for bad in (5, b"id")),
        *({"parent_execution_id": "parent", "depth": bad} for bad in (-1, 2**31, 2**40, "1", 1.0, True)),
        *({"metadata": bad} for bad in ([1], "text", 5)),
    ]
    for arguments in wrong:
        with pytest.raises(InvalidValueError):
            await store.create_execution(**{"workflow_id": "order", **arguments})
    assert await store.get_execution_count() == 0


async def test_payloads_are_opaque_and_come_back_as_they_were(store: Store) -> None:
    payloads: list[Any] = [
        *(None, False, 0, "", [], {}, 2**64 + 1, -(2**63), 0.1, -0.0, "a\0b \ud800 ü", "x" * 100_000),
        *({"": {"a": [[[]]]}}, {"doubleValue": "NaN"}, [True, 1, 1.5, None]),
    ]
    for payload in payloads:
        execution_id = await store.create_execution("order", initial_data=payload, metadata={"payload": payload})
        execution = await store.get_execution(execution_id)
        assert execution is not None
        assert repr(execution.initial_data) == repr(payload)
        assert execution.metadata == {"payload": payload}


async def test_a_payload_that_is_not_json_is_refused_and_makes_nothing(store: Store) -> None:
    payloads: list[Any] = [float("nan"), [float("inf")], b"bytes", object(), {1, 2}]
    for payload in payloads:
        with pytest.raises(InvalidValueError):
            await store.create_execution("order", initial_data=payload)
        with pytest.raises(InvalidValueError):
            await store.create_execution("order", metadata={"payload": payload})
    assert await store.get_execution_count() == 0


async def test_what_a_reader_or_a_writer_holds_is_its_own(store: Store) -> None:
    given = {"list": [1]}
    metadata = {"tags": ["a"]}
    execution_id = await store.create_execution("order", initial_data=given, metadata=metadata)
    given["list"].append(2)
    metadata["tags"].append("b")
    read = await store.get_execution(execution_id)
    assert read is not None
    read.initial_data["list"].append(3)
    read.metadata["tags"].append("c")
    again = await store.get_execution(execution_id)
    assert again is not None
    assert (again.initial_data, again.metadata) == ({"list": [1]}, {"tags": ["a"]})


async def test_a_top_execution_is_its_own_root_and_a_childs_root_is_the_same(store: Store) -> None:
    top = await store.create_execution("order", execution_id="top")
    child = await store.create_execution("pay", top, execution_id="child")
    grandchild = await store.create_execution("mail", child, execution_id="grandchild")
    family = [await store.get_execution(each) for each in (top, child, grandchild)]
    assert [(each.parent_execution_id, each.root_execution_id, each.depth) for each in family if each] == [
        (None, "top", 0),
        ("top", "top", 1),
        ("child", "top", 2),
    ]


async def test_a_child_may_be_made_before_its_parent(store: Store) -> None:
    for depth, root_id in ((0, "gone"), (1, "gone"), (2, None)):
        child_id = await store.create_execution("pay", "gone", depth)
        child = await store.get_execution(child_id)
        assert child is not None
        assert (child.parent_execution_id, child.root_execution_id, child.depth) == ("gone", root_id, depth or 1)


async def test_creating_the_same_again_changes_nothing(store: Store) -> None:
    for _ in range(2):
        await store.create_execution("order", "p", 1, {"a": 1, "b": 2}, execution_id="e", metadata={"k": "v"})
        await store.set_execution_status("e", "paused")
    first = await store.get_execution("e")
    await store.create_execution("order", "p", 1, {"b": 2, "a": 1}, execution_id="e", metadata={"k": "v"})
    assert await store.get_execution("e") == first
    assert await store.get_execution_count() == 1


async def test_creating_other_content_under_the_same_id_raises_and_changes_nothing(store: Store) -> None:
    content: dict[str, Any] = {"workflow_id": "order", "initial_data": {"a": 1}, "metadata": {"k": "v"}}
    await store.create_execution(execution_id="e", **content)
    first = await store.get_execution("e")
    others: list[dict[str, Any]] = [
        {"workflow_id": "other"},
        {"parent_execution_id": "p"},
        {"initial_data": {"a": 2}},
        {"initial_data": None},
        {"metadata": {"k": "w"}},
        {"metadata": None},
    ]
    for other in others:
        with pytest.raises(ExecutionExistsError):
            await store.create_execution(execution_id="e", **{**content, **other})
        assert await store.get_execution("e") == first, other


@pytest.mark.first_answers
async def test_a_status_changes_only_as_allowed(store: Store) -> None:
    for before, after in product(STATUSES, STATUSES):
        execution_id = f"{before} to {after}"
        await store.create_execution("order", execution_id=execution_id)
        if before != "running":
            assert await store.set_execution_status(execution_id, before) is True
        if before == after:
            assert await store.set_execution_status(execution_id, after) is False
        elif (before, after) in ALLOWED:
            assert await store.set_execution_status(execution_id, after) is True, execution_id
        else:
            with pytest.raises(InvalidTransitionError):
                await store.set_execution_status(execution_id, after)
        execution = await store.get_execution(execution_id)
        assert execution is not None
        assert execution.status == (after if (before, after) in ALLOWED else before), execution_id


async def test_a_final_status_ends_the_execution_now(subject: Subject) -> None:
    store = subject.store
    finals: tuple[ExecutionStatus, ...] = ("completed", "failed", "cancelled")
    for status in finals:
        await store.create_execution("order", execution_id=status)
        await store.set_execution_status(status, "paused")
        paused = await store.get_execution(status)
        assert paused is not None
        assert paused.ended_ns is None
        await subject.wait(0.01)
        await store.set_execution_status(status, status, error="no stock")
        ended = await store.get_execution(status)
        assert ended is not None
        assert ended.ended_ns is not None
        assert ended.started_ns < ended.ended_ns <= subject.now_ns() + SECOND
        assert (ended.status, ended.error) == (status, "no stock")
        await subject.wait(0.01)
        await store.set_execution_status(status, status, error="again")
        assert await store.get_execution(status) == ended


async def test_an_error_that_no_column_holds_is_repaired_rather_than_lost(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    await store.set_execution_status("e", "failed", error="bad byte \0 and half a pair \ud800")
    execution = await store.get_execution("e")
    assert execution is not None
    assert (execution.status, execution.error) == ("failed", "bad byte \ufffd and half a pair \ufffd")


async def test_the_status_of_an_unknown_execution_raises(store: Store) -> None:
    with pytest.raises(UnknownExecutionError):
        await store.set_execution_status("nobody", "completed")


async def test_executions_are_listed_newest_first_each_once_over_all_pages(store: Store) -> None:
    """Ten of them start at the same nanosecond: then the id decides, in the order of code points."""
    ids = ["B", "a", "b", "é", "😀", "Z", "10", "9", "_", "a b"]
    await store.write(
        batch(*(root(each, start=5, name="same") for each in ids), root("new", start=6), root("old", start=4))
    )
    expected = ["new", *sorted(ids, reverse=True), "old"]
    assert [each.execution_id for each in await store.list_executions()] == expected
    for limit in (1, 3, 4, 12):
        read = await read_pages(store.list_executions, limit)
        assert [each.execution_id for each in read] == expected


async def test_a_page_is_not_disturbed_by_what_starts_meanwhile(store: Store) -> None:
    await store.write(batch(*(root(f"e{number}", start=number) for number in range(6))))
    first = await store.list_executions(limit=3)
    await store.write(batch(root("newer", start=50)))
    second = await store.list_executions(limit=3, cursor=first.next)
    assert [each.execution_id for each in (*first, *second)] == ["e5", "e4", "e3", "e2", "e1", "e0"]
    assert second.next is None


async def test_a_list_can_leave_out_the_first(store: Store) -> None:
    await store.write(batch(*(root(f"e{number}", start=number) for number in range(5))))
    assert [each.execution_id for each in await store.list_executions(limit=2, offset=1)] == ["e3", "e2"]
    assert await store.list_executions(offset=5) == []
    with pytest.raises(InvalidValueError):
        await store.list_executions(offset=-1)


async def test_a_list_is_filtered_by_workflow_status_and_start(store: Store) -> None:
    await store.write(
        batch(
            root("a", start=1, workflow="order"),
            root("b", start=2, workflow="order", status=2),
            root("c", start=3, workflow="pay"),
            root("d", start=4, workflow="order", end=None),
        )
    )

    async def ids(**filters: Any) -> list[str]:
        return [each.execution_id for each in await store.list_executions(**filters)]

    assert await ids(workflow_id="order") == ["d", "b", "a"]
    assert await ids(status="failed") == ["b"]
    assert await ids(status="running") == ["d"]
    assert await ids(status="completed", workflow_id="order") == ["a"]
    assert await ids(since=ns(2)) == ["d", "c", "b"]
    assert await ids(until=ns(3)) == ["b", "a"]
    assert await ids(since=ns(2), until=ns(3)) == ["b"]
    assert await store.get_execution_count() == 4
    assert await store.get_execution_count("order") == 3
    page = await store.list_executions("order", limit=2)
    assert await ids(workflow_id="order", cursor=page.next) == ["a"]


async def test_a_list_by_a_status_that_does_not_exist_is_refused(store: Store) -> None:
    """An empty page would look like an answer."""
    misspelt: list[Any] = ["complete", "", "\0"]
    for status in misspelt:
        with pytest.raises(InvalidValueError):
            await store.list_executions(status=status)


async def test_a_limit_outside_1_to_1000_is_refused(store: Store) -> None:
    for limit in (0, -1, 1_001):
        for call in (
            store.list_executions(limit=limit),
            store.list_traces(limit=limit),
            store.list_logs(limit=limit),
            store.get_logs("e", limit=limit),
        ):
            with pytest.raises(InvalidValueError):
                await call


async def test_a_cursor_that_is_not_ours_is_refused(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    forged = (encode_cursor("a", 1), encode_cursor(2**63, "a"), encode_cursor(1))
    for cursor in ("", "x", "!!", "bnVsbA", "é", "A" * 10_000, *forged):
        for call in (
            store.list_executions(cursor=cursor),
            store.list_traces(cursor=cursor),
            store.list_logs(cursor=cursor),
            store.get_logs("e", cursor=cursor),
        ):
            with pytest.raises(InvalidValueError) as refused:
                await call
            assert refused.value.reason == "cursor"
