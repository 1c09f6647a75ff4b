"""What a store takes as a node's result: checked once, the same in every store, payloads as JSON text."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from spane_otel.errors import InvalidValueError
from spane_otel.ids import hash16
from spane_otel.jsontext import encode_payload
from spane_otel.state import ExecutionResult, NewDeadLetter, NodeState, ResultLike
from spane_otel.stores.admission import check_execution_id, check_id
from spane_otel.values import clean_text

_KEYS: Final = {
    "success": "success",
    "data": "data",
    "error": "error",
    "next_nodes": "next_nodes",
    "nextNodes": "next_nodes",
    "skipped": "skipped",
    "execution_id": "execution_id",
    "executionId": "execution_id",
}
_INT31: Final = range(2**31)
_INT64: Final = range(-(2**63), 2**63)


class NewNodeResult(Struct, kw_only=True):
    """The result of one attempt, ready to be stored."""

    execution_id: str
    node_id: str
    iteration: int
    attempt: int
    success: bool
    skipped: bool
    is_final: bool
    """No further attempt follows: a success, a skip, or written by `complete_node`."""
    decides: bool
    """Whether it may complete the execution: written by `complete_node`."""
    data: str | None
    """JSON text; None: there is no value."""
    error: str | None
    next_nodes: str | None
    """JSON text of an array of node ids."""
    input: str | None
    """JSON text."""
    started_ns: int | None
    ended_ns: int
    has_end: bool
    """Whether the caller said when it ended; a present that the store filled in makes no other content."""
    worker: str | None
    holder: str | None
    dead_letter_id: str | None = None
    """None: it leaves no dead letter."""
    job_id: str | None = None
    job_data: str | None = None
    """JSON text."""
    attempts_made: int | None = None
    execution_result: str | None = None
    """JSON text of what the execution results in, should this complete it."""

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.execution_id, self.node_id, self.iteration, self.attempt

    @property
    def state(self) -> NodeState:
        return state_of(success=self.success, skipped=self.skipped)


def state_of(*, success: bool, skipped: bool) -> NodeState:
    """Return the state of a node with such a result."""
    if skipped:
        return "skipped"
    return "completed" if success else "failed"


def new_node_result(
    execution_id: str,
    node_id: str,
    result: ResultLike,
    *,
    now_ns: int,
    decides: bool,
    attempt: int = 1,
    iteration: int = 0,
    started_ns: int | None = None,
    ended_ns: int | None = None,
    worker: str | None = None,
    input: Any | UnsetType = UNSET,  # noqa: A002 - the name in records
    holder: str | None = None,
    dead_letter: NewDeadLetter | None = None,
    execution_result: Any | UnsetType = UNSET,
) -> NewNodeResult:
    """Check what `update_node_result` (or, `decides`, `complete_node`) was given.

    Raises:
        InvalidValueError: something is of the wrong type, no text that a database holds, no JSON, or too large.

    """
    check_execution_id(execution_id)
    check_id(node_id, "node id")
    if not _is_count(attempt, 1):
        raise InvalidValueError("attempt must be a whole number from 1", reason="attempt")
    if not _is_count(iteration, 0):
        raise InvalidValueError("iteration must be a whole number from 0", reason="iteration")
    for name, time_ns in (("started_ns", started_ns), ("ended_ns", ended_ns)):
        if time_ns is not None and (type(time_ns) is not int or time_ns not in _INT64):
            raise InvalidValueError(f"{name} must be integer nanoseconds", reason=name)
    for name, text in (("worker", worker), ("holder", holder)):
        if text is not None:
            check_id(text, name)
    given = read_result(result)
    next_nodes = None if given.next_nodes is None else encode_payload(list(given.next_nodes))
    new = NewNodeResult(
        execution_id=execution_id,
        node_id=node_id,
        iteration=iteration,
        attempt=attempt,
        success=given.success,
        skipped=given.skipped,
        is_final=decides or given.success or given.skipped,
        decides=decides,
        data=_payload(given.data),
        error=None if given.error is None else clean_text(str(given.error)),
        next_nodes=next_nodes,
        input=_payload(input),
        started_ns=started_ns,
        ended_ns=now_ns if ended_ns is None else ended_ns,
        has_end=ended_ns is not None,
        worker=worker,
        holder=holder,
        execution_result=_payload(execution_result),
    )
    if dead_letter is not None and not (given.success or given.skipped):
        if not isinstance(dead_letter.job_id, str | None):
            raise InvalidValueError("the job id must be text", reason="job_id")
        if dead_letter.attempts_made is not None and not _is_count(dead_letter.attempts_made, 0):
            raise InvalidValueError("attempts made must be a whole number from 0", reason="attempts_made")
        new.dead_letter_id = dead_letter_id(*new.key)
        new.job_id = None if dead_letter.job_id is None else clean_text(dead_letter.job_id)
        new.job_data = _payload(dead_letter.job_data)
        new.attempts_made = attempt if dead_letter.attempts_made is None else dead_letter.attempts_made
    return new


def read_result(result: Any) -> ExecutionResult:
    """Return a result as `ExecutionResult`; a mapping may have SPANE's keys or ours.

    Raises:
        InvalidValueError: it has no `success`, a key that nobody knows, or something of the wrong type.

    """
    given = result if isinstance(result, ExecutionResult) else _from_mapping(result)
    if not isinstance(given.success, bool) or not isinstance(given.skipped, bool):
        raise InvalidValueError("success and skipped are true or false", reason="result")
    if given.next_nodes is not None and not _are_ids(given.next_nodes):
        raise InvalidValueError("next nodes are a list of node ids", reason="result")
    return given


def _from_mapping(result: Any) -> ExecutionResult:
    if not isinstance(result, Mapping):
        raise InvalidValueError("a result is an ExecutionResult or a mapping", reason="result")
    try:
        values = {_KEYS[key]: value for key, value in result.items()}
    except KeyError:
        unknown = sorted(str(key) for key in result if key not in _KEYS)
        raise InvalidValueError(f"a result has no {', '.join(unknown)}", reason="result") from None
    if "success" not in values:
        raise InvalidValueError("a result says whether it is a success", reason="result")
    values["skipped"] = bool(values.get("skipped"))
    return ExecutionResult(**values)


def dead_letter_id(execution_id: str, node_id: str, iteration: int, attempt: int) -> str:
    """Return the id of the dead letter that this failure leaves: the same failure is one letter."""
    return hash16(execution_id.encode(), node_id.encode(), repr((iteration, attempt)).encode()).hex()


def _payload(value: Any | UnsetType) -> str | None:
    return None if value is UNSET else encode_payload(value)


def _is_count(value: Any, least: int) -> bool:
    return type(value) is int and value >= least and value in _INT31


def _are_ids(given: Any) -> bool:
    return (
        isinstance(given, Sequence)
        and not isinstance(given, str)
        and all(isinstance(each, str) and each for each in given)
    )
