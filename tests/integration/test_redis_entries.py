"""What Redis keeps is what was read last, whatever comes in between."""

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from redis.asyncio import Redis

from spane_otel.errors import ConfigurationError
from spane_otel.stores.cached import entries as module
from spane_otel.stores.cached.entries import OWED_LIMIT, REST_SECONDS, Entries
from spane_otel.stores.cached.scripts import KEEP_MILLISECONDS
from tests.redis_servers import RedisProcess, silent_server


class Time:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def name_one() -> str:
    return "one"


@asynccontextmanager
async def opened(
    url: str,
    *,
    name: str = "one",
    now: Callable[[], float] = monotonic,
    timeout_seconds: float = 2.0,
    ttl_seconds: float = 60,
) -> AsyncIterator[Entries]:
    async def identify() -> str:
        return name

    entries = Entries(url, identify, ttl_seconds=ttl_seconds, timeout_seconds=timeout_seconds, now=now)
    try:
        yield entries
    finally:
        await entries.aclose()


async def keep(entries: Entries, execution_id: str, **values: bytes) -> None:
    entry = await entries.look_up(execution_id, [])
    assert entry is not None
    await entries.keep(entry, execution_id, values)


async def kept(entries: Entries, execution_id: str, *fields: str) -> list[bytes | None] | None:
    entry = await entries.look_up(execution_id, fields)
    return None if entry is None else entry.values


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is another task's and has no event
            await asyncio.sleep(0.01)


async def test_what_is_kept_is_found_by_everybody_who_names_the_same_data(redis_url: str) -> None:
    async with opened(redis_url) as mine, opened(redis_url) as other, opened(redis_url, name="two") as foreign:
        await keep(mine, "e", a=b"\x00\xff")
        assert await kept(other, "e", "a", "b") == [b"\x00\xff", None]
        assert await kept(foreign, "e", "a") == [None]
        await other.set("w:1:w", b"workflow")
        assert await mine.get("w:1:w") == b"workflow"
        assert await foreign.get("w:1:w") is None


async def test_every_key_begins_with_spane_and_nearly_every_one_expires_after_its_time(redis_url: str) -> None:
    async with opened(redis_url, ttl_seconds=60) as entries, Redis.from_url(redis_url) as redis:
        await keep(entries, "e", a=b"1")
        await entries.set("w:1:w", b"1")
        await entries.forget(["f"])
        keys = [key.decode() async for key in redis.scan_iter()]
        assert len(keys) == 4
        assert all(key.startswith("spane:cache:one:") for key in keys)
        for key in keys:
            left = await redis.pttl(key)
            assert 0 < left <= (30 * 86_400_000 if key.endswith(":epoch") else 60_000)


async def test_what_is_forgotten_is_gone_for_everybody(redis_url: str) -> None:
    async with opened(redis_url) as mine, opened(redis_url) as other:
        for execution_id in ("e", "f"):
            await keep(mine, execution_id, a=b"1", b=b"2")
        await other.forget(["e"])
        await other.forget(["f"], "a")
        assert await kept(mine, "e", "a", "b") == [None, None]
        assert await kept(mine, "f", "a", "b") == [None, b"2"]


async def test_what_was_read_before_a_change_is_not_kept_after_it(redis_url: str) -> None:
    async with opened(redis_url) as reader, opened(redis_url) as writer:
        entry = await reader.look_up("e", ["a"])
        assert entry is not None
        await writer.forget(["e"])
        await reader.keep(entry, "e", {"a": b"old"})
        assert await kept(reader, "e", "a") == [None]
        await keep(reader, "e", a=b"new")
        assert await kept(writer, "e", "a") == [b"new"]


async def test_while_a_change_is_under_way_nothing_is_kept(redis_url: str) -> None:
    async with opened(redis_url) as reader, opened(redis_url) as writer:
        await writer.forget(["e"], hold=True)
        await keep(reader, "e", a=b"old")
        assert await kept(reader, "e", "a") == [None]
        await writer.forget(["e"])
        await keep(reader, "e", a=b"new")
        assert await kept(reader, "e", "a") == [b"new"]


async def test_what_was_looked_up_long_ago_is_not_kept(redis_url: str) -> None:
    """The generation that a change leaves behind lives no longer than a look-up counts."""
    async with opened(redis_url) as entries:
        entry = await entries.look_up("e", [])
        assert entry is not None
        for milliseconds, expected in ((-KEEP_MILLISECONDS - 1_000, None), (60_000, None), (0, b"1")):
            aged = module.Entry(
                [], False, entry.milliseconds + milliseconds, entry.generation, entry.epoch, entry.prefix
            )
            await entries.keep(aged, "e", {"a": b"1"})
            assert await kept(entries, "e", "a") == [expected]


async def test_a_server_that_starts_again_from_a_snapshot_brings_nothing_back() -> None:
    """What was deleted while it was down, or after the snapshot, would stand there again."""
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        async with opened(server.url) as entries:
            await keep(entries, "e", a=b"1")
            async with Redis.from_url(server.url) as redis:
                await redis.save()
                before = {key async for key in redis.scan_iter()}
            server.restart()
            async with Redis.from_url(server.url) as redis:
                assert {key async for key in redis.scan_iter()} == before != set()
            assert await kept(entries, "e", "a") is None  # the connection is lost
        async with opened(server.url) as entries:
            assert await kept(entries, "e", "a") == [None]


async def test_a_connection_to_another_life_of_the_server_is_refused() -> None:
    """It is made without an error, and what is asked for has the keys of the life before."""
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        async with opened(server.url) as entries:
            await keep(entries, "e", a=b"1")
            async with Redis.from_url(server.url) as redis:
                await redis.save()
            await entries._clients.get()._redis.connection_pool.disconnect()
            server.restart()
            assert await kept(entries, "e", "a") is None


async def test_a_dead_server_costs_one_failure_in_some_seconds() -> None:
    time = Time()
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        async with opened(server.url, now=time) as entries:
            await keep(entries, "e", a=b"1")
            server.stop()
            assert await kept(entries, "e", "a") is None
            assert await kept(entries, "e", "a") is None
            assert (entries.counts["failed"], entries.counts["skipped"]) == (1, 1)
            server.start()
            assert await kept(entries, "e", "a") is None
            time.now += REST_SECONDS
            assert await kept(entries, "e", "a") == [None]
            await keep(entries, "e", a=b"2")
            assert await kept(entries, "e", "a") == [b"2"]


async def test_a_server_that_never_answers_costs_a_bounded_time() -> None:
    time = Time()
    async with silent_server() as url, opened(url, now=time, timeout_seconds=0.05) as entries:
        begun = monotonic()
        answers = await asyncio.gather(*(kept(entries, f"e{number}", "a") for number in range(20)))
        assert answers == [None] * 20
        assert monotonic() - begun < 2.0
        await kept(entries, "e", "a")
        assert entries.counts["failed"] >= 1
        assert entries.counts["failed"] + entries.counts["skipped"] == 21
        assert entries.counts["skipped"] >= 1


async def test_what_could_not_be_forgotten_is_once_the_server_answers_again() -> None:
    time = Time()
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        async with opened(server.url, now=time, timeout_seconds=0.2) as writer, opened(server.url) as reader:
            await keep(reader, "e", a=b"1")
            await kept(writer, "e")  # connected
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await writer.forget(["e"])
                time.now += REST_SECONDS
                assert await kept(writer, "e", "a") is None  # who owes it does not read it
                assert writer.counts["failed"] == 1
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await until(lambda: not writer._owed)
            assert await kept(reader, "e", "a") == [None]


async def test_a_caller_who_is_cancelled_while_forgetting_leaves_it_owed() -> None:
    async with silent_server() as url, opened(url, timeout_seconds=5) as entries:
        task = asyncio.create_task(entries.forget(["e"]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert list(entries._owed) == ["e"]


async def test_where_too_much_is_owed_everything_is_forgotten() -> None:
    time = Time()
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        async with opened(server.url) as reader, opened(server.url, now=time, timeout_seconds=0.2) as writer:
            await keep(reader, "e", a=b"1")
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await writer.forget(["another"])
                await writer.forget([str(number) for number in range(OWED_LIMIT)])
                assert writer._owes_all
                assert len(writer._owed) == 0
            finally:
                os.kill(server.pid, signal.SIGCONT)
            await until(lambda: not writer._owes_all)
            assert await kept(reader, "e", "a") == [None]


async def test_what_was_looked_up_before_everything_was_forgotten_is_not_kept(redis_url: str) -> None:
    async with opened(redis_url) as reader, opened(redis_url) as writer:
        entry = await reader.look_up("e", [])
        assert entry is not None
        writer._owes_all = True
        await writer._settle()
        await reader.keep(entry, "e", {"a": b"old"})
        assert await kept(reader, "e", "a") == [None]


async def test_owed_is_paid_once_more_at_the_end() -> None:
    time = Time()
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        async with opened(server.url) as reader:
            await keep(reader, "e", a=b"1")
            async with opened(server.url, now=time) as writer:
                writer._resting_until = float("inf")
                await writer.forget(["e"])
                assert await kept(reader, "e", "a") == [b"1"]
            assert await kept(reader, "e", "a") == [None]


async def test_a_store_that_can_not_be_named_is_not_cached(redis_url: str) -> None:
    async def fail() -> str:
        raise ConnectionRefusedError

    entries = Entries(redis_url, fail, ttl_seconds=60, timeout_seconds=1)
    assert await kept(entries, "e", "a") is None
    await entries.aclose()


async def test_a_full_server_forgets_all_the_same() -> None:
    with tempfile.TemporaryDirectory() as folder, RedisProcess(folder) as server:
        async with opened(server.url) as entries, Redis.from_url(server.url) as redis:
            await keep(entries, "e", a=b"1")
            await redis.config_set("maxmemory", "1")
            await entries.forget(["e"])
            assert [key async for key in redis.scan_iter("*:e:*")] == []
            await redis.config_set("maxmemory", "0")
            await until(lambda: not entries._owed)


async def test_each_event_loop_has_its_own_connections(redis_url: str) -> None:
    found: list[Any] = []
    async with opened(redis_url) as entries:
        await keep(entries, "e", a=b"1")
        thread = threading.Thread(target=lambda: found.append(asyncio.run(kept(entries, "e", "a"))))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert await kept(entries, "e", "a") == [b"1"]
    assert found == [[b"1"]]
    assert entries._clients._by_loop == {}


@pytest.mark.parametrize("url", ["http://127.0.0.1", "localhost:6379", ""])
def test_what_is_no_redis_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Redis"):
        Entries(url, name_one, ttl_seconds=1, timeout_seconds=1)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Entries("rediss+x://user:secret@host/0", name_one, ttl_seconds=1, timeout_seconds=1)
    assert "secret" not in str(caught.value)
