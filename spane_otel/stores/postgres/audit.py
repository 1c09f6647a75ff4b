"""The audit of state changes."""

from spane_otel.stores.postgres.part import Part


class Audit(Part):
    """The audit of state changes."""
