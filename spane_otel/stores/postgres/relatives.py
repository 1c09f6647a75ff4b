"""Executions by what they have to do with each other, or with the time."""

from spane_otel.stores.postgres.part import Part


class Relatives(Part):
    """Executions by what they have to do with each other, or with the time."""
