"""What moves between stores."""

from spane_otel.stores.postgres.part import Part


class Archives(Part):
    """What moves between stores."""
