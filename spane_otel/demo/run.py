"""Keeps the demo running: executions one after another, in two lanes, until stopped.

`spane-otel demo` starts the service and then this module in a child process, `python -m spane_otel.demo ENDPOINT`:
the analysis then never holds up the service's event loop. Executions run on a `WorkflowEngine` over a store, and what
they do is sent to the endpoint as OpenTelemetry's spans and logs. With the service's own database as the store, its
pages show the state and the telemetry of one execution as one thing, and killing the child loses nothing: the next one
goes on with its executions. With a store in memory the state is this process's alone, and the service sees what the
spans say of it. It needs neither Redis nor a network beyond the endpoint.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

from spane_otel.demo.analysis import FIRST_SEED, Analysis, draw_analysis
from spane_otel.demo.nodes import TRACE
from spane_otel.demo.runner import Outcome, Runner
from spane_otel.demo.sources import BROKEN_PACKAGE, discover, find_unparsable, standard_library
from spane_otel.stores.protocols import Store
from spane_otel.telemetry import aflush, configure

T = TypeVar("T")

LOGGER: Final = logging.getLogger("analyse_stdlib")
LANES: Final = 2
"""Executions at the same time."""
PREFILL: Final = 8
"""Quick executions at the start, of every kind, so that the first look is not at an empty page."""
FIRST_VERSION: Final = 6
"""So many executions run the workflow's first version, all others its second."""
PAUSE_S: Final = 3.0
FLUSH_TIMEOUT_S: Final = 10.0


async def run(
    endpoint: str,
    store: Store,
    *,
    once: bool,
    stop: asyncio.Event | None = None,
    say: Callable[[str], None] = print,
    ui: str | None = None,
) -> int:
    """Run the demo on `store`, recorded by the OTLP endpoint, and return an exit code.

    With `once`, one execution; else one after another until `stop` is set, which cancels what runs. The code is 0 if
    all telemetry of what ended was committed (and, with `once`, the execution completed or was stopped), 1 if not.
    `ui` is the address that is said to people.
    """
    configure("spane-demo", endpoint=endpoint)
    _record_every_level()
    root = standard_library()
    found = discover(root)
    draw = partial(
        draw_analysis, root=str(root), available=list(found), unparsable=find_unparsable(found) or BROKEN_PACKAGE
    )
    stop = stop or asyncio.Event()
    is_well = True
    async with Runner(store) as runner:
        await runner.register()
        if once:
            outcome = await _run_until(stop, runner.run(draw(FIRST_SEED, quick=True)))
            if outcome is not None:
                say(_describe(outcome, ui))
                is_well = outcome.status == "completed"
        else:
            if ui is not None:
                say(f"open {ui}")
            await _run_until(stop, _run_lanes(runner, _draw_all(draw)))
    if not await aflush(timeout=FLUSH_TIMEOUT_S):
        say(f"not everything was committed: does {endpoint} answer?")
        is_well = False
    return 0 if is_well else 1


def _record_every_level() -> None:
    logging.addLevelName(TRACE, "TRACE")
    LOGGER.setLevel(TRACE)
    LOGGER.addHandler(logging.NullHandler())  # what it says is for the page, not for the terminal


async def _run_until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns; None if `stop` was set first, which cancels it."""
    task = asyncio.create_task(work)
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        for each in (task, waiting):
            each.cancel()
        await asyncio.wait([task, waiting])
    return None


async def _run_lanes(runner: Runner, analyses: Iterator[Analysis]) -> None:
    """Run for ever; what raises is a defect, since a failing execution does not."""
    async with asyncio.TaskGroup() as group:
        group.create_task(runner.go_on())
        for _ in range(LANES):
            group.create_task(_run_lane(runner, analyses))


async def _run_lane(runner: Runner, analyses: Iterator[Analysis]) -> None:
    for analysis in analyses:
        if analysis.seed == FIRST_SEED + FIRST_VERSION:
            await runner.register_second()
        await runner.run(analysis)
        await asyncio.sleep(PAUSE_S if analysis.seed >= FIRST_SEED + PREFILL else 0)


def _draw_all(draw: Callable[..., Analysis]) -> Iterator[Analysis]:
    for seed in count(FIRST_SEED):
        yield draw(seed, quick=seed < FIRST_SEED + PREFILL)


def _describe(outcome: Outcome, ui: str | None) -> str:
    said = f"execution {outcome.execution_id} {outcome.status}"
    if outcome.error is not None:
        said += f": {outcome.error}"
    return said if ui is None else f"{said}, see {ui}/executions/{outcome.execution_id}"
