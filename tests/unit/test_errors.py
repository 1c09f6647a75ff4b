"""The tree of exceptions."""

import inspect
import pickle

import pytest

from spane_otel import errors
from spane_otel.errors import SpaneError

ALL = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, SpaneError)]


def test_every_exception_is_drawn_in_the_docstring_below_its_base() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if "Error" in line]
    path: list[tuple[int, str]] = []
    drawn: dict[str, str] = {}
    for line in lines:
        name = next(word for word in line.split() if word.endswith("Error"))
        depth = line.index(name)
        path = [each for each in path if each[0] < depth]
        drawn[name] = path[-1][1] if path else "Exception"
        path.append((depth, name))
    assert drawn == {each.__name__: each.__base__.__name__ for each in ALL if each.__base__ is not None}


def test_only_what_may_pass_by_itself_is_worth_another_try() -> None:
    retryable = {each.__name__ for each in ALL if each.retryable}
    assert retryable == {"StoreUnavailableError", "CircuitOpenError", "RateLimitedError"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.MissingExtraError("the embedded store", "embedded"), "pip install 'spane-otel[embedded]'"),
        (errors.UnknownExecutionError("e"), "no execution 'e'"),
        (errors.UnknownSpanError("e", "s"), "no span 's' in execution 'e'"),
        (errors.UnknownWorkflowError("w"), "no workflow 'w'"),
        (errors.ExecutionExistsError("e"), "execution 'e' exists"),
        (errors.InvalidTransitionError("e", "failed", "running"), "is failed and can't become running"),
        (errors.SpanExistsError("e", "s"), "span 's' exists in execution 'e'"),
        (errors.InvalidValueError("bad", "cursor"), "bad"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SpaneError) else "",
)
def test_an_error_says_what_it_is_about(error: SpaneError, message: str) -> None:
    assert message in str(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.MissingExtraError("a", "b"),
        errors.UnknownSpanError("e", "s"),
        errors.InvalidTransitionError("e", "failed", "running"),
        errors.InvalidValueError("bad", "cursor"),
        errors.StoreUnavailableError("down"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_crosses_processes(error: SpaneError) -> None:
    """As multiprocessing and concurrent.futures send it."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))
