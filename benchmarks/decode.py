"""Measure what decoding costs: OTLP traces to rows, with the memo of attributes and without it.

Each request is decoded once: what repeats in it repeats as it does between requests of one service, and ids, users and
URLs are new. CPU time of this process, median of five rounds.
"""

import statistics
import time

from corpus import make_requests

from spane_otel.otlp import attributes
from spane_otel.otlp.decode import decode_traces

REQUESTS = 20


def measure(seed: int) -> float:
    """Return microseconds of CPU a span over requests that were never decoded before."""
    requests = make_requests(REQUESTS, seed)
    bodies = [request.renew() for request in requests]
    started = time.process_time()
    for body in bodies:
        decode_traces(body, now_ns=0)
    spent = time.process_time() - started
    return spent / sum(request.spans for request in requests) * 1e6


def main() -> None:
    measure(0)
    with_memo = statistics.median(measure(seed) for seed in range(1, 6))
    attributes.REMEMBERED_BYTES = 0  # type: ignore[misc]  # nothing is short enough to be remembered
    attributes._free.clear()  # noqa: SLF001 - the memos of the rounds before
    without = statistics.median(measure(seed) for seed in range(6, 11))
    print(f"decode with the memo     {with_memo:6.2f} us/span")
    print(f"decode without the memo  {without:6.2f} us/span")


if __name__ == "__main__":
    main()
