"""Fails executions whose time is up, as long as it runs.

Any number of sweepers may work on one database: an execution is failed once, by whoever comes first.
"""

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol, Self

from spane_otel.errors import ConfigurationError, StoreError

_log: Final = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 5.0
BATCH: Final = 1_000


class Swept(Protocol):
    """What a sweeper asks of a store."""

    async def sweep_timeouts(self, limit: int = 1_000) -> list[str]: ...


class Sweeper:
    """Sweeps a store every `interval` seconds, from the start until it is closed; an async context manager.

    A store that does not answer, or refuses, is asked again at the next turn: one warning when that begins, one line
    when it is over.

    Raises:
        ConfigurationError: `interval` is not above 0.

    """

    def __init__(self, store: Swept, interval: float = INTERVAL_SECONDS) -> None:
        if interval <= 0:
            raise ConfigurationError("the sweeper's interval must be above 0 seconds")
        self._store: Final = store
        self._interval: Final = interval
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False
        self.failed = 0
        """Executions that this sweeper has failed."""

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def start(self) -> None:
        """Begin in the running loop, with a sweep at once; one that runs already goes on."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="spane-sweeper")

    async def aclose(self) -> None:
        """Stop; safe to call twice. A sweep that is under way is cancelled: what it did holds, or was not done."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def sweep(self) -> list[str]:
        """Fail every execution whose time is up now; return their ids.

        Raises:
            StoreError: the store does not answer, or refuses.

        """
        swept: list[str] = []
        while True:
            found = await self._store.sweep_timeouts(BATCH)
            swept += found
            self.failed += len(found)
            if len(found) < BATCH:
                return swept

    async def _run(self) -> None:
        while True:
            try:
                swept = await self.sweep()
            except StoreError as error:
                if not self._is_failing:
                    _log.warning("time-outs are not swept: %s", error)
                self._is_failing = True
            except Exception:  # noqa: BLE001 - nobody waits for this task; it outlives any failure of a store
                _log.exception("sweeping time-outs failed")
                self._is_failing = True
            else:
                if self._is_failing:
                    _log.warning("time-outs are swept again")
                self._is_failing = False
                if swept:
                    _log.info("%d executions failed: their time was up", len(swept))
            await asyncio.sleep(self._interval)
