"""SIGKILL with requests in flight: what was answered 200 is there afterwards, once."""

import os
import random
import re
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spane_otel.ids import span_id_from_bytes, span_id_to_hex
from tests.servers import public_folder
from tests.service_process import ServiceProcess
from tests.system.ledger import SPANS_PER_TRACE, Producer, span_of, trace_id_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

CYCLES = 20
PRODUCERS = 3


class Ledger:
    """Producers over several cycles, and the judgement at the end."""

    def __init__(self) -> None:
        self.base_ns = time.time_ns() - 60_000_000_000
        self.acked: dict[str, set[int]] = {f"producer-{number}": set() for number in range(PRODUCERS)}
        self.next = dict.fromkeys(self.acked, 0)
        self.in_flight = 0

    def load_until(self, address: tuple[str, int], strike: Callable[[], None], seconds: float) -> None:
        """Send from every producer, strike after `seconds`, and note what had been answered by then."""
        producers = [Producer(seed, address, self.next[seed], self.base_ns) for seed in self.acked]
        for producer in producers:
            producer.start()
        time.sleep(seconds)  # how long the load lasts is the experiment, not a wait for something
        self.in_flight += sum(producer.is_sending for producer in producers)
        strike()
        for producer in producers:
            producer.finish()
            self.acked[producer.seed] |= producer.acked
            self.next[producer.seed] = producer.next  # an unanswered trace is sent again in the next cycle

    def judge(self, service: ServiceProcess) -> int:
        """Assert that every acknowledged span can be read, once and unchanged; return how many there are."""
        for seed, traces in self.acked.items():
            for trace in traces:
                answer = service.get(f"/api/v1/traces/{trace_id_of(seed, trace).hex()}")
                assert answer is not None, f"acknowledged, not there: {seed} {trace}"
                found = [
                    (span["span_id"], span["name"], span["start_ns"], span["end_ns"], dict(span["attributes"]))
                    for span in answer["spans"]
                ]
                assert found == [expected(seed, trace, number, self.base_ns) for number in range(SPANS_PER_TRACE)]
        return sum(len(traces) for traces in self.acked.values()) * SPANS_PER_TRACE


def expected(seed: str, trace: int, number: int, base_ns: int) -> tuple[str, str, str, str, dict[str, int]]:
    span = span_of(seed, trace, number, base_ns)
    return (
        span_id_to_hex(span_id_from_bytes(span.span_id)),
        span.name,
        str(span.start_time_unix_nano),
        str(span.end_time_unix_nano),
        {"number": span.attributes[0].value.int_value},
    )


def test_every_acknowledged_span_survives_sigkill_of_the_service(folder: Path, seeded: random.Random) -> None:
    """The next start takes over the database that the killed service left running."""
    ledger = Ledger()
    for _ in range(CYCLES):
        service = ServiceProcess("--store", "embedded", "--data-dir", str(folder))
        ledger.load_until(service.otlp_address, service.kill, seeded.uniform(0.1, 0.8))
    with ServiceProcess("--store", "embedded", "--data-dir", str(folder)) as service:
        assert ledger.judge(service) > 0
    assert ledger.in_flight >= CYCLES, "inconclusive: too few requests were in flight"


def test_every_acknowledged_span_survives_sigkill_of_the_postmaster(folder: Path, seeded: random.Random) -> None:
    """The service stays up, answers 503 meanwhile, and goes on by itself; its counts still add up."""
    ledger = Ledger()
    with ServiceProcess("--store", "embedded", "--data-dir", str(folder)) as service:

        def kill_postmaster() -> None:
            pid = int((folder / "postgres/postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, signal.SIGKILL)
            time.sleep(seeded.uniform(0.05, 1.0))  # load while the database is away and comes back

        for _ in range(CYCLES):
            ledger.load_until(service.otlp_address, kill_postmaster, seeded.uniform(0.1, 0.8))
            await_ready(service)
            assert service.process.poll() is None, "the service died with its database"
        stored = ledger.judge(service)
        assert stored > 0
        counts = metrics(service)
        assert counts["accepted"] >= stored
        assert counts["accepted"] == counts["stored"] + counts["rejected"] + counts["dropped"], (
            "nothing is buffered now"
        )
    assert ledger.in_flight >= CYCLES, "inconclusive: too few requests were in flight"


def await_ready(service: ServiceProcess) -> None:
    """Return once the service says that its store answers; promised within five seconds of the database's return."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{service.ui}/readyz", timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            time.sleep(0.1)  # another process starts; there is nothing to await
    raise AssertionError("not ready again")


def metrics(service: ServiceProcess) -> Counter[str]:
    """Return how many spans met which fate."""
    with urllib.request.urlopen(f"{service.ui}/metrics", timeout=5) as response:
        text = response.read().decode()
    counts: Counter[str] = Counter()
    for fate, value in re.findall(
        r'^spane_telemetry_items_total\{signal="spans",fate="(\w+)".*\} (\d+)', text, re.MULTILINE
    ):
        counts[fate] += int(value)
    return counts


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter, as PostgreSQL needs where root runs the tests."""
    with public_folder() as made:
        yield made


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers whose seed is printed when the test fails; SPANE_SEED replays them."""
    seed = int(os.environ.get("SPANE_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    print(f"SPANE_SEED={seed}")
    return random.Random(seed)
