"""Every exception that spane-otel raises.

    SpaneError
    ├── ConfigurationError          a setting or an option is wrong; the message says what to do
    │   └── MissingExtraError       an optional dependency is not installed
    ├── DecodeError                 a request is not what its media type says
    │   └── TooLargeError           a request is larger than a limit, on the wire or once inflated
    ├── InvalidValueError           one item can't be stored, whatever is tried
    │   └── InvalidWorkflowError    a definition is wrong; the message names the node and the path
    ├── EngineError
    │   ├── EngineClosedError       the engine was closed before the execution ended; somebody else resumes it
    │   ├── CircuitOpenError        retryable: a circuit breaker lets nothing through now
    │   └── RateLimitedError        retryable: a node has asked to be run later
    └── StoreError
        ├── StoreUnavailableError   retryable: the store does not answer, or answers "not now"
        ├── SchemaError             the database's schema is missing, older, newer or not ours
        ├── NotFoundError
        │   ├── UnknownExecutionError
        │   ├── UnknownSpanError
        │   ├── UnknownWorkflowError
        │   └── UnknownDeadLetterError
        └── ConflictError
            ├── ExecutionExistsError
            ├── InvalidTransitionError
            ├── LeaseLostError
            └── SpanExistsError

Driver errors are wrapped where they occur; the original stands in `__cause__`.
"""

from typing import Any, ClassVar


class SpaneError(Exception):
    """Something in spane-otel went wrong."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later, unchanged."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle message and attributes: by default the message alone would go to `__init__`, which wants others."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[SpaneError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SpaneError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigurationError(SpaneError):
    """A setting or an option is wrong; the message says what to do."""


class MissingExtraError(ConfigurationError):
    """An optional dependency is not installed; the message names the extra."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'spane-otel[{extra}]'")
        self.extra = extra


class DecodeError(SpaneError):
    """A request is not what its media type says; sending it again changes nothing."""


class TooLargeError(DecodeError):
    """A request is larger than a limit, on the wire or once inflated."""


class InvalidValueError(SpaneError):
    """One item can't be stored, whatever is tried; `reason` is a short word that is counted."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidWorkflowError(InvalidValueError):
    """A workflow's definition is wrong; `path` says where, e.g. `nodes[2].outputs[0]` or `a → b → a`."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, reason="workflow")
        self.path = path


class EngineError(SpaneError):
    """The engine can't do what it was asked for."""


class EngineClosedError(EngineError):
    """The engine was closed; an execution that had not ended is resumed by whoever claims it."""


class CircuitOpenError(EngineError):
    """A circuit breaker lets nothing through: what it guards has failed too often of late."""

    retryable = True

    def __init__(self, name: str) -> None:
        super().__init__(f"the circuit {name!r} is open")
        self.name = name


class RateLimitedError(EngineError):
    """A node has asked to be run later; the attempt does not count."""

    retryable = True

    def __init__(self, duration_ms: float) -> None:
        super().__init__(f"to be run again in {duration_ms:g} ms")
        self.duration_ms = duration_ms


class StoreError(SpaneError):
    """A store refused or failed."""


class StoreUnavailableError(StoreError):
    """The store does not answer, or answers that it can't now; nothing is known to be stored."""

    retryable = True

    retry_after: float | None = None
    """Seconds that the other side asks us to wait."""


class SchemaError(StoreError):
    """The database's schema is missing, older, newer or not ours; the message names the command."""


class NotFoundError(StoreError):
    """A writer was given an id that the store does not hold."""


class UnknownExecutionError(NotFoundError):
    """No execution has this id."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"no execution {execution_id!r}")
        self.execution_id = execution_id


class UnknownSpanError(NotFoundError):
    """No span of this execution has this id."""

    def __init__(self, execution_id: str, span_id: str) -> None:
        super().__init__(f"no span {span_id!r} in execution {execution_id!r}")
        self.execution_id = execution_id
        self.span_id = span_id


class UnknownWorkflowError(NotFoundError):
    """No workflow has this id."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"no workflow {workflow_id!r}")
        self.workflow_id = workflow_id


class UnknownDeadLetterError(NotFoundError):
    """No dead letter of this execution has this id."""

    def __init__(self, execution_id: str, dead_letter_id: str) -> None:
        super().__init__(f"no dead letter {dead_letter_id!r} in execution {execution_id!r}")
        self.execution_id = execution_id
        self.dead_letter_id = dead_letter_id


class ConflictError(StoreError):
    """What is stored already contradicts what was asked for."""


class ExecutionExistsError(ConflictError):
    """An execution of this id exists and was made with other content."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"execution {execution_id!r} exists with other content")
        self.execution_id = execution_id


class InvalidTransitionError(ConflictError):
    """An execution can't go from its status to the one asked for; both are named."""

    def __init__(self, execution_id: str, current: str, wanted: str) -> None:
        super().__init__(f"execution {execution_id!r} is {current} and can't become {wanted}")
        self.execution_id = execution_id
        self.current = current
        self.wanted = wanted


class SpanExistsError(ConflictError):
    """A span of this id exists in this execution with other content."""

    def __init__(self, execution_id: str, span_id: str) -> None:
        super().__init__(f"span {span_id!r} exists in execution {execution_id!r} with other content")
        self.execution_id = execution_id
        self.span_id = span_id


class LeaseLostError(ConflictError):
    """Another runner holds the execution's lease now: who is told so must stop running it."""

    def __init__(self, execution_id: str, holder: str) -> None:
        super().__init__(f"{holder!r} holds no lease on execution {execution_id!r} any more")
        self.execution_id = execution_id
        self.holder = holder
