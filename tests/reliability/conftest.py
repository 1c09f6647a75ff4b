"""A database for machines that make thousands of small histories."""

from collections.abc import Iterator

import pytest

from tests.servers import PostgresServer


@pytest.fixture
def machine_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database of one machine's own, to be emptied between its examples."""
    url = postgres_server.create_database(template=migrated_template)
    yield url
    postgres_server.drop_database(url)
