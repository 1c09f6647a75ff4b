"""Spans and logs that are written by hand."""

from spane_otel.stores.postgres.part import Part


class AddedTelemetry(Part):
    """Spans and logs that are written by hand."""
