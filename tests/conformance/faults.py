"""Faults in front of a store, and the caller who meets them.

The decisive fault is "executed, then raised": the store has committed, and the caller hears that it has not.
"""

import random
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from spane_otel.errors import StoreUnavailableError
from spane_otel.ids import new_execution_id

MUTATORS: Final = frozenset(
    {
        *("write", "add_log", "add_span", "update_span"),
        *("save_workflow", "deactivate_workflow"),
        *("create_execution", "set_execution_status", "delete_execution", "update_execution_metadata"),
        *("set_execution_timeout", "sweep_timeouts"),
        *("update_node_result", "complete_node", "cache_node_result", "retry_dead_letter"),
        *("acquire_lease", "renew_leases", "release_lease", "claim_executions"),
        *("write_workflow", "write_execution", "write_telemetry"),
    }
)
"""What changes a store; test_idempotence.py sees to it that a new one is added."""

_NAMED: Final = {
    "create_execution": "execution_id",
    "add_log": "id",
    "add_span": "id",
    "set_execution_status": "operation",
}
"""What a caller chooses before the first attempt, so that the second is known as the same call."""


class StoreWrapper:
    """Hands every call on to the store inside."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.inner.__aexit__(exc_type, exc, traceback)


class FaultyStore(StoreWrapper):
    """Some calls of mutators, but of those `spared`, are executed and then raise: those of which `fails` says so."""

    def __init__(self, inner: Any, fails: Callable[[], bool], spared: frozenset[str] = frozenset()) -> None:
        super().__init__(inner)
        self.faults = 0
        self._fails = fails
        self._faulty = MUTATORS - spared

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.inner, name)
        return partial(self._call, member) if name in self._faulty else member

    async def _call(self, member: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        answer = await member(*args, **kwargs)
        if self._fails():
            self.faults += 1
            raise StoreUnavailableError("executed, then raised")
        return answer


def every_other() -> Callable[[], bool]:
    """Return what is true at the first call and at every other one after it."""
    fails = False

    def decide() -> bool:
        nonlocal fails
        fails = not fails
        return fails

    return decide


def one_in_ten(seed: int) -> Callable[[], bool]:
    """Return what is true at 10 % of its calls, the same ones for the same seed."""
    draw = random.Random(seed).random
    return lambda: draw() < 0.1


class RetryingStore(StoreWrapper):
    """A caller who tries a mutator again while the store is unavailable, and names what it creates."""

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.inner, name)
        return partial(self._retry, member, _NAMED.get(name)) if name in MUTATORS else member

    async def _retry(self, member: Callable[..., Any], named: str | None, *args: Any, **kwargs: Any) -> Any:
        if named is not None and kwargs.get(named) is None:
            kwargs[named] = new_execution_id()
        while True:
            try:
                return await member(*args, **kwargs)
            except StoreUnavailableError:
                continue
