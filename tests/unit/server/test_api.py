"""The shapes of the API are those of names.md, and every value passes through exactly."""

import json
from typing import Any

import httpx
import pytest

from spane_otel.identity import resource_row, scope_row
from spane_otel.ids import span_id_to_hex
from spane_otel.records import Stamp
from tests.rows import batch, log, ns, root, span, span_id, trace_id
from tests.unit.server.conftest import FailingStore

EXECUTION_ITEM = {
    "execution_id", "workflow_id", "workflow_version", "version_label", "external_id", "origin", "status", "started_ns",
    "ended_ns", "parent_execution_id", "root_execution_id", "depth", "error", "trace_ids", "abandoned_since_ns",
    "timeout_ns", "counts",
}  # fmt: skip
COUNTS = {"spans", "errors", "logs", "warnings", "nodes_done", "nodes_total", "truncated"}
SPAN = {
    "trace_id", "span_id", "id", "parent_span_id", "name", "kind", "start_ns", "end_ns", "status", "status_message",
    "state", "trace_state", "flags", "attributes", "dropped_attributes_count", "events", "dropped_events_count",
    "links", "dropped_links_count", "resource", "scope", "execution_id", "node_id",
}  # fmt: skip
TRACE_ITEM = {
    "trace_id", "root_span_id", "name", "service", "kind", "status", "status_message", "state", "start_ns", "end_ns",
    "execution_ids", "counts",
}  # fmt: skip
LOG = {
    "log_id", "id", "time_ns", "observed_ns", "severity", "severity_text", "level", "body", "attributes", "event_name",
    "trace_id", "span_id", "flags", "dropped_attributes_count", "execution_id", "node_id", "resource", "scope",
}  # fmt: skip
RESOURCE = {"attributes", "schema_url", "dropped_attributes_count"}
SCOPE = {"name", "version", "attributes", "schema_url", "dropped_attributes_count"}

ADDITIONS = {"last_seen_ns", "time_source"}
"""What the API says beyond names.md."""


async def load(api: httpx.AsyncClient, path: str, **parameters: str) -> Any:
    answer = await api.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return json.loads(answer.content)


async def test_an_execution_has_every_field_of_its_shape(api: httpx.AsyncClient, store: FailingStore) -> None:
    stamp = Stamp(
        workflow_id="order", workflow_version=3, version_label="v3", input='{"n":9007199254740993}', output="[1]"
    )
    await store.write(
        batch(
            root("e", name="r", stamp=stamp, status=2, status_message="card declined"),
            span("pay", trace="e", parent="r", execution="e", node="pay"),
            log("careful", trace="e", execution="e", severity=13),
        )
    )
    document = await load(api, "/api/v1/executions/e")
    assert set(document) == EXECUTION_ITEM | {"initial_data", "result", "metadata"}
    assert document == {
        "execution_id": "e",
        "workflow_id": "order",
        "workflow_version": 3,
        "version_label": "v3",
        "external_id": None,
        "origin": "spans",
        "status": "failed",
        "started_ns": str(ns(0)),
        "ended_ns": str(ns(1)),
        "parent_execution_id": None,
        "root_execution_id": "e",
        "depth": 0,
        "initial_data": {"n": 9_007_199_254_740_993},
        "result": [1],
        "error": "card declined",
        "metadata": {},
        "trace_ids": [trace_id("e").hex()],
        "abandoned_since_ns": None,
        "timeout_ns": None,
        "counts": {
            "spans": 2,
            "errors": 1,
            "logs": 1,
            "warnings": 1,
            "nodes_done": 1,
            "nodes_total": None,
            "truncated": False,
        },
    }


async def test_an_execution_says_when_its_time_is_up_and_how_many_nodes_are_done(
    api: httpx.AsyncClient, store: FailingStore
) -> None:
    await store.save_workflow({"id": "w", "nodes": [{"id": each, "type": "t"} for each in ("a", "b", "c")]})
    await store.create_execution("w", execution_id="e")
    await store.set_execution_timeout("e", ns(9_000))
    await store.complete_node("e", "a", {"success": True})
    (item,) = (await load(api, "/api/v1/executions"))["items"]
    for document in (item, await load(api, "/api/v1/executions/e")):
        assert document["timeout_ns"] == str(ns(9_000))
        assert (document["counts"]["nodes_done"], document["counts"]["nodes_total"]) == (1, 3)


async def test_an_execution_in_a_list_leaves_its_payloads_out(api: httpx.AsyncClient, store: FailingStore) -> None:
    await store.create_execution("order", initial_data={"big": "x" * 10_000}, metadata={"a": 1})
    page = await load(api, "/api/v1/executions")
    assert set(page) == {"items", "next"}
    assert [set(item) for item in page["items"]] == [EXECUTION_ITEM]
    assert set(page["items"][0]["counts"]) == COUNTS


async def test_payloads_keep_integers_of_any_size_and_numbers_that_json_cannot_say(
    api: httpx.AsyncClient, store: FailingStore
) -> None:
    text = '{"exact":9007199254740993,"huge":123456789012345678901234567890,"beyond":1e999}'
    await store.write(batch(root("e", stamp=Stamp(workflow_id="w", input=text))))
    answer = await api.get("/api/v1/executions/e")
    assert json.loads(answer.content)["initial_data"] == {
        "exact": 9_007_199_254_740_993,
        "huge": 123_456_789_012_345_678_901_234_567_890,
        "beyond": {"doubleValue": "Infinity"},
    }


async def test_payloads_of_the_state_api_come_back_as_they_were(api: httpx.AsyncClient, store: FailingStore) -> None:
    """They are the caller's own: NUL, lone surrogates and what looks like a tag are left alone."""
    given = {"lone": "\ud800", "nul": "\0", "tag": {"doubleValue": "NaN"}, "deep": [[[{}]]]}
    await store.create_execution("w", execution_id="e", initial_data=given, metadata={"k": "\ud800"})
    document = json.loads((await api.get("/api/v1/executions/e")).content)
    assert document["initial_data"] == given
    assert document["metadata"] == {"k": "\ud800"}


async def test_a_span_has_every_field_of_its_shape(api: httpx.AsyncClient, store: FailingStore) -> None:
    attributes = (
        '{"big":9007199254740993,"low":-9223372036854775808,"nan":{"doubleValue":"NaN"},"raw":{"bytesValue":"AA=="}}'
    )
    events = '[{"name":"tick","time_ns":"1700000000000000001","attributes":{"n":1},"dropped_attributes_count":2}]'
    linked = {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1"}
    links = json.dumps([{**linked, "trace_state": "", "flags": 0, "attributes": {}, "dropped_attributes_count": 0}])
    await store.write(
        batch(
            span(
                "a",
                kind=3,
                status=2,
                status_message="no",
                trace_state="k=v",
                flags=257,
                attributes=attributes,
                dropped_attributes_count=1,
                events=events,
                dropped_events_count=2,
                links=links,
                dropped_links_count=3,
                parent="gone",
                execution="e",
                node="n",
                seq=4,
            )
        )
    )
    document = await load(api, f"/api/v1/traces/{trace_id('t').hex()}")
    assert set(document) == {"trace_id", "spans", "resources", "scopes", "truncated"}
    (shown,) = document["spans"]
    assert set(shown) - ADDITIONS == SPAN
    assert shown == {
        "trace_id": trace_id("t").hex(),
        "span_id": span_id_to_hex(span_id("a")),
        "id": None,
        "parent_span_id": span_id_to_hex(span_id("gone")),
        "name": "a",
        "kind": "client",
        "start_ns": str(ns(0)),
        "end_ns": str(ns(1)),
        "status": "error",
        "status_message": "no",
        "state": "failed",
        "trace_state": "k=v",
        "flags": 257,
        "attributes": json.loads(attributes),
        "dropped_attributes_count": 1,
        "events": json.loads(events),
        "dropped_events_count": 2,
        "links": json.loads(links),
        "dropped_links_count": 3,
        "resource": 0,
        "scope": 0,
        "execution_id": "e",
        "node_id": "n",
        "last_seen_ns": None,
    }


async def test_attributes_pass_through_as_the_text_that_is_stored(api: httpx.AsyncClient, store: FailingStore) -> None:
    """No number is read and written again: not 2^53+1, not a double's own spelling, not the order of keys."""
    attributes = '{"z":1.0,"a":-0.0,"e":1e+22,"i":9007199254740993,"u":"\\u0001é"}'
    await store.write(batch(span("a", attributes=attributes)))
    answer = await api.get(f"/api/v1/traces/{trace_id('t').hex()}")
    assert attributes in answer.text


async def test_resources_and_scopes_stand_once_beside_what_points_to_them(
    api: httpx.AsyncClient, store: FailingStore
) -> None:
    resource = resource_row('{"service.name":"bank"}', "https://r", 1, "bank")
    scope = scope_row("lib", "2", '{"x":1}', "https://s", 3)
    made = batch(
        span("a"), span("b", start=0.5, resource_id=resource.resource_id, scope_id=scope.scope_id), span("c", start=0.7)
    )
    made.resources[resource.resource_id] = resource
    made.scopes[scope.scope_id] = scope
    await store.write(made)
    document = await load(api, f"/api/v1/traces/{trace_id('t').hex()}")
    assert [(each["name"], each["resource"], each["scope"]) for each in document["spans"]] == [
        ("a", 0, 0),
        ("b", 1, 1),
        ("c", 0, 0),
    ]
    assert [set(each) for each in document["resources"]] == [RESOURCE] * 2
    assert [set(each) for each in document["scopes"]] == [SCOPE] * 2
    assert document["resources"][1] == {
        "attributes": {"service.name": "bank"},
        "schema_url": "https://r",
        "dropped_attributes_count": 1,
    }
    assert document["scopes"][1] == {
        "name": "lib",
        "version": "2",
        "attributes": {"x": 1},
        "schema_url": "https://s",
        "dropped_attributes_count": 3,
    }


async def test_the_trace_of_an_execution_names_it_and_all_its_traces(
    api: httpx.AsyncClient, store: FailingStore
) -> None:
    await store.write(batch(root("e"), span("far", trace="t2", start=2, execution="e")))
    document = await load(api, "/api/v1/executions/e/trace")
    assert set(document) == {"execution_id", "trace_ids", "spans", "resources", "scopes", "truncated"}
    assert document["execution_id"] == "e"
    assert document["trace_ids"] == [trace_id("e").hex(), trace_id("t2").hex()]
    assert [each["name"] for each in document["spans"]] == ["root of e", "far"]


async def test_a_trace_in_a_list_is_described_by_its_root(api: httpx.AsyncClient, store: FailingStore) -> None:
    await store.write(batch(span("a", execution="e", kind=2), span("b", parent="a", status=2)))
    page = await load(api, "/api/v1/traces")
    (item,) = page["items"]
    assert set(item) == TRACE_ITEM
    assert item == {
        "trace_id": trace_id("t").hex(),
        "root_span_id": span_id_to_hex(span_id("a")),
        "name": "a",
        "service": "shop",
        "kind": "server",
        "status": "unset",
        "status_message": "",
        "state": "completed",
        "start_ns": str(ns(0)),
        "end_ns": str(ns(1)),
        "execution_ids": ["e"],
        "counts": {"spans": 2, "errors": 1, "truncated": False},
    }


async def test_a_log_has_every_field_of_its_shape(api: httpx.AsyncClient, store: FailingStore) -> None:
    record = log(
        {"n": 9_007_199_254_740_993},
        trace="e",
        at_span="root of e",
        at=0.25,
        execution="e",
        uid="mine",
        severity=17,
        severity_text="ERR",
        attributes='{"k":[1,2]}',
        event_name="boom",
        flags=1,
        dropped_attributes_count=2,
        node_id="n",
    )
    await store.write(batch(root("e"), record))
    page = await load(api, "/api/v1/executions/e/logs")
    assert set(page) == {"items", "resources", "scopes", "next"}
    (shown,) = page["items"]
    assert set(shown) - ADDITIONS == LOG
    assert shown == {
        "log_id": record.log_id.hex(),
        "id": "mine",
        "time_ns": str(ns(0.25)),
        "observed_ns": str(ns(0.25)),
        "time_source": "time",
        "severity": 17,
        "severity_text": "ERR",
        "level": "error",
        "body": {"n": 9_007_199_254_740_993},
        "attributes": {"k": [1, 2]},
        "event_name": "boom",
        "trace_id": trace_id("e").hex(),
        "span_id": span_id_to_hex(span_id("root of e")),
        "flags": 1,
        "dropped_attributes_count": 2,
        "execution_id": "e",
        "node_id": "n",
        "resource": 0,
        "scope": 0,
    }
    assert await load(api, "/api/v1/logs", trace_id=trace_id("e").hex()) == page


async def test_logs_are_filtered_by_trace_span_level_text_and_time(api: httpx.AsyncClient, store: FailingStore) -> None:
    await store.write(
        batch(
            log("first", trace="t", at_span="a", at=1, severity=9),
            log("second thing", trace="t", at_span="b", at=2, severity=13),
            log("third", trace="u", at=3, severity=17),
        )
    )

    async def bodies(**parameters: str) -> list[str]:
        return [item["body"] for item in (await load(api, "/api/v1/logs", **parameters))["items"]]

    assert await bodies() == ["first", "second thing", "third"]
    assert await bodies(trace_id=trace_id("t").hex()) == ["first", "second thing"]
    assert await bodies(trace_id=trace_id("t").hex(), span_id=span_id_to_hex(span_id("b"))) == ["second thing"]
    assert await bodies(level="warn") == ["second thing", "third"]
    assert await bodies(text="THING") == ["second thing"]
    assert await bodies(since=str(ns(2))) == ["second thing", "third"]
    assert await bodies(until=str(ns(2))) == ["first"]


async def test_lists_are_paged_by_cursor_without_gap_or_repetition(api: httpx.AsyncClient, store: FailingStore) -> None:
    for number in range(5):
        await store.write(batch(root(f"e-{number}", start=number), log(number, execution=f"e-{number}", at=number)))
    for path, key in (
        ("/api/v1/executions", "execution_id"),
        ("/api/v1/traces", "trace_id"),
        ("/api/v1/logs", "log_id"),
    ):
        whole = [item[key] for item in (await load(api, path))["items"]]
        assert len(set(whole)) == 5
        seen: list[str] = []
        page = await load(api, path, limit="2")
        while True:
            seen += [item[key] for item in page["items"]]
            if page["next"] is None:
                break
            page = await load(api, path, limit="2", cursor=page["next"])
        assert seen == whole, path


async def test_executions_are_filtered_by_workflow_status_and_time(api: httpx.AsyncClient, store: FailingStore) -> None:
    await store.write(
        batch(
            root("done", workflow="a", start=1),
            root("broken", workflow="a", start=2, status=2),
            root("going", workflow="b", start=3, end=None, process_id="p"),
            heartbeats=["p"],
        )
    )

    async def ids(**parameters: str) -> list[str]:
        return [item["execution_id"] for item in (await load(api, "/api/v1/executions", **parameters))["items"]]

    assert await ids() == ["going", "broken", "done"]
    assert await ids(workflow_id="a") == ["broken", "done"]
    assert await ids(status="failed") == ["broken"]
    assert await ids(status="running") == ["going"]
    assert await ids(status="abandoned") == []
    assert await ids(since=str(ns(2)), until=str(ns(3))) == ["broken"]


@pytest.mark.parametrize("execution_id", ["a/b", "..", ".", "%", "%2F", "a b", "é😀", "?x#y", "a+b", "a;b=c"])
async def test_any_text_is_an_execution_id_in_the_path_and_in_the_query(
    api: httpx.AsyncClient, store: FailingStore, execution_id: str
) -> None:
    await store.write(batch(root(execution_id, name="r"), log("hello", execution=execution_id)))
    encoded = "".join(f"%{byte:02X}" for byte in execution_id.encode())
    for suffix in ("", "/trace", "/logs"):
        by_path = await load(api, f"/api/v1/executions/{encoded}{suffix}")
        assert await load(api, f"/api/v1/execution{suffix}", id=execution_id) == by_path
    assert (await load(api, f"/api/v1/executions/{encoded}"))["execution_id"] == execution_id


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/api/v1/executions?limit=1001", "limit"),
        ("/api/v1/executions?limit=0", "limit"),
        ("/api/v1/executions?status=done", "status"),
        ("/api/v1/executions?since=soon", "since"),
        ("/api/v1/executions?cursor=nonsense", "cursor"),
        ("/api/v1/executions?colour=red", "colour"),
        ("/api/v1/traces?limit=ten", "limit"),
        ("/api/v1/traces?until=2026-02-30T00:00:00Z", "until"),
        ("/api/v1/traces?cursor=%FF", "cursor"),
        ("/api/v1/logs?level=loud", "level"),
        ("/api/v1/logs?trace_id=12", "trace_id"),
        ("/api/v1/logs?span_id=zzzzzzzzzzzzzzzz", "span_id"),
        ("/api/v1/logs?cursor=AAAA", "cursor"),
        ("/api/v1/executions/e/logs?level=10", "level"),
        ("/api/v1/executions/e/trace?x=1", "x"),
        ("/api/v1/execution", "id"),
        ("/api/v1/stream?trace_id=12", "trace_id"),
    ],
)
async def test_a_wrong_parameter_is_a_problem_that_names_it(
    api: httpx.AsyncClient, store: FailingStore, path: str, parameter: str
) -> None:
    await store.create_execution("w", execution_id="e")
    answer = await api.get(path)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["parameter"] == parameter
    assert document["status"] == 400
    assert document["title"] == "Bad Request"
    assert parameter in document["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/executions/unknown",
        "/api/v1/executions/" + "x" * 300,
        "/api/v1/executions/%00",
        "/api/v1/executions/%FF",
        "/api/v1/executions/unknown/trace",
        "/api/v1/executions/unknown/logs",
        "/api/v1/execution?id=unknown",
        "/api/v1/traces/" + "0" * 31 + "1",
        "/api/v1/traces/nonsense",
        "/api/v1/executions/a/b",
        "/api/v1/executions/",
        "/api/v1/nothing",
        "/api/",
        "/v1/traces",
    ],
)
async def test_what_is_not_there_is_a_problem(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


async def test_a_trace_is_found_by_its_id_in_any_case(api: httpx.AsyncClient, store: FailingStore) -> None:
    await store.write(batch(span("a")))
    assert (await load(api, f"/api/v1/traces/{trace_id('t').hex().upper()}"))["trace_id"] == trace_id("t").hex()


async def test_an_execution_without_spans_has_an_empty_trace(api: httpx.AsyncClient, store: FailingStore) -> None:
    await store.create_execution("w", execution_id="e")
    document = await load(api, "/api/v1/executions/e/trace")
    assert document["spans"] == []
    assert (await load(api, "/api/v1/executions/e/logs"))["items"] == []
