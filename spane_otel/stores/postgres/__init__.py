"""A store in PostgreSQL. Its SQL is in sql/, its decisions in the architecture record."""

from spane_otel.stores.postgres.store import PostgresExecutionStore as PostgresExecutionStore

__all__ = ["PostgresExecutionStore"]
