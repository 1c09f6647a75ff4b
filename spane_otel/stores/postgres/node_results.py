"""Node results: written in groups, read by their latest attempt."""

from spane_otel.stores.postgres.part import Part


class NodeResults(Part):
    """Node results: written in groups, read by their latest attempt."""
