"""What surrounds the code that runs now: its execution and node, and who records them.

The scope travels in OpenTelemetry's context, so it goes wherever a span's parent goes: into tasks, and into threads
that are given the context.
"""

from typing import Any, Final, Protocol

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import Span, Tracer
from opentelemetry.util.types import AttributeValue

_SCOPE_KEY: Final = context_api.create_key("spane-scope")
_RECORDER_KEY: Final = context_api.create_key("spane-recorder")


class Scope:
    """The execution and the node that code runs in; either may be missing."""

    __slots__ = ("attributes", "execution", "node_id")

    def __init__(self, execution: Any, node_id: str | None, attributes: dict[str, AttributeValue]) -> None:
        self.execution: Final = execution
        """The `Execution` of executions.py, or None."""
        self.node_id: Final = node_id
        self.attributes: Final = attributes
        """What every span and log record inside is stamped with."""


class Recorder(Protocol):
    """What the API needs of a pipeline."""

    @property
    def tracer(self) -> Tracer: ...

    @property
    def version_label(self) -> str | None:
        """`service.version` of the resource, the version of workflows that give none."""
        ...

    def announce(self, span: Span) -> None:
        """Note that `span` has started: should it stay open, it is written while open."""
        ...

    def emit_log(self, message: str, level: str, attributes: dict[str, Any]) -> None:
        """Write a log record of the current context."""
        ...


class Current:
    """Holds who records in this process, if anybody does."""

    __slots__ = ("recorder",)

    def __init__(self) -> None:
        self.recorder: Recorder | None = None


CURRENT: Final = Current()


def recorder_of() -> Recorder | None:
    """Return who records the calling code: who was put into its context, else who records this process."""
    recorder: Any = context_api.get_value(_RECORDER_KEY)
    return CURRENT.recorder if recorder is None else recorder


def with_recorder(recorder: Recorder) -> Context:
    """Return the current context in which `recorder` records, whoever records the process."""
    return context_api.set_value(_RECORDER_KEY, recorder)


def scope_of(context: Context | None = None) -> Scope | None:
    """Return the scope of `context`, default the one that is current."""
    scope: Any = context_api.get_value(_SCOPE_KEY, context)
    return scope  # type: ignore[no-any-return]  # nobody else has the key


def with_scope(scope: Scope) -> Context:
    """Return the current context with `scope` in it."""
    return context_api.set_value(_SCOPE_KEY, scope)
