"""Posts OTLP requests over several connections, as a process of its own, and prints what was answered as JSON.

    python benchmarks/load.py http://127.0.0.1:4318 --spans 200000 --connections 4

Rates count from the first byte sent to the last answer read. A request answered otherwise than 200 is counted by its
status and not sent again.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from itertools import cycle
from urllib.parse import urlsplit

from corpus import Request, make_requests

_DIFFERENT = 16
"""Requests that are encoded beforehand; each is sent many times, with new ids."""


class Load:
    """What is sent and what came of it."""

    def __init__(self, requests: list[Request], spans: int) -> None:
        self.requests = requests
        self._turn = cycle(requests)
        self.wanted = spans
        self.sent = 0
        self.acknowledged = 0
        self.statuses: Counter[int] = Counter()
        self.waits: list[float] = []

    async def post(self, host: str, port: int) -> None:
        """Post over one connection until enough is sent."""
        reader, writer = await asyncio.open_connection(host, port)
        head = f"POST /v1/traces HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/x-protobuf\r\n"
        while self.sent < self.wanted:
            request = next(self._turn)
            self.sent += request.spans
            body = request.renew()
            began = time.perf_counter()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            status = await _read_answer(reader)
            self.waits.append(time.perf_counter() - began)
            self.statuses[status] += 1
            if status == 200:
                self.acknowledged += request.spans
        writer.close()
        await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    length = next((int(line[15:]) for line in lines if line.lower().startswith("content-length:")), 0)
    await reader.readexactly(length)
    return int(lines[0].split()[1])


async def _run(options: argparse.Namespace) -> None:
    load = Load(make_requests(_DIFFERENT, options.seed), options.spans)
    address = urlsplit(options.url)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(options.connections):
            group.create_task(load.post(address.hostname or "127.0.0.1", address.port or 4318))
    seconds = time.perf_counter() - began
    waits = sorted(load.waits)
    result = {
        "acknowledged": load.acknowledged,
        "seconds": seconds,
        "statuses": dict(load.statuses),
        "bytes_per_span": sum(map(len, load.requests)) / sum(each.spans for each in load.requests),
        "p50_ms": waits[len(waits) // 2] * 1e3,
        "p99_ms": waits[int(len(waits) * 0.99)] * 1e3,
    }
    print(json.dumps(result))


def main() -> None:
    """Post what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
