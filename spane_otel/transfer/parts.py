"""The parts of an export as JSON text: a record or a row each, exactly as stored.

A time in nanoseconds is a decimal string, as in the HTTP API; ids of traces, spans, resources and scopes are hex
digits. What a store keeps as JSON text (attributes, bodies, payloads) stands in the document as that very text.
A member that has its default is left out; of a payload that may be absent, a missing member says that it is.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from spane_otel.derivation import ExecutionTraceRow
from spane_otel.errors import DecodeError
from spane_otel.ids import span_id_from_hex, span_id_to_hex
from spane_otel.jsontext import encode_payload
from spane_otel.records import Execution, LogRow, ResourceRow, ScopeRow, SpanRow, Stamp
from spane_otel.state import AuditEntry, DeadLetter, NodeResult, WorkflowVersion
from spane_otel.transfer.texts import join_object, split_object

_TEXTS: Final[dict[type, tuple[str, ...]]] = {
    ResourceRow: ("attributes",),
    ScopeRow: ("attributes",),
    SpanRow: ("attributes", "events", "links"),
    LogRow: ("attributes", "body"),
    Stamp: ("input", "output"),
}
"""Members that are kept as JSON text."""
_PAYLOADS: Final[dict[type, tuple[str, ...]]] = {
    Execution: ("metadata",),
    NodeResult: ("data", "input"),
    DeadLetter: ("job_data",),
}
"""Members that are any JSON value; where a member `has_…` stands beside one, presence says the same."""
_LEFT_OUT: Final[dict[type, tuple[str, ...]]] = {
    # Its payloads stand beside the record, since they may be absent; the rest follows from its traces and its process.
    Execution: ("initial_data", "result", "trace_ids", "abandoned_since_ns"),
    # What it says of its execution is that one's.
    SpanRow: ("stamp",),
}
_SPAN_IDS: Final = ("span_id", "parent_id", "root_span_id")

Part = (
    Execution
    | WorkflowVersion
    | NodeResult
    | AuditEntry
    | DeadLetter
    | ExecutionTraceRow
    | ResourceRow
    | ScopeRow
    | SpanRow
    | LogRow
    | Stamp
)
T = TypeVar("T", bound=Struct)


def pack(part: Part) -> dict[str, str]:
    """Return a part's members, each as JSON text."""
    kind = type(part)
    packed: dict[str, str] = {}
    for field in _fields(kind):
        value = getattr(part, field.name)
        if _is_left_out(kind, field.name):
            continue
        is_given = getattr(part, f"has_{field.name}", value != _default(field))
        if is_given:
            packed[field.name] = _pack_value(kind, field.name, value)
    return packed


def unpack(members: Mapping[str, str], kind: type[T], path: str) -> T:
    """Return the part of these members.

    Raises:
        DecodeError: a member is missing, unknown or of the wrong kind; the message says which.

    """
    known = {field.name: field for field in _fields(kind) if not _is_left_out(kind, field.name)}
    values: dict[str, Any] = {}
    for name, text in members.items():
        if name not in known:
            raise DecodeError(f"{path}.{name} is unknown")
        try:
            values[name] = _unpack_value(kind, known[name], text, f"{path}.{name}")
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise DecodeError(f"{path}.{name}: {error}") from error
        if f"has_{name}" in kind.__struct_fields__:
            values[f"has_{name}"] = True
    missing = [field.name for field in known.values() if field.required and field.name not in values]
    if missing:
        raise DecodeError(f"{path}.{missing[0]} is missing")
    return kind(**values)


@cache
def _fields(kind: type[Struct]) -> tuple[FieldInfo, ...]:
    return fields(kind)


def _is_left_out(kind: type, name: str) -> bool:
    return name in _LEFT_OUT.get(kind, ()) or name.startswith("has_")


def _default(field: FieldInfo) -> Any:
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


def _pack_value(kind: type, name: str, value: Any) -> str:
    if name in _TEXTS.get(kind, ()):
        return str(value)
    if name in _PAYLOADS.get(kind, ()):
        return encode_payload(value)
    if isinstance(value, Stamp):
        return join_object(pack(value))
    if isinstance(value, bytes):
        value = value.hex()
    elif name in _SPAN_IDS and isinstance(value, int):
        value = span_id_to_hex(value)
    elif name.endswith("_ns") and value is not None:
        value = str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _unpack_value(kind: type, field: FieldInfo, text: str, path: str) -> Any:
    name = field.name
    if name in _TEXTS.get(kind, ()):
        return text
    if name in _PAYLOADS.get(kind, ()):
        return json.loads(text)
    if _takes(field, Stamp):
        return unpack(split_object(text, path), Stamp, path)
    value = json.loads(text)
    if value is None:
        return msgspec.convert(None, field.type)
    if _takes(field, bytes):
        return bytes.fromhex(msgspec.convert(value, str))
    if name in _SPAN_IDS and _takes(field, int):
        return _span_id(msgspec.convert(value, str))
    if name.endswith("_ns"):
        return int(msgspec.convert(value, str))
    return msgspec.convert(value, field.type)


def _span_id(text: str) -> int:
    span_id = span_id_from_hex(text)
    if span_id is None:
        raise ValueError(f"{text!r} is no span id")
    return span_id


def _takes(field: FieldInfo, kind: type) -> bool:
    return kind in (field.type, *getattr(field.type, "__args__", ()))
