"""Circuit breakers: when they open, when they let something through again, and what they guard."""

from typing import Any

import pytest

from spane_otel.clock import ManualClock
from spane_otel.engine import BreakerOptions, CircuitBreaker, CircuitBreakerRegistry, ExecutionContext, ExecutionResult
from spane_otel.errors import CircuitOpenError, ConfigurationError
from tests.unit.engine.lab import Lab, fails, flow, returns

ONCE = {"retryPolicy": {"maxAttempts": 1}}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def breaker(clock: ManualClock, **options: Any) -> CircuitBreaker:
    return CircuitBreaker("x", BreakerOptions(**options), clock=clock)


def call(guard: CircuitBreaker, outcome: Any) -> None:
    guard.enter()
    guard.leave(outcome)


def state_of(guard: CircuitBreaker) -> str:
    """Return the state, which time alone may change."""
    return guard.state


def test_it_opens_when_enough_of_the_last_calls_have_failed(clock: ManualClock) -> None:
    guard = breaker(clock, failure_threshold=2, window=3)
    for outcome in ("failure", "success", "success", "failure"):  # the first is forgotten by then
        call(guard, outcome)
    assert state_of(guard) == "closed"
    call(guard, "failure")
    assert state_of(guard) == "open"
    with pytest.raises(CircuitOpenError):
        guard.enter()


def test_a_call_that_was_cancelled_says_nothing(clock: ManualClock) -> None:
    guard = breaker(clock, failure_threshold=1, window=1)
    call(guard, "neither")
    assert state_of(guard) == "closed"


def test_after_a_while_one_call_is_let_through_and_decides(clock: ManualClock) -> None:
    guard = breaker(clock, failure_threshold=1, window=1, open_seconds=30)
    call(guard, "failure")
    clock.advance(29.9)
    assert state_of(guard) == "open"
    clock.advance(0.1)
    assert state_of(guard) == "half_open"
    guard.enter()
    with pytest.raises(CircuitOpenError):
        guard.enter()
    guard.leave("failure")
    assert state_of(guard) == "open"
    clock.advance(30)
    call(guard, "success")
    assert state_of(guard) == "closed"


def test_a_trial_that_was_cancelled_makes_room_for_another(clock: ManualClock) -> None:
    guard = breaker(clock, failure_threshold=1, window=1, open_seconds=1)
    call(guard, "failure")
    clock.advance(1)
    call(guard, "neither")
    call(guard, "success")
    assert state_of(guard) == "closed"


def test_several_trials_must_all_succeed(clock: ManualClock) -> None:
    guard = breaker(clock, failure_threshold=1, window=1, open_seconds=1, trial_calls=2)
    call(guard, "failure")
    clock.advance(1)
    call(guard, "success")
    assert state_of(guard) == "half_open"
    call(guard, "success")
    assert state_of(guard) == "closed"


def test_a_call_that_began_before_the_circuit_opened_does_not_close_it(clock: ManualClock) -> None:
    guard = breaker(clock, failure_threshold=1, window=1)
    guard.enter()
    call(guard, "failure")
    guard.leave("success")
    assert state_of(guard) == "open"


@pytest.mark.parametrize(
    "options", [{"failure_threshold": 0}, {"failure_threshold": 11}, {"open_seconds": -1}, {"trial_calls": 0}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        BreakerOptions(**options)


def test_a_registry_makes_one_breaker_for_each_name(clock: ManualClock) -> None:
    breakers = CircuitBreakerRegistry(by_name={"a": BreakerOptions(failure_threshold=1)}, clock=clock)
    call(breakers.breaker("a"), "failure")
    call(breakers.breaker("b"), "failure")
    assert breakers.breaker("a") is breakers.breaker("a")
    assert breakers.states == {"a": "open", "b": "closed"}


# --- in the engine ---


async def test_a_type_that_keeps_failing_is_left_alone_for_a_while(lab: Lab) -> None:
    options = BreakerOptions(failure_threshold=2, window=2, open_seconds=60)
    engine = lab.engine(circuit_breaker_registry=CircuitBreakerRegistry(options, clock=lab.clock))
    lab.does = {"a": fails("down", times=2)}
    await engine.register_workflow(flow({"id": "a", "config": ONCE}))
    errors = [(await engine.execute("w")).error for _ in range(3)]
    assert errors == ["ValueError: down", "ValueError: down", "CircuitOpenError: the circuit 'work' is open"]
    assert lab.calls == {"a": 2}
    lab.clock.advance(60)
    assert (await engine.execute("w")).success


async def test_a_node_can_name_its_circuit_or_have_none(lab: Lab) -> None:
    options = BreakerOptions(failure_threshold=1, window=1)
    breakers = CircuitBreakerRegistry(options, clock=lab.clock)
    engine = lab.engine(circuit_breaker_registry=breakers)

    async def refuse(_: ExecutionContext) -> ExecutionResult:
        return ExecutionResult(False, error="a returned failure counts too")

    lab.does = {"a": refuse, "b": fails(), "c": returns(1)}
    await engine.register_workflow(
        flow(
            {"id": "a", "config": {**ONCE, "continueOnFail": True, "circuitBreaker": "warehouse"}, "outputs": ["b"]},
            {"id": "b", "config": {**ONCE, "continueOnFail": True, "circuitBreaker": False}, "outputs": ["c"]},
            {"id": "c"},
        )
    )
    assert (await engine.execute("w")).data == 1
    assert breakers.states == {"warehouse": "open", "work": "closed"}
