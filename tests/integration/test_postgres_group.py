"""Group commit: what shares a commit, what never does, and whom an error or a cancelled caller concerns."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from spane_otel.errors import InvalidValueError, StoreUnavailableError
from spane_otel.stores.postgres import group as group_module
from spane_otel.stores.postgres.group import ENOUGH, MOST, Group


class Call(NamedTuple):
    family: str
    key: str
    number: int = 0


class Commits:
    """Commits that a test lets go one by one, and what was in them."""

    def __init__(self, *, held: bool = False) -> None:
        self.started: list[list[Call]] = []
        self.done: list[list[Call]] = []
        self.bad: set[int] = set()
        self.errors: list[Exception] = []
        self._busy: list[str] = []
        self._gate = asyncio.Event()
        if not held:
            self._gate.set()
        self.group: Group[Call, int] = Group(self.commit, family=lambda call: call.family, key=lambda call: call.key)

    async def commit(self, calls: Sequence[Call]) -> Sequence[int | Exception]:
        self.started.append(list(calls))
        families = {call.family for call in calls}
        assert not families & set(self._busy)
        assert len({(call.family, call.key) for call in calls}) == len(calls)
        self._busy.extend(families)
        try:
            await self._gate.wait()
            await asyncio.sleep(0)
            if self.errors:
                raise self.errors.pop()
            if self.bad & {call.number for call in calls}:
                raise InvalidValueError("bad", reason="bad")
        finally:
            self._busy = [family for family in self._busy if family not in families]
        self.done.append(list(calls))
        return [call.number for call in calls]

    def release(self) -> None:
        self._gate.set()

    async def settle(self) -> None:
        """Let every task run that can."""
        for _ in range(10):
            await asyncio.sleep(0)

    def run(self, *calls: Call) -> "list[asyncio.Task[int]]":
        return [asyncio.create_task(self.group.run(call)) for call in calls]


async def test_calls_that_come_at_the_same_time_share_a_commit() -> None:
    commits = Commits()
    calls = [Call(f"e{number % 3}", f"n{number}", number) for number in range(10)]
    assert await asyncio.gather(*commits.run(*calls)) == list(range(10))
    assert [sorted(call.number for call in each) for each in commits.done] == [list(range(10))]


async def test_calls_wait_for_the_commit_that_is_on_its_way_and_share_the_next() -> None:
    commits = Commits(held=True)
    first = commits.run(Call("a", "1"))
    await commits.settle()
    rest = commits.run(*(Call("b", str(number), number) for number in range(ENOUGH - 1)))
    await commits.settle()
    assert len(commits.started) == 1
    commits.release()
    await asyncio.gather(*first, *rest)
    assert [len(each) for each in commits.done] == [1, ENOUGH - 1]


async def test_when_enough_wait_a_second_commit_goes_beside_the_first() -> None:
    commits = Commits(held=True)
    first = commits.run(Call("a", "1"))
    await commits.settle()
    rest = commits.run(*(Call("b", str(number), number) for number in range(ENOUGH)))
    await commits.settle()
    assert len(commits.started) == 2
    commits.release()
    await asyncio.gather(*first, *rest)


async def test_a_commit_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One execution's row may be locked by somebody else for long: others go on."""
    monkeypatch.setattr(group_module, "PATIENCE_SECONDS", 0)
    commits = Commits(held=True)
    hanging = commits.run(Call("a", "1"))
    await commits.settle()
    other = commits.run(Call("b", "1"), Call("a", "2"))
    await commits.settle()
    assert commits.started == [[Call("a", "1")], [Call("b", "1")]]
    commits.release()
    await asyncio.gather(*hanging, *other)
    assert commits.done[-1] == [Call("a", "2")]


async def test_calls_of_one_family_are_never_in_two_commits_at_once() -> None:
    """`Commits.commit` asserts it, of the many rounds of this run."""
    commits = Commits()

    async def call_on(family: str, key: str) -> None:
        for number in range(30):
            assert await commits.group.run(Call(family, key, number)) == number

    await asyncio.gather(*(call_on(f"e{place % 5}", f"n{place}") for place in range(40)))
    assert sum(map(len, commits.done)) == 30 * 40


async def test_calls_of_one_key_happen_in_the_order_in_which_they_came() -> None:
    commits = Commits()
    calls = [Call("e", f"n{number % 2}", number) for number in range(20)]
    await asyncio.gather(*commits.run(*calls))
    for key in ("n0", "n1"):
        numbers = [call.number for each in commits.done for call in each if call.key == key]
        assert numbers == sorted(numbers)
    assert len(commits.done) == 10


async def test_a_caller_who_is_cancelled_cancels_nobody_else() -> None:
    commits = Commits(held=True)
    tasks = commits.run(*(Call("e", str(number), number) for number in range(5)))
    await commits.settle()
    tasks[2].cancel()
    commits.release()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:2] + answers[3:] == [0, 1, 3, 4]
    assert isinstance(answers[2], asyncio.CancelledError)
    assert len(commits.done[0]) == 5  # it was on its way already


async def test_a_call_whose_caller_was_cancelled_while_it_waited_does_not_happen() -> None:
    commits = Commits(held=True)
    first = commits.run(Call("e", "1"))
    await commits.settle()
    waiting = commits.run(Call("e", "2", 2), Call("e", "3", 3))
    await commits.settle()
    waiting[0].cancel()
    commits.release()
    await asyncio.gather(*first, *waiting, return_exceptions=True)
    assert [call.number for each in commits.done for call in each] == [0, 3]


async def test_a_value_that_is_refused_costs_only_its_own_caller() -> None:
    commits = Commits()
    commits.bad = {3}
    answers = await asyncio.gather(
        *commits.run(*(Call("e", str(number), number) for number in range(6))), return_exceptions=True
    )
    assert isinstance(answers[3], InvalidValueError)
    assert [answer for answer in answers if isinstance(answer, int)] == [0, 1, 2, 4, 5]


async def test_an_error_of_the_store_is_every_caller_s_and_the_next_calls_go_on() -> None:
    commits = Commits()
    commits.errors = [StoreUnavailableError("gone")]
    answers = await asyncio.gather(*commits.run(Call("a", "1"), Call("b", "1")), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["gone", "gone"]
    assert await commits.group.run(Call("a", "1", 7)) == 7


async def test_a_commit_is_bounded() -> None:
    commits = Commits()
    await asyncio.gather(*commits.run(*(Call(f"e{number}", "n", number) for number in range(2 * MOST + 20))))
    assert max(map(len, commits.done)) == MOST


async def test_many_calls_are_two_commits_at_the_same_time_but_an_execution_s_stay_together() -> None:
    """One is made ready while the database works on the other; what is folded into one row gains nothing by that."""
    spread, on_one = Commits(), Commits()
    await asyncio.gather(*spread.run(*(Call(f"e{number}", "n", number) for number in range(4 * ENOUGH))))
    assert [len(each) for each in spread.done] == [2 * ENOUGH, 2 * ENOUGH]
    await asyncio.gather(*on_one.run(*(Call("e", str(number), number) for number in range(4 * ENOUGH))))
    assert [len(each) for each in on_one.done] == [4 * ENOUGH]


async def test_a_call_that_comes_at_the_very_end_of_a_commit_is_taken() -> None:
    """No call may wait for another one to come: each round's calls come while the commit before is ending."""
    commits = Commits()

    async def call_on(place: int) -> None:
        for number in range(50):
            await commits.group.run(Call(f"e{place}", "n", number))
            for _ in range((place + number) % 4):
                await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(*(call_on(place) for place in range(4)))


def test_every_event_loop_has_a_queue_of_its_own() -> None:
    async def make() -> Commits:
        return Commits()

    commits = asyncio.run(make())
    commits.release()

    async def call() -> int:
        commits._gate = asyncio.Event()
        commits.release()
        return await commits.group.run(Call("e", "n", 5))

    assert asyncio.run(call()) == 5
    assert asyncio.run(call()) == 5
