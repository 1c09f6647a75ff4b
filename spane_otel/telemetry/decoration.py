"""Functions whose calls are recorded; while nothing is configured a call costs one look at a variable."""

import functools
import inspect
import logging
from collections.abc import Callable, Collection
from typing import Any, Final, ParamSpec, TypeVar, cast

from spane_otel.telemetry.block import Block
from spane_otel.telemetry.context import recorder_of

P = ParamSpec("P")
R = TypeVar("R")

Record = Collection[str]
"""What of a call is kept: `"args"`, `"result"`, both or nothing."""

_log: Final = logging.getLogger(__name__)


def checked(record: Record) -> Record:
    """Return `record`.

    Raises:
        ValueError: it holds something else than `"args"` and `"result"`.

    """
    if isinstance(record, str) or not set(record) <= {"args", "result"}:
        raise ValueError(f'record may hold "args" and "result", not {record!r}')
    return record


def is_function(given: Any) -> bool:
    """Whether a decorator stands bare over `given`, not called with a name: a `classmethod` is no callable itself."""
    return callable(given) or isinstance(given, classmethod)


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function's workflow or node is called if no name is given."""
    return getattr(function, "__name__", type(function).__name__)


def decorate(function: Callable[P, R], block: Callable[[Any], Block], record: Record) -> Callable[P, R]:
    """Return `function` such that each call runs inside `block(input)`; input is None unless arguments are recorded.

    Generator functions come back as they are: their bodies run in pieces, between which the context is the caller's.
    """
    if isinstance(function, staticmethod | classmethod):
        inner = decorate(function.__func__, block, record)
        return cast("Callable[P, R]", type(function)(inner))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        _log.warning("%s is a generator function: calls of it are not recorded", name_of(function))
        return cast("Callable[P, R]", function)
    arguments_of = _arguments_of(function) if "args" in record else _nothing_of
    record_result = "result" in record
    if inspect.iscoroutinefunction(function):
        return cast("Callable[P, R]", _decorate_async(function, block, arguments_of, record_result=record_result))

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if recorder_of() is None:
            return function(*args, **kwargs)
        with block(arguments_of(args, kwargs)) as this:
            result = function(*args, **kwargs)
            if record_result:
                this.set_result(result)
            return result

    return run


def _decorate_async(
    function: Callable[..., Any],
    block: Callable[[Any], Block],
    arguments_of: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    *,
    record_result: bool,
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        if recorder_of() is None:
            return await function(*args, **kwargs)
        with block(arguments_of(args, kwargs)) as this:
            result = await function(*args, **kwargs)
            if record_result:
                this.set_result(result)
            return result

    return run


def _arguments_of(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    """Return what names the arguments of a call of `function`, without `self` and `cls`."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return lambda args, kwargs: {"args": args, "kwargs": kwargs}

    def arguments_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # the call itself is about to raise it
            return {"args": args, "kwargs": kwargs}
        return {name: value for name, value in bound.arguments.items() if name not in ("self", "cls")}

    return arguments_of


def _nothing_of(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
    return None
