"""Keeps the demo running: executions one after another, in two lanes, until stopped.

`spane-otel demo` starts the service and then this module in a child process, `python -m spane_otel.demo ENDPOINT`:
the analysis then never holds up the service's event loop, and killing the child shows what an abandoned execution
looks like. It needs neither Redis nor a network beyond the endpoint.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from spane_otel.demo.analysis import FIRST_SEED, Analysis, draw_analysis
from spane_otel.demo.nodes import TRACE
from spane_otel.demo.runner import Outcome, run_analysis
from spane_otel.demo.sources import discover, standard_library
from spane_otel.telemetry import aflush, configure

LOGGER: Final = logging.getLogger("analyse_stdlib")
LANES: Final = 2
"""Executions at the same time."""
PREFILL: Final = 8
"""Quick executions at the start, of every kind, so that the first look is not at an empty page."""
PAUSE_S: Final = 3.0
FLUSH_TIMEOUT_S: Final = 10.0


async def run(
    endpoint: str,
    *,
    once: bool,
    stop: asyncio.Event | None = None,
    say: Callable[[str], None] = print,
    ui: str | None = None,
) -> int:
    """Run the demo against the OTLP endpoint and return an exit code; `ui` is the address that is said to people.

    With `once`, one execution; else until `stop` is set, which cancels what runs. The code is 0 if all telemetry of
    what ended was committed, 1 if not.
    """
    configure("spane-demo", endpoint=endpoint)
    _record_every_level()
    root = standard_library()
    packages = sorted(discover(root))
    if once:
        outcome = await run_analysis(draw_analysis(FIRST_SEED, str(root), packages, quick=True))
        say(_describe(outcome, ui))
    else:
        if ui is not None:
            say(f"open {ui}")
        await _run_lanes(_draw(str(root), packages), stop or asyncio.Event())
    if await aflush(timeout=FLUSH_TIMEOUT_S):
        return 0
    say(f"not everything was committed: does {endpoint} answer?")
    return 1


def _record_every_level() -> None:
    logging.addLevelName(TRACE, "TRACE")
    LOGGER.setLevel(TRACE)
    LOGGER.addHandler(logging.NullHandler())  # what it says is for the page, not for the terminal


async def _run_lanes(analyses: Iterator[Analysis], stop: asyncio.Event) -> None:
    lanes = [asyncio.create_task(_run_lane(analyses)) for _ in range(LANES)]
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*lanes, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*lanes, waiting):
            task.cancel()
        await asyncio.wait([*lanes, waiting])
    for lane in done - {waiting}:
        lane.result()  # a lane ends only by a defect: raise it


async def _run_lane(analyses: Iterator[Analysis]) -> None:
    for analysis in analyses:
        await run_analysis(analysis)
        await asyncio.sleep(PAUSE_S if analysis.seed >= FIRST_SEED + PREFILL else 0)


def _draw(root: str, packages: list[str]) -> Iterator[Analysis]:
    for seed in count(FIRST_SEED):
        yield draw_analysis(seed, root, packages, quick=seed < FIRST_SEED + PREFILL)


def _describe(outcome: Outcome, ui: str | None) -> str:
    said = f"execution {outcome.execution_id} {outcome.status}"
    if outcome.error is not None:
        said += f": {outcome.error}"
    return said if ui is None else f"{said}, see {ui}/executions/{outcome.execution_id}"
