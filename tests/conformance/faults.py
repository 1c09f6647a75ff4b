"""Faults in front of a store, and the caller who meets them.

The decisive fault is "executed, then raised": the store has committed, and the caller hears that it has not.
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from spane_otel.errors import StoreUnavailableError
from spane_otel.ids import new_execution_id
from spane_otel.records import Batch, ExecutionStatus, WriteResult
from spane_otel.stores.protocols import Store

T = TypeVar("T")


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
    """Of each writer's calls, every other one is executed and then raises."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.faults = 0
        self._fails_next = True

    async def _fault(self, call: Awaitable[T]) -> T:
        answer = await call
        fails, self._fails_next = self._fails_next, not self._fails_next
        if fails:
            self.faults += 1
            raise StoreUnavailableError("executed, then raised")
        return answer

    async def write(self, batch: Batch) -> WriteResult:
        return await self._fault(self.inner.write(batch))

    async def create_execution(self, *args: Any, **kwargs: Any) -> str:
        return await self._fault(self.inner.create_execution(*args, **kwargs))

    async def set_execution_status(self, execution_id: str, status: ExecutionStatus, **kwargs: Any) -> bool:
        return await self._fault(self.inner.set_execution_status(execution_id, status, **kwargs))

    async def delete_execution(self, execution_id: str) -> bool:
        return await self._fault(self.inner.delete_execution(execution_id))


class RetryingStore(StoreWrapper):
    """A caller who tries a writer again while the store is unavailable, and names what it creates."""

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except StoreUnavailableError:
                continue

    async def write(self, batch: Batch) -> WriteResult:
        return await self._retry(lambda: self.inner.write(batch))

    async def create_execution(self, *args: Any, **kwargs: Any) -> str:
        if kwargs.get("execution_id") is None:
            kwargs["execution_id"] = new_execution_id()
        return await self._retry(lambda: self.inner.create_execution(*args, **kwargs))

    async def set_execution_status(self, execution_id: str, status: ExecutionStatus, **kwargs: Any) -> bool:
        return await self._retry(lambda: self.inner.set_execution_status(execution_id, status, **kwargs))

    async def delete_execution(self, execution_id: str) -> bool:
        return await self._retry(lambda: self.inner.delete_execution(execution_id))
