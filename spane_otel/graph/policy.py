"""What a node's config says of how it is run: retries, delays, sub-workflows. Keys are SPANE's or in snake_case."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from spane_otel.errors import InvalidWorkflowError
from spane_otel.state import Node, RetryPolicy

SUB_WORKFLOW: Final = "sub-workflow"
"""The type of nodes that run a workflow of their own."""
DELAY: Final = "delay"
"""The type of nodes that wait."""

_DURATIONS: Final = (
    ("duration", "duration", 1),
    ("durationSeconds", "duration_seconds", 1_000),
    ("durationMinutes", "duration_minutes", 60_000),
)
"""The first that is there counts (SPANE's order); with what makes milliseconds of it."""
_LONGEST_WAIT_MS: Final = 24 * 3_600_000
"""Between two attempts, however often the wait has doubled."""


def is_tolerant(node: Node) -> bool:
    """Whether an execution goes on although this node failed: `continueOnFail`, in the retry policy or beside it."""
    sources = (node.config, _mapping(first_of(node.config, "retryPolicy", "retry_policy")))
    return any(first_of(source, "continueOnFail", "continue_on_fail") is True for source in sources)


def retry_policy(node: Node) -> RetryPolicy:
    """Return how a node is tried again; without a policy of its own SPANE's: 3 attempts, 1 s, doubled each time.

    A sub-workflow without a policy is tried once: its own nodes have had their attempts.

    Raises:
        InvalidWorkflowError: the policy is none; `path` begins with `config`.

    """
    given = first_of(node.config, "retryPolicy", "retry_policy")
    if given is not None and not isinstance(given, Mapping):
        raise InvalidWorkflowError("must be a mapping", "config.retryPolicy")
    policy = _mapping(given)
    backoff = first_of(policy, "backoff")
    if backoff is not None and not isinstance(backoff, Mapping):
        raise InvalidWorkflowError("must be a mapping", "config.retryPolicy.backoff")
    kind = _or(first_of(_mapping(backoff), "type"), "exponential")
    if kind not in ("fixed", "exponential"):
        raise InvalidWorkflowError("must be fixed or exponential", "config.retryPolicy.backoff.type")
    once = node.type in (SUB_WORKFLOW, DELAY)
    attempts = _or(first_of(policy, "maxAttempts", "max_attempts"), 1 if once else 3)
    if type(attempts) is not int or attempts < 1:
        raise InvalidWorkflowError("must be a whole number from 1", "config.retryPolicy.maxAttempts")
    delay = _or(first_of(_mapping(backoff), "delay"), 1_000)
    _check_ms(delay, "config.retryPolicy.backoff.delay")
    backoff_type: Literal["fixed", "exponential"] = "fixed" if kind == "fixed" else "exponential"
    return RetryPolicy(
        max_attempts=attempts, backoff=backoff_type, delay_ms=int(delay), continue_on_fail=is_tolerant(node)
    )


def wait_ms(policy: RetryPolicy, attempt: int) -> int:
    """Return the milliseconds between the end of attempt number `attempt` and the next one, a day at most."""
    doublings = min(attempt - 1, 40) if policy.backoff == "exponential" else 0
    return min(policy.delay_ms << doublings, _LONGEST_WAIT_MS)


def delay_ms(node: Node) -> int:
    """Return how long a `delay` node waits: `duration` (ms), else `durationSeconds`, else `durationMinutes`.

    Raises:
        InvalidWorkflowError: it says none of them, or one that is no number from 0; `path` begins with `config`.

    """
    for key, ours, factor in _DURATIONS:
        value = first_of(node.config, key, ours)
        if value is not None:
            _check_ms(value, f"config.{key}")
            return int(value * factor)
    raise InvalidWorkflowError("a delay needs duration, durationSeconds or durationMinutes", "config")


def sub_workflow_id(node: Node) -> str:
    """Return which workflow a `sub-workflow` node runs.

    Raises:
        InvalidWorkflowError: it does not say; `path` begins with `config`.

    """
    workflow_id = first_of(node.config, "workflowId", "workflow_id")
    if not isinstance(workflow_id, str) or not workflow_id:
        raise InvalidWorkflowError("a sub-workflow needs the id of a workflow", "config.workflowId")
    return workflow_id


def member_mapping(node: Node, key: Literal["inputMapping", "outputMapping"]) -> Mapping[str, str] | None:
    """Return a sub-workflow's mapping, which says for each member of the target the member it is taken from.

    Raises:
        InvalidWorkflowError: it is no mapping of texts; `path` begins with `config`.

    """
    given = first_of(node.config, key, "input_mapping" if key == "inputMapping" else "output_mapping")
    if given is None:
        return None
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given.values()):
        raise InvalidWorkflowError("must map names to names", f"config.{key}")
    return given


def map_members(data: Any, mapping: Mapping[str, str] | None) -> Any:
    """Return what a mapping takes from `data`: a member that is missing is left out, what is no object stays as it is.

    So does SPANE (`applyInputMapping`, `applyOutputMapping`).
    """
    if mapping is None or not isinstance(data, Mapping):
        return data
    return {target: data[source] for target, source in mapping.items() if source in data}


def first_of(source: Mapping[str, Any], *keys: str) -> Any:
    """Return the value of the first key that is there and not null, else None."""
    return next((source[key] for key in keys if source.get(key) is not None), None)


def _check_ms(value: Any, path: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise InvalidWorkflowError("must be a number from 0", path)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
