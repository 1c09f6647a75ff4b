"""What the parts of the service share."""

from collections.abc import Sequence
from dataclasses import dataclass

from spane_otel.clock import Clock
from spane_otel.counters import Counters, MetricSource
from spane_otel.server.changes import ChangeHub
from spane_otel.server.intake import Intake
from spane_otel.stores.protocols import Store


@dataclass(frozen=True)
class Addresses:
    """Where the service answers, as URLs without a path."""

    ui: str
    otlp: str


@dataclass(frozen=True)
class ServerContext:
    """What every endpoint may use."""

    store: Store
    clock: Clock
    counters: Counters
    addresses: Addresses
    changes: ChangeHub
    """Where live pages hear of changes."""
    intake: Intake
    metric_sources: Sequence[MetricSource] = ()
    """What else has figures for `/metrics`."""

    @property
    def store_label(self) -> str:
        """What the store is, for people: a URL without a password, or `memory`."""
        return self.store.address
