"""How fast the service takes spans in: from OTLP/HTTP to committed, beside raw COPY into the same table.

    make bench        or        python benchmarks/ingest.py [--spans N] [--rounds N] [--database-url URL]

The service is `spane-otel serve`, one process; PostgreSQL is the embedded one with the settings that users get, or the
server that is named. The load comes from a process of its own (load.py), whose CPU is left out. A span counts once its
request was answered 200; afterwards a second connection counts the rows, and a difference ends the benchmark.
Everything runs on this one machine, so the rates are what is left beside the load generator.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import database
from processes import cpu_seconds, resident_bytes

_HERE = Path(__file__).parent
_READY = re.compile(r"ready ui=\S+ otlp=(?P<otlp>http://\S+)")
_WARM_UP = 20_480


class Figures:
    """One round: spans a second, and microseconds of CPU a span by process."""

    def __init__(self, spans: int, seconds: float, service: float, postgres: float) -> None:
        self.rate = spans / seconds
        self.service_us = service / spans * 1e6
        self.postgres_us = postgres / spans * 1e6


@contextmanager
def serve(url: str) -> Iterator[tuple[int, str]]:
    """Yield the process id and the OTLP address of a service on the database at `url`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPANE_", "OTEL_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "spane_otel.cli.main", "serve", "--port", "0", "--otlp-http-port", "0"],
        env={**kept, "SPANE_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = _READY.match(line)
        if ready is None:
            raise SystemExit(f"the service did not start: {line!r}")
        yield process.pid, ready["otlp"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def send(otlp: str, spans: int, connections: int, seed: int) -> dict[str, Any]:
    """Send `spans` spans and return what load.py says of them."""
    command = [sys.executable, str(_HERE / "load.py"), otlp, "--spans", str(spans)]
    command += ["--connections", str(connections), "--seed", str(seed)]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result


def measure_service(url: str, options: argparse.Namespace) -> list[Figures]:
    """Return a round for each `options.rounds`, each on an empty table."""
    postmaster = database.server_pid(url)
    rounds: list[Figures] = []
    with serve(url) as (service, otlp):
        send(otlp, _WARM_UP, options.connections, seed=0)
        for number in range(options.rounds):
            database.empty(url)
            before = cpu_seconds(service), cpu_seconds(postmaster)
            result = send(otlp, options.spans, options.connections, seed=number + 1)
            after = cpu_seconds(service), cpu_seconds(postmaster)
            stored = database.count_spans(url)
            if stored != result["acknowledged"]:
                raise SystemExit(f"acknowledged {result['acknowledged']:,} spans, committed {stored:,}")
            figures = Figures(stored, result["seconds"], after[0] - before[0], after[1] - before[1])
            rounds.append(figures)
            print(
                f"  round {number + 1}: {figures.rate:,.0f} spans/s, {stored:,} committed, request p50 "
                f"{result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms, {result['bytes_per_span']:.0f} B/span, "
                f"answers {result['statuses']}, service {resident_bytes(service) / 2**20:.0f} MB"
            )
    return rounds


def measure_copy(url: str, options: argparse.Namespace) -> list[Figures]:
    """Return the same for COPY of the rows that the service wrote last."""
    postmaster = database.server_pid(url)
    columns, rows = database.load_rows(url, options.spans)
    rounds: list[Figures] = []
    for _ in range(options.rounds):
        database.empty(url)
        before = cpu_seconds(postmaster)
        seconds, client = database.copy_rows(url, columns, rows, connections=2, batch=512)
        rounds.append(Figures(len(rows), seconds, client, cpu_seconds(postmaster) - before))
    return rounds


def summarise(title: str, rounds: list[Figures], client: str) -> float:
    """Print the medians and return that of the rate."""
    rate = statistics.median(each.rate for each in rounds)
    service = statistics.median(each.service_us for each in rounds)
    postgres = statistics.median(each.postgres_us for each in rounds)
    least, most = min(each.rate for each in rounds), max(each.rate for each in rounds)
    print(
        f"{title:<34} {rate:>8,.0f} spans/s ({least:,.0f}..{most:,.0f})   CPU a span: {client} {service:.1f} µs "
        f"+ PostgreSQL {postgres:.1f} µs = {service + postgres:.1f} µs"
    )
    return rate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=200_000, help="spans in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=4, help="of the load generator")
    parser.add_argument("--database-url", help="a server on this machine; default: a temporary embedded one")
    options = parser.parse_args()
    with database.open_database(options.database_url) as url:
        print(f"PostgreSQL {database.describe_server(url)}")
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before: what else runs lowers the rates")
        service = measure_service(url, options)
        copy = measure_copy(url, options)
    print(f"median of {options.rounds} rounds of {options.spans:,} spans, load generator excluded:")
    served = summarise("OTLP/HTTP to committed", service, "service")
    copied = summarise("raw COPY, 2 connections, 512 rows", copy, "client ")
    print(f"ratio: the service reaches {served / copied:.0%} of the rate of raw COPY into the same table")


if __name__ == "__main__":
    main()
