"""Telemetry of this very process, configured anew for each test."""

import os
from collections.abc import Iterator

import pytest

import spane_otel
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.telemetry import shutdown
from tests.unit.telemetry.sinks import RecordingSink


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of the surrounding shell counts, and nothing stays configured."""
    for name in os.environ:
        if name.startswith(("SPANE_", "OTEL_")):
            monkeypatch.delenv(name)
    yield
    shutdown(2.0)


@pytest.fixture
def sink() -> RecordingSink:
    """A sink that this process is recorded to."""
    sink = RecordingSink()
    spane_otel.configure("shop", store=sink)
    return sink


@pytest.fixture
def store() -> InMemoryExecutionStore:
    """The reference store, which this process is recorded to."""
    store = InMemoryExecutionStore()
    spane_otel.configure("shop", store=store)
    return store
