"""The parts of the PostgreSQL store that need no server."""

import asyncio
from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import PostgresError

from spane_otel.errors import ConfigurationError, InvalidValueError
from spane_otel.stores.cursors import encode_cursor
from spane_otel.stores.postgres.bisection import isolate
from spane_otel.stores.postgres.changes import _decode, _encode
from spane_otel.stores.postgres.classify import Fate, classify, poison_reason
from spane_otel.stores.postgres.database import PoisonError
from spane_otel.stores.postgres.known import Known
from spane_otel.stores.postgres.pool import BusyPoolError, PoolSettings


def server_error(state: str, constraint: str | None = None) -> PostgresError:
    fields = {"C": state, "M": "message", "S": "ERROR"}
    if constraint is not None:
        fields["n"] = constraint
    error = PostgresError.new(fields)
    assert isinstance(error, PostgresError)
    return error


@pytest.mark.parametrize(
    ("state", "fate"),
    [
        ("08000", Fate.RECONNECT),
        ("08003", Fate.RECONNECT),
        ("08006", Fate.RECONNECT),
        ("25006", Fate.RECONNECT),
        ("25P03", Fate.RECONNECT),
        ("57P01", Fate.RECONNECT),
        ("57P03", Fate.RECONNECT),
        ("58030", Fate.RECONNECT),
        ("40001", Fate.RETRY),
        ("40P01", Fate.RETRY),
        ("53100", Fate.RETRY),
        ("53300", Fate.RETRY),
        ("55P03", Fate.RETRY),
        ("57014", Fate.RETRY),
        ("22021", Fate.POISON),
        ("22P02", Fate.POISON),
        ("22P05", Fate.POISON),
        ("54000", Fate.POISON),
        ("54001", Fate.POISON),
        ("26000", Fate.POOLED),
        ("42P05", Fate.POOLED),
        ("28P01", Fate.UNREACHABLE),
        ("3D000", Fate.UNREACHABLE),
        ("3F000", Fate.SCHEMA),
        ("42P01", Fate.SCHEMA),
        ("42501", Fate.FATAL),
        ("XX000", Fate.FATAL),
    ],
)
def test_the_server_s_state_decides(state: str, fate: Fate) -> None:
    assert classify(server_error(state)) is fate


def test_a_plan_that_a_migration_made_stale_is_made_again() -> None:
    assert classify(asyncpg.InvalidCachedStatementError("result type changed")) is Fate.RETRY


@pytest.mark.parametrize(
    ("size", "read", "ingest", "write"), [(20, 10, 5, 5), (8, 4, 2, 2), (4, 2, 1, 1), (3, 1, 1, 1), (1, 1, 1, 1)]
)
def test_connections_are_shared_out_and_everyone_has_one(size: int, read: int, ingest: int, write: int) -> None:
    assert PoolSettings(size=size).shares == {"read": read, "ingest": ingest, "write": write}


def test_the_pool_is_by_default_as_spane_documents_it() -> None:
    settings = PoolSettings()
    assert (settings.size, settings.idle_seconds, settings.connect_seconds) == (20, 20, 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 1.5},
        {"size": True},
        {"idle_seconds": 0},
        {"connect_seconds": -1},
        {"statement_seconds": float("nan")},
        {"statement_seconds": float("inf")},
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        PoolSettings(**wrong)


def test_a_missing_partition_is_told_from_a_violated_check() -> None:
    assert classify(server_error("23514")) is Fate.NO_PARTITION
    assert classify(server_error("23514", "executions_status_check")) is Fate.POISON


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (ConnectionRefusedError(), Fate.RECONNECT),
        (TimeoutError(), Fate.RECONNECT),
        (BusyPoolError(), Fate.RETRY),
        (asyncpg.InternalClientError("cannot switch to state 11"), Fate.RECONNECT),
        (asyncpg.InterfaceError("connection is closed"), Fate.RECONNECT),
        (asyncpg.InterfaceError("cannot perform operation: another operation is in progress"), Fate.FATAL),
        (asyncio.IncompleteReadError(b"", 1), Fate.RECONNECT),
        (asyncpg.ClientConfigurationError("invalid DSN"), Fate.FATAL),
        (OverflowError(), Fate.POISON),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate"), Fate.POISON),
        (KeyError("ours"), Fate.FATAL),
    ],
)
def test_the_driver_s_own_errors_are_known(error: BaseException, fate: Fate) -> None:
    assert classify(error) is fate


def test_a_poisoned_row_is_counted_under_a_word() -> None:
    assert [poison_reason(server_error(state)) for state in ("54000", "54001", "22021")] == [
        "too_large",
        "too_deep",
        "invalid_value",
    ]


async def test_bad_rows_are_found_with_few_attempts() -> None:
    bad = {3, 300, 301}
    stored: list[int] = []
    attempts = 0

    async def attempt(rows: "list[int] | tuple[int, ...] | range") -> None:
        nonlocal attempts
        attempts += 1
        if bad & set(rows):
            raise PoisonError(ValueError("bad"))
        stored.extend(rows)

    refused = await isolate(range(512), attempt)  # type: ignore[arg-type]  # a range is a sequence too
    assert {row for row, _ in refused} == bad
    assert sorted(stored) == [row for row in range(512) if row not in bad]
    assert attempts <= 2 * 9 * len(bad) + 1


async def test_nothing_is_attempted_for_no_rows() -> None:
    async def attempt(rows: object) -> None:
        raise AssertionError

    assert await isolate([], attempt) == []


def test_what_is_known_is_bounded_and_not_believed_for_ever() -> None:
    now = 0.0
    known: Known[str, bool] = Known(limit=2, seconds=60, clock=lambda: now)
    known.add([("a", True), ("b", True), ("c", True)])
    assert known.unknown(["a", "b", "c", "a"]) == ["a"]
    now = 61
    assert known.unknown(["b", "c"]) == ["b", "c"]
    known.add([("b", True)])
    known.forget(lambda key: key == "b")
    assert known.get("b") is None


@pytest.mark.parametrize("snapshot", ["5:5:", "5:9:5,7", "1:1:"])
def test_a_snapshot_comes_back_from_its_cursor(snapshot: str) -> None:
    assert _decode(_encode(snapshot, 17)) == (snapshot, 17)


def test_a_snapshot_with_hundreds_of_writers_is_cut_to_the_oldest() -> None:
    running = ",".join(str(number) for number in range(1_000, 2_000))
    assert _decode(_encode(f"1000:2000:{running}", 1)) == ("1000:1000:", 1)


@pytest.mark.parametrize(
    "snapshot", ["", "5", "5:4:", "0:0:", "5:9:9,7", "5:9:4", "5:9:5,5", "5:9:5,", f"5:{2**63}:", "5:9:10", "a:b:c"]
)
def test_a_snapshot_that_the_server_would_refuse_is_no_cursor(snapshot: str) -> None:
    with pytest.raises(InvalidValueError):
        _decode(encode_cursor(snapshot, 1))


def test_a_cursor_s_time_is_a_time() -> None:
    for at_us in (-1, 2**60):
        with pytest.raises(InvalidValueError):
            _decode(encode_cursor("5:5:", at_us))
