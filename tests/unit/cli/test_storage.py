import pytest

from spane_otel.cli import storage
from spane_otel.cli.storage import choose_store, database_url
from spane_otel.errors import ConfigurationError, MissingExtraError
from spane_otel.settings import Settings


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "is_installed", lambda: False)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Settings(), "embedded"),
        (Settings(database_url="postgresql://h/n"), "postgres"),
        (Settings(store="memory", database_url="postgresql://h/n"), "memory"),
        (Settings(store="embedded", database_url="postgresql://h/n"), "embedded"),
        (Settings(store="postgres"), "postgres"),
    ],
)
def test_the_option_wins_then_a_named_database_then_embedded(settings: Settings, kind: str) -> None:
    assert choose_store(settings) == kind


@pytest.mark.usefixtures("without_extra")
def test_without_a_database_and_the_extra_memory_is_used_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_store(Settings()) == "memory"
    assert "warning: nothing survives this process" in capsys.readouterr().err


@pytest.mark.usefixtures("without_extra")
def test_embedded_without_its_extra_says_which() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'spane-otel\[embedded\]'"):
        choose_store(Settings(store="embedded"))


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p@h:5/n?a=b", "postgresql://u:p@h:5/n?a=b"),
        ("postgres://h/n", "postgresql://h/n"),
        ("postgresql+asyncpg://h/n", "postgresql://h/n"),
    ],
)
def test_the_driver_that_an_application_wrote_into_its_url_does_not_matter(given: str, used: str) -> None:
    assert database_url(Settings(database_url=given)) == used


@pytest.mark.parametrize("url", ["mysql://h/n", "sqlite:///file", "nonsense"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a PostgreSQL"):
        database_url(Settings(database_url=url))


def test_no_database_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="set SPANE_DATABASE_URL or DATABASE_URL to postgresql://"):
        database_url(Settings())
