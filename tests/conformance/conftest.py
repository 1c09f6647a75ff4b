"""Every test of this folder runs against every store of subjects.py."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from spane_otel.stores.protocols import Store
from tests.conformance.emptying import empty_database
from tests.conformance.subjects import SUBJECTS, Subject
from tests.servers import PostgresServer, run_in_thread


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "first_answers: checks what a writer answers to its first call")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames:
        return
    names = list(SUBJECTS)
    if metafunc.definition.get_closest_marker("first_answers") is not None:
        names = [name for name in names if not name.endswith("-faulty")]
    metafunc.parametrize("subject", names, indirect=True)


@pytest_asyncio.fixture
async def subject(request: pytest.FixtureRequest, subject_urls: tuple[str, str]) -> AsyncIterator[Subject]:
    """The store under test."""
    async with SUBJECTS[request.param](*subject_urls) as opened:
        yield opened


@pytest.fixture
def subject_urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The URLs of a database and of a Redis for a subject whose name asks for them, both empty."""
    name = request.node.callspec.params["subject"]
    return (
        request.getfixturevalue("emptied_postgres_url") if name.startswith("postgres") else "",
        request.getfixturevalue("redis_url") if "cached" in name else "",
    )


@pytest.fixture(scope="session")
def shared_postgres_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of the one database of this folder: to empty it takes a hundredth of the time that a copy takes."""
    url = postgres_server.create_database(template=migrated_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def emptied_postgres_url(shared_postgres_url: str) -> Iterator[str]:
    """The URL of a migrated database without any rows of ours."""
    yield shared_postgres_url
    run_in_thread(empty_database(shared_postgres_url))


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store
