"""Settings: names, values, suggestions, Kubernetes' own variables, and secrets that are never shown."""

from typing import Any

import pytest

from spane_otel.errors import ConfigurationError
from spane_otel.settings import Settings, mask_url, variable_of


def test_nothing_given_is_the_defaults_and_no_complaint() -> None:
    assert Settings.from_env({}) == (Settings(), [])
    assert Settings().port == 4380


def test_every_field_is_read_from_its_variable() -> None:
    given: dict[str, tuple[str, Any]] = {
        "store": ("embedded", "embedded"),
        "data_dir": ("/data", "/data"),
        "host": ("localhost", "localhost"),
        "port": ("0", 0),
        "otlp_http_port": ("14318", 14318),
        "otlp_grpc_port": ("14317", 14317),
        "workers": ("4", 4),
        "database_url": ("postgresql://u@h/db", "postgresql://u@h/db"),
        "schema": ("traces", "traces"),
        "redis_url": ("redis://h", "redis://h"),
        "endpoint": ("http://h:4318", "http://h:4318"),
        "forward": ("http://a, http://b,,", ("http://a", "http://b")),
        "retention_days": ("7", 7),
        "retention_failed_days": ("60", 60),
        "max_bytes": ("1000000000000", 10**12),
        "accept_past": ("30d", "30d"),
        "spool_dir": ("/spool", "/spool"),
        "pool_size": ("8", 8),
        "pool_idle_seconds": ("60", 60.0),
        "pool_connect_seconds": ("2.5", 2.5),
        "statement_seconds": ("30", 30.0),
        "cache_ttl_seconds": ("600", 600.0),
        "sweep_seconds": ("0.5", 0.5),
        "memory_max_executions": ("50", 50),
        "memory_max_logs_per_execution": ("200", 200),
        "memory_max_spans_per_execution": ("100", 100),
        "memory_finished_ttl_seconds": ("60", 60.0),
        "memory_max_spans": ("5000", 5000),
        "memory_max_logs": ("6000", 6000),
        "memory_cleanup_seconds": ("1.5", 1.5),
    }
    assert set(given) == set(Settings.__struct_fields__)
    settings, complaints = Settings.from_env({variable_of(field): raw for field, (raw, _) in given.items()})
    assert complaints == []
    assert settings == Settings(**{field: value for field, (_, value) in given.items()})


def test_an_empty_value_counts_as_not_given() -> None:
    assert Settings.from_env({"SPANE_PORT": "", "SPANE_DATABASE_URL": ""}) == (Settings(), [])


def test_other_variables_are_nobodys_business() -> None:
    assert Settings.from_env({"PATH": "/bin", "DATABASE_URL": "postgresql://other", "OTEL_X": "1"}) == (Settings(), [])


@pytest.mark.parametrize(
    ("raw", "variable", "wanted"),
    [
        ("x1", "SPANE_PORT", "a whole number"),
        ("4.5", "SPANE_WORKERS", "a whole number"),
        ("-", "SPANE_MAX_BYTES", "a whole number"),
        ("1m", "SPANE_SWEEP_SECONDS", "a number"),
    ],
)
def test_a_value_that_cannot_be_read_names_the_variable_and_not_the_value(raw: str, variable: str, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{variable} must be {wanted}") as refused:
        Settings.from_env({variable: raw})
    assert raw not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("SPANE_DATABSE_URL", "SPANE_DATABASE_URL"),
        ("SPANE_PORTS", "SPANE_PORT"),
        ("SPANE_ENDPIONT", "SPANE_ENDPOINT"),
        ("SPANE_RETENTION_DAY", "SPANE_RETENTION_DAYS"),
        ("SPANE_port", "SPANE_PORT"),
    ],
)
def test_an_unknown_setting_is_a_complaint_that_suggests_the_right_name(name: str, suggested: str) -> None:
    settings, complaints = Settings.from_env({name: "secret-value"})
    assert settings == Settings()
    (complaint,) = complaints
    assert complaint == f"unknown setting {name}: did you mean {suggested}?"


def test_a_setting_like_no_other_gets_no_suggestion() -> None:
    assert Settings.from_env({"SPANE_ZZZZZZ": "1"})[1] == ["unknown setting SPANE_ZZZZZZ"]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("SPANE_PORT", "tcp://10.0.0.1:4380"),
        ("SPANE_PORT", "udp://10.0.0.1:53"),
        ("SPANE_PORT", "sctp://10.0.0.1:1"),
        ("SPANE_SERVICE_HOST", "10.0.0.1"),
        ("SPANE_SERVICE_PORT", "4380"),
        ("SPANE_SERVICE_PORT_HTTP", "4380"),
        ("SPANE_PORT_4380_TCP", "tcp://10.0.0.1:4380"),
        ("SPANE_PORT_4380_TCP_PROTO", "tcp"),
        ("SPANE_PORT_4380_TCP_PORT", "4380"),
        ("SPANE_PORT_4380_UDP_ADDR", "10.0.0.1"),
        ("SPANE_PORT_1_SCTP_ADDR", "10.0.0.1"),
        ("SPANE_OTEL_SERVICE_HOST", "10.0.0.1"),
        ("SPANE_OTEL_UI_SERVICE_PORT_OTLP_HTTP", "4318"),
        ("SPANE_OTEL_PORT", "tcp://10.0.0.1:4380"),
        ("SPANE_OTEL_PORT_4318_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_kubernetes_sets_for_a_service_is_ignored(name: str, raw: str) -> None:
    assert Settings.from_env({name: raw}) == (Settings(), [])


@pytest.mark.parametrize("name", ["SPANE_SERVICES_HOST", "SPANE_PORT_X_TCP", "SPANE_SERVICE", "SPANE_OTEL_HOST"])
def test_what_only_resembles_a_service_link_is_a_complaint(name: str) -> None:
    assert len(Settings.from_env({name: "10.0.0.1"})[1]) == 1


def test_a_shown_setting_never_shows_a_password() -> None:
    settings = Settings(
        database_url="postgresql://me:pass-1@h/db",
        redis_url="redis://:pass-2@h",
        endpoint="http://me:pass-3@h",
        forward=("http://me:pass-4@h", "http://plain"),
    )
    for text in (repr(settings), str(settings), f"{settings}", f"{[settings]}"):
        assert "pass-" not in text
        assert "postgresql://me:***@h/db" in text
        assert "http://plain" in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/db?sslmode=require", "postgresql://u:***@h:5432/db?sslmode=require"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgresql://u:p@x@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p:q@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h/db?user=u&password=p", "postgresql://h/db?user=u&password=***"),
        ("postgresql://h/db?PASSWORD=p&x=1", "postgresql://h/db?PASSWORD=***&x=1"),
        ("postgresql://h/db?sslpassword=p", "postgresql://h/db?sslpassword=***"),
        ("redis://:p@h", "redis://:***@h"),
        ("http://h/v1?token=t", "http://h/v1?token=***"),
        ("http://[bad", "http://[bad"),
        ("host=h user=u password=p dbname=d", "host=h user=u password=*** dbname=d"),
        ("password='p q' host=h", "password=*** host=h"),
        ("http://h:4318/v1/traces", "http://h:4318/v1/traces"),
        ("plain text", "plain text"),
    ],
)
def test_a_masked_url_keeps_all_but_the_secret(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_a_password_with_a_slash_or_a_hash_is_masked() -> None:
    """People paste them unescaped; then a URL's parts are not where they seem to be."""
    for password in ("pa/ss", "pa#ss", "pa?ss", "pa@ss", "12/34@56", "pa ss", "pa\nss", ":@/"):
        assert mask_url(f"postgresql://u:{password}@h/db") == "postgresql://u:***@h/db"
