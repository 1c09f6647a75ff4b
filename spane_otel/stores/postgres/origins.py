"""Resources and scopes that this process has read: they are stored under the hash of their content, so none changes."""

import threading
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from asyncpg.pgproto.pgproto import UUID

from spane_otel.records import Resource, Scope

T = TypeVar("T")

MOST: Final = 10_000


class Origins(Generic[T]):
    """A bounded memory of records by their hash; used from several threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: dict[UUID, T] = {}

    def get(self, key: UUID) -> T | None:
        return self._held.get(key)

    def unknown(self, keys: Iterable[UUID]) -> list[UUID]:
        """Return those of `keys` that are not held."""
        return [key for key in keys if key not in self._held]

    def add(self, key: UUID, record: T) -> None:
        """Hold a record; the oldest makes room."""
        with self._lock:
            self._held[key] = record
            while len(self._held) > self._most:
                del self._held[next(iter(self._held))]


Resources = Origins[Resource]
Scopes = Origins[Scope]
