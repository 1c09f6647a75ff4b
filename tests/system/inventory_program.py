"""A program that knows nothing of spane-otel: instrumented by OpenTelemetry's own packages alone.

Argument: the address of an HTTP server to call.
"""

import asyncio
import logging
import sqlite3
import sys
import urllib.request

from opentelemetry import trace
from opentelemetry.trace import Link, Status, StatusCode
from opentelemetry.util.types import Attributes

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("inventory")
tracer = trace.get_tracer(
    "inventory", "2.1", schema_url="https://opentelemetry.io/schemas/1.30.0", attributes={"team": 7}
)


def count(url: str) -> int:
    database = sqlite3.connect(":memory:")
    cursor = database.cursor()
    cursor.execute("create table items (name text, amount integer)")
    cursor.executemany("insert into items values (?, ?)", [("bolt", 2**53 + 1), ("nut", -(2**63))])
    try:
        cursor.execute("select * from missing")
    except sqlite3.OperationalError:
        log.exception("no such table", extra={"table": "missing", "sizes": [1, 2.5, True]})
    with urllib.request.urlopen(url) as response:
        response.read()
    return int(cursor.execute("select max(amount) from items").fetchone()[0])


async def main(url: str) -> None:
    with tracer.start_as_current_span("warm up") as first:
        log.warning("low on nuts")
    attributes: Attributes = {"largest": 2**63 - 1, "smallest": -(2**63), "ratio": 1.0, "empty": "", "many": ["a", "b"]}
    with tracer.start_as_current_span(
        "take stock",
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
        links=[Link(first.get_span_context(), {"why": "same day"})],
    ) as span:
        span.add_event("counted", {"rows": 2})
        await asyncio.to_thread(count, url)
        span.set_status(Status(StatusCode.ERROR, "a table is missing"))


asyncio.run(main(sys.argv[1]))
