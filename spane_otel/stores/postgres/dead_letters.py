"""Dead letters."""

from spane_otel.stores.postgres.part import Part


class DeadLetters(Part):
    """Dead letters."""
