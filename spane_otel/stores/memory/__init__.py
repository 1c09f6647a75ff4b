"""The store that keeps everything in this process: the reference implementation of `stores.protocols`."""

from spane_otel.stores.memory.store import InMemoryExecutionStore

__all__ = ["InMemoryExecutionStore"]
