"""`@workflow`: each call of a function is an execution."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from spane_otel.telemetry.decoration import Record, checked, decorate, is_function, name_of
from spane_otel.telemetry.executions import Execution

P = ParamSpec("P")
R = TypeVar("R")


class WorkflowDecorator:
    """Makes each call of a function an execution."""

    __slots__ = ("_name", "_record", "_version")

    def __init__(self, name: str | None, version: str | None, record: Record) -> None:
        self._name = name
        self._version = version
        self._record = record

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        name, version = self._name or name_of(function), self._version
        return decorate(function, lambda given: Execution(name, None, given, version), self._record)


@overload
def workflow(name: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def workflow(name: str | None = None, version: str | None = None, *, record: Record = ()) -> WorkflowDecorator: ...
def workflow(name: Any = None, version: str | None = None, *, record: Record = ()) -> Any:
    """Make each call of a function an execution: `@workflow` or `@workflow("name", version=…, record=…)`.

    The workflow is called like the function if no name is given. `version` and `record` are as at `execution` and
    `node`; sync and async functions both work.
    """
    if is_function(name):
        return WorkflowDecorator(None, None, ())(name)
    return WorkflowDecorator(name, version, checked(record))
