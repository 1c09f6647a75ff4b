"""Workflows and their versions."""

from spane_otel.stores.postgres.part import Part


class Workflows(Part):
    """Workflows and their versions."""
