"""What a store takes as a workflow's definition: checked once, the same in every store."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from spane_otel.errors import InvalidValueError
from spane_otel.graph import content_hash, load_workflow, workflow_text
from spane_otel.state import Workflow
from spane_otel.stores.admission import check_id
from spane_otel.values import clean_text


class NewVersion(Struct, frozen=True):
    """A definition, ready to be saved as a version."""

    workflow: Workflow
    text: str
    """The JSON text that is stored, exactly."""
    content_hash: bytes
    """16 bytes; equal to the current version's: nothing new."""
    change_notes: str | None
    created_by: str | None

    @property
    def name(self) -> str:
        """The workflow's name as lists show it."""
        return clean_text(self.workflow.name)

    @property
    def description(self) -> str | None:
        """Its description as lists show it."""
        return _clean(self.workflow.description)


def new_version(workflow: Workflow | Mapping[str, Any], change_notes: str | None, created_by: str | None) -> NewVersion:
    """Check what `save_workflow` was given. A NUL or a lone surrogate in notes or author becomes U+FFFD.

    Raises:
        InvalidWorkflowError: it has no id, two nodes have one id, or something is of the wrong type.
        InvalidValueError: an id is longer than 256 characters or no text that a database holds, something is not JSON,
            or there is more than 2 MiB of it.

    """
    loaded = load_workflow(workflow)
    check_id(loaded.id, "workflow id")
    for node in loaded.nodes:
        check_id(node.id, "node id")
    text = workflow_text(loaded)
    for name, given in (("change notes", change_notes), ("author", created_by)):
        if not isinstance(given, str | None):
            raise InvalidValueError(f"the {name} must be text", reason="text")
    return NewVersion(loaded, text, content_hash(text), _clean(change_notes), _clean(created_by))


def _clean(text: str | None) -> str | None:
    return None if text is None else clean_text(text)
