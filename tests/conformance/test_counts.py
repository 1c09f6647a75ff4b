"""An execution's numbers."""

from spane_otel.records import TRACE_SPAN_LIMIT, Counts
from spane_otel.stores.protocols import Store
from tests.rows import batch, log, root, span


async def test_an_execution_counts_its_whole_trace_and_its_own_logs(store: Store) -> None:
    await store.write(
        batch(
            root("e", trace="t", status=2),
            span("a", parent="root of e", status=2),
            span("b", parent="root of e", status=1),
            span("c", trace="u", execution="e", node="n"),
            *(log(f"{each}", trace="t", severity=each) for each in (0, 9, 12, 13, 16, 17)),
            log("warning without a trace", execution="e", severity=14),
            log("another trace's", trace="x", severity=13),
        )
    )
    assert await store.count_telemetry(["e"]) == {
        "e": Counts(spans=4, errors=2, logs=7, warnings=3, nodes_done=1, nodes_total=None, truncated=False)
    }


async def test_a_node_is_done_when_all_its_spans_have_ended(store: Store) -> None:
    await store.write(
        batch(
            root("e", trace="t", end=None),
            span("done", execution="e", node="done"),
            span("done again", execution="e", node="done"),
            span("first attempt", execution="e", node="retried", status=2),
            span("second attempt", execution="e", node="retried", end=None),
            span("open", execution="e", node="open", end=None),
            span("inside", execution_id="e", node_id="inherited"),
            span("no node"),
        )
    )
    assert (await store.count_telemetry(["e"]))["e"].nodes_done == 2
    await store.write(batch(span("second attempt", execution="e", node="retried")))
    assert (await store.count_telemetry(["e"]))["e"].nodes_done == 3


async def test_of_a_shared_trace_the_rows_that_carry_its_id_count(store: Store) -> None:
    await store.write(
        batch(
            span("request"),
            root("outer", trace="t", parent="request", status=2),
            span("step", parent="root of outer"),
            root("inner", trace="t", parent="step"),
            span("inner step", parent="root of inner", status=2),
            log("at the step", trace="t", at_span="step", severity=13),
            log("at the request", trace="t", at_span="request"),
            inherited=True,
        )
    )
    assert await store.count_telemetry(["outer", "inner"]) == {
        "outer": Counts(spans=2, errors=1, logs=1, warnings=1),
        "inner": Counts(spans=2, errors=1),
    }


async def test_a_span_that_was_upgraded_or_delivered_again_counts_once(store: Store) -> None:
    for _ in range(2):
        await store.write(batch(root("e", trace="t", end=None), log("a", trace="t")))
        await store.write(batch(root("e", trace="t"), log("a", trace="t")))
    assert await store.count_telemetry(["e"]) == {"e": Counts(spans=1, logs=1)}


async def test_each_known_execution_of_a_page_is_counted(store: Store) -> None:
    await store.create_execution("order", execution_id="empty")
    await store.write(batch(*(root(f"e{number}") for number in range(3))))
    counts = await store.count_telemetry(["e0", "nobody", "empty", "e2", "e0"])
    assert counts == {"e0": Counts(spans=1), "empty": Counts(), "e2": Counts(spans=1)}
    assert await store.count_telemetry([]) == {}


async def test_logs_are_counted_up_to_10000_of_a_trace(store: Store) -> None:
    rows = [log(f"{number}", trace="t", seq=number) for number in range(TRACE_SPAN_LIMIT)]
    await store.write(batch(root("e", trace="t"), *rows))
    assert await store.count_telemetry(["e"]) == {"e": Counts(spans=1, logs=TRACE_SPAN_LIMIT)}
    await store.write(batch(log("one more", trace="t")))
    assert await store.count_telemetry(["e"]) == {"e": Counts(spans=1, logs=TRACE_SPAN_LIMIT, truncated=True)}
