"""What an engine does beside running: renewing leases, taking over what others left, noticing what others change."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from spane_otel.clock import SECOND
from spane_otel.engine.runner import Runner
from spane_otel.engine.runtime import Runtime
from spane_otel.errors import StoreError

CLAIMED_AT_ONCE: Final = 10
WATCH_SECONDS: Final = 1.0
"""How often changes that others make to executions of ours are looked for."""

_log: Final = logging.getLogger(__name__)


class Keeping:
    """The tasks that go round beside the runs of an engine, each at its own pace."""

    def __init__(
        self,
        runtime: Runtime,
        runner: Runner,
        *,
        recovery_seconds: float,
    ) -> None:
        self._runtime: Final = runtime
        self._runner: Final = runner
        self._unrun: set[str] = set()
        """Executions whose lease was ours at the last renewal although they did not run here."""
        self._cursor: str | None = None
        self._paces: Final = (
            (self._renew, runtime.lease.seconds / 3, False),
            (self._recover, recovery_seconds, True),
            (self._watch, WATCH_SECONDS, False),
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._repeat(*pace), name=f"spane-engine{pace[0].__name__}") for pace in self._paces
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, action: Callable[[], Awaitable[None]], seconds: float, at_once: bool) -> None:
        clock = self._runtime.clock
        has_failed = False
        if not at_once:
            await clock.sleep_until(clock.now_ns() + int(seconds * SECOND))
        while True:
            try:
                await action()
                has_failed = False
            except StoreError as error:
                if not has_failed:
                    _log.warning("%s: %s", action.__name__.strip("_"), error)
                has_failed = True
            except Exception:  # noqa: BLE001 - these tasks end with the engine, whatever happens
                _log.exception("the engine goes on without having done: %s", action.__name__.strip("_"))
            await clock.sleep_until(clock.now_ns() + int(seconds * SECOND))

    async def _renew(self) -> None:
        """Keep what runs here ours, and stop what is not any more."""
        runs = dict(self._runtime.runs)
        if not runs and not self._unrun:
            return
        held = set(await self._runtime.store.renew_leases(self._runtime.lease))
        for execution_id, run in runs.items():
            if execution_id not in held and not run.has_ended:
                run.give_up("another runner holds its lease")
        unrun = {each for each in held if not self._runner.is_ours(each)}
        for execution_id in unrun & self._unrun:
            await self._runner.take_over(execution_id)  # it was made for us, and we were not told
        self._unrun = unrun

    async def _recover(self) -> None:
        """Fail what is out of time, then take over executions whose runner is gone, as many as there is room for."""
        store, known = self._runtime.store, sorted(self._runtime.versions.known)
        await store.sweep_timeouts()
        while known and (limit := min(self._runner.room, CLAIMED_AT_ONCE)) > 0:
            claimed = await store.claim_executions(self._runtime.lease, workflow_ids=known, limit=limit)
            for execution_id in claimed:
                _log.info("execution %r is taken over", execution_id)
                await self._runner.take_over(execution_id)
            if len(claimed) < limit:
                return

    async def _watch(self) -> None:
        """Let the runs know what others have made of their executions: paused, resumed, cancelled, out of time."""
        runtime = self._runtime
        if not runtime.runs:
            self._cursor = None
            return
        is_first = self._cursor is None
        self._cursor, changes = await runtime.store.poll_changes(self._cursor)
        changed = {change.execution_id for change in changes if change.kind == "execution"}
        for execution_id, run in list(runtime.runs.items()):
            if not run.has_ended and (is_first or execution_id in changed):
                await run.observe(await runtime.store.get_execution(execution_id))
