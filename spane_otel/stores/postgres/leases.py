"""Leases: who runs an execution."""

from spane_otel.stores.postgres.part import Part


class Leases(Part):
    """Leases: who runs an execution."""
