"""What every part of the store works with: the store is the sum of its parts, one noun per file."""

from spane_otel.clock import Clock
from spane_otel.records import ResourceRow
from spane_otel.stores.postgres.database import Database
from spane_otel.stores.postgres.load import Load
from spane_otel.stores.postgres.traces import Traces


class Part:
    """A part of `PostgresExecutionStore`, which makes these; methods are the protocols'."""

    _database: Database
    _clock: Clock
    _load: Load
    _traces: Traces
    _actor: str | None
    """Who is named in the audit where no worker is."""
    _resource: ResourceRow
    """Of spans and logs that are written by hand."""
    _accept_past_days: float

    def _forget_added(self, execution_id: str) -> None:
        """Believe no longer what was added to an execution by hand; `AddedTelemetry` says what that is."""
