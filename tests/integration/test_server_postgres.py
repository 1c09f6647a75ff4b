"""The whole path over real sockets: OTLP in, committed to PostgreSQL, out of the API and onto a live page."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from spane_otel.clock import SystemClock
from spane_otel.counters import Counters
from spane_otel.server.context import Addresses
from spane_otel.server.service import Service
from spane_otel.stores.postgres import PostgresExecutionStore
from tests.rows import trace_id
from tests.unit.server.requests import PROTOBUF, logs_request, span_message, text, traces_request

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def counters() -> Counters:
    return Counters()


@pytest.fixture
async def service(migrated_postgres_url: str, counters: Counters) -> AsyncIterator[Addresses]:
    async with (
        PostgresExecutionStore(migrated_postgres_url) as store,
        Service(store, port=0, otlp_http_port=0, counters=counters) as addresses,
    ):
        yield addresses


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as opened:
        yield opened


async def count_spans(url: str) -> int:
    """Count what is committed, over a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM spane.execution_spans"))
    finally:
        await connection.close()


async def test_a_foreign_span_that_names_an_execution_makes_it_and_a_live_page_hears_of_it(
    service: Addresses, client: httpx.AsyncClient, migrated_postgres_url: str
) -> None:
    message = span_message("root")
    message.attributes.extend([text("spane.execution.id", "a/b"), text("spane.workflow.id", "order")])
    message.attributes.append(KeyValue(key="big", value=AnyValue(int_value=2**53 + 1)))
    body = traces_request(message, span_message("bad", raw_trace_id=b""))
    async with client.stream("GET", f"{service.ui}/api/v1/stream", params={"execution_id": "a/b"}) as stream:
        lines = stream.aiter_lines()
        await anext(line async for line in lines if line == 'data: {"available":true}')
        answer = await client.post(f"{service.otlp}/v1/traces", content=body, headers=PROTOBUF)
        assert answer.status_code == 200
        assert ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans == 1
        assert await count_spans(migrated_postgres_url) == 1
        data = await anext(line async for line in lines if line.startswith("data: "))
        assert json.loads(data.removeprefix("data: "))["execution_id"] == "a/b"
    found = await client.get(f"{service.ui}/api/v1/executions/a%2Fb")
    assert (found.json()["workflow_id"], found.json()["status"]) == ("order", "completed")
    trace = await client.get(f"{service.ui}/api/v1/executions/a%2Fb/trace")
    assert '"big":9007199254740993' in trace.text
    assert [item["execution_id"] for item in (await client.get(f"{service.ui}/api/v1/executions")).json()["items"]] == [
        "a/b"
    ]
    (listed,) = (await client.get(f"{service.ui}/api/v1/traces")).json()["items"]
    assert (listed["trace_id"], listed["execution_ids"]) == (trace_id("t").hex(), ["a/b"])


async def test_concurrent_requests_are_all_there_once_and_the_counters_add_up(
    service: Addresses, client: httpx.AsyncClient, counters: Counters, migrated_postgres_url: str
) -> None:
    """Each is sent twice, half of them at the same time."""
    requests = [
        traces_request(*(span_message(f"{number}-{index}", trace=str(number)) for index in range(50)))
        for number in range(20)
    ]
    answers = await asyncio.gather(
        *(client.post(f"{service.otlp}/v1/traces", content=body, headers=PROTOBUF) for body in requests * 2)
    )
    assert {answer.status_code for answer in answers} == {200}
    assert await count_spans(migrated_postgres_url) == 1_000
    assert counters.get("spans", "accepted") == 2_000
    assert counters.get("spans", "stored") == 2_000
    assert counters.get("spans", "duplicates") == 1_000
    assert counters.buffered("spans") == 0


async def test_logs_are_found_and_filtered(service: Addresses, client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{service.otlp}/v1/logs", content=logs_request("Hello", "other"), headers=PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    page = (await client.get(f"{service.ui}/api/v1/logs", params={"text": "hello"})).json()
    assert [item["body"] for item in page["items"]] == ["Hello"]
    assert page["next"] is None


async def test_a_database_that_goes_away_is_503_and_its_return_is_noticed(
    migrated_postgres_url: str, client: httpx.AsyncClient
) -> None:
    """The name of the database is taken away, and given back."""
    maintenance = migrated_postgres_url.replace(f"/{name_of(migrated_postgres_url)}", "/postgres", 1)
    connection = await asyncpg.connect(maintenance)
    name = name_of(migrated_postgres_url)
    clock = SystemClock()
    async with (
        PostgresExecutionStore(migrated_postgres_url, clock=clock) as store,
        Service(store, port=0, otlp_http_port=0) as addresses,
    ):
        body = traces_request(span_message("a"))
        assert (await client.get(f"{addresses.ui}/readyz")).status_code == 200
        await connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        try:
            answer = await client.post(f"{addresses.otlp}/v1/traces", content=body, headers=PROTOBUF)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert (await client.get(f"{addresses.ui}/readyz")).status_code == 503
            assert (await client.get(f"{addresses.ui}/healthz")).status_code == 200
        finally:
            await connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            await connection.close()
        answer = await client.post(f"{addresses.otlp}/v1/traces", content=body, headers=PROTOBUF)
        assert answer.status_code == 200
        assert (await client.get(f"{addresses.ui}/readyz")).status_code == 200
    assert await count_spans(migrated_postgres_url) == 1


def name_of(url: str) -> str:
    """Return the database's name in a URL."""
    return url.partition("?")[0].rpartition("/")[2]
