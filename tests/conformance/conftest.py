"""Every test of this folder runs against every store of subjects.py."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from spane_otel.stores.protocols import Store
from tests.conformance.subjects import SUBJECTS, Subject


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
async def subject(request: pytest.FixtureRequest, subject_url: str) -> AsyncIterator[Subject]:
    """The store under test."""
    async with SUBJECTS[request.param](subject_url) as opened:
        yield opened


@pytest.fixture
def subject_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database of this test's own, for a subject that needs one."""
    name = request.node.callspec.params["subject"]
    return str(request.getfixturevalue("migrated_postgres_url")) if name.startswith("postgres") else "memory:"


@pytest.fixture
def store(subject: Subject) -> Store:
    return subject.store
