"""Deleting an execution takes all that is its own, and nothing of others."""

import pytest

from spane_otel.stores.protocols import Store
from tests.rows import batch, log, root, span, trace_id


@pytest.mark.first_answers
async def test_deleting_answers_whether_it_was_there(store: Store) -> None:
    await store.create_execution("order", execution_id="e")
    assert await store.delete_execution("e") is True
    assert await store.delete_execution("e") is False
    assert await store.get_execution("e") is None


async def test_its_traces_and_logs_go_with_it_and_others_stay(store: Store) -> None:
    await store.write(
        batch(
            root("e", trace="t"),
            span("child", trace="t", parent="root of e"),
            span("n", trace="u", execution="e", node="n"),
            log("in its trace", trace="t"),
            log("without a trace", execution="e"),
            root("other", trace="x"),
            log("another's", trace="x"),
            log("another's without a trace", execution="other"),
            log("nobody's"),
        )
    )
    await store.delete_execution("e")
    assert await store.get_trace_by_id(trace_id("t").hex()) is None
    assert await store.get_trace_by_id(trace_id("u").hex()) is None
    assert await store.get_trace("e") is None
    assert await store.get_logs("e") == []
    assert sorted(each.message for each in await store.list_logs()) == [
        "another's",
        "another's without a trace",
        "nobody's",
    ]
    assert [each.name for each in await store.list_traces()] == ["root of other"]
    stats = await store.stats()
    assert (stats.executions, stats.spans, stats.logs) == (1, 1, 3)


async def test_of_a_shared_trace_what_is_stamped_with_it_goes(store: Store) -> None:
    await store.write(
        batch(
            span("request"),
            root("outer", trace="t", name="outer", parent="request", start=1),
            root("inner", trace="t", name="inner", parent="outer", start=2),
            span("inner step", parent="inner", start=3),
            log("outer's", trace="t", execution="outer"),
            log("inner's", trace="t", execution="inner"),
            inherited=True,
        )
    )
    await store.delete_execution("inner")
    trace = await store.get_trace_by_id(trace_id("t").hex())
    assert trace is not None
    assert [each.name for each in trace.spans] == ["request", "outer"]
    assert [each.message for each in await store.get_logs("outer")] == ["outer's"]
    counts = await store.count_telemetry(["outer"])
    assert counts["outer"].spans == 2
    await store.delete_execution("outer")
    assert await store.get_trace_by_id(trace_id("t").hex()) is None


async def test_a_deleted_execution_can_be_made_again(store: Store) -> None:
    await store.create_execution("order", execution_id="e", initial_data=1)
    await store.set_execution_status("e", "failed", error="no")
    await store.delete_execution("e")
    await store.create_execution("other", execution_id="e", initial_data=2)
    again = await store.get_execution("e")
    assert again is not None
    assert (again.workflow_id, again.initial_data, again.status, again.error) == ("other", 2, "running", None)
    await store.delete_execution("e")
    await store.write(batch(root("e", trace="t")))
    derived = await store.get_execution("e")
    assert derived is not None
    assert (derived.workflow_id, derived.origin, derived.trace_ids) == ("order", "spans", (trace_id("t").hex(),))
    trace = await store.get_trace("e")
    assert trace is not None
    assert len(trace.spans) == 1
