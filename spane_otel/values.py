"""Attributes, events and links as storable JSON text, in one pass, with what they say of executions beside it.

How one value becomes text is told in valuetext.py; this module makes objects and arrays of such texts, under the same
limits. It serves both ways in: Python values of the traced process, and values off the wire.
"""

import re
from collections.abc import Iterable, Mapping
from json import loads
from json.encoder import encode_basestring as quote
from typing import Any, Final

from msgspec import Struct

from spane_otel import mapping
from spane_otel.identity import UNKNOWN_SERVICE
from spane_otel.valuetext import (
    DEFAULT_LIMITS,
    INT64_MAX,
    INT64_MIN,
    NAME_CHARACTERS,
    PAYLOAD_KEYS,
    Limits,
    ValueEncoder,
)

__all__ = [
    "DEFAULT_LIMITS",
    "INT64_MAX",
    "INT64_MIN",
    "NAME_CHARACTERS",
    "OWN_KEYS",
    "Attributes",
    "Limits",
    "RawAttributes",
    "ValueEncoder",
    "clean_text",
    "encode_attributes",
    "encode_body",
    "encode_events",
    "encode_links",
    "encode_value",
    "event_text",
    "link_text",
    "object_text",
    "own_values",
    "payload_text",
    "says_something",
    "service_of",
]

RawAttributes = Iterable[tuple[str | bytes, Any]]

SERVICE_NAME: Final = "service.name"
SERVICE_CHARACTERS: Final = 256
"""A service is part of index keys, and a B-tree entry ends at 2,704 bytes."""

OWN_KEYS: Final = frozenset(
    {
        *PAYLOAD_KEYS,
        *(mapping.EXECUTION_ID, mapping.EXECUTION_PARENT_ID, mapping.EXECUTION_ROOT_ID, mapping.EXECUTION_DEPTH),
        *(mapping.WORKFLOW_ID, mapping.WORKFLOW_VERSION, mapping.WORKFLOW_VERSION_LABEL),
        *(mapping.NODE_ID, mapping.NODE_ATTEMPT, mapping.NODE_ITERATION, mapping.STATE),
        *(mapping.INPUT_TRUNCATED, mapping.OUTPUT_TRUNCATED, mapping.SPAN_REVISION, mapping.PROCESS_ID),
        *(mapping.LOG_RECORD_UID, SERVICE_NAME),
    }
)
"""Keys that carry meaning for us: kept although the limit of attributes is reached, since a span's state and output
are set last."""


PAYLOAD_BYTES: Final = 64 * 1024
_PAYLOAD_MARKS: Final = ((mapping.INPUT, mapping.INPUT_TRUNCATED), (mapping.OUTPUT, mapping.OUTPUT_TRUNCATED))
_TEXT_KEYS: Final = PAYLOAD_KEYS | {SERVICE_NAME}


class Attributes(Struct, frozen=True):
    """An item's attributes, encoded."""

    text: str
    """JSON text of an object."""
    dropped: int
    """How many were left out because there were too many."""
    spane: dict[str, Any]
    """`spane.*`, `service.name` and `log.record.uid` as Python values, for `mapping.read_span`: strings, numbers and
    booleans as they are; of `spane.input`, `spane.output` and `service.name` the text, or the JSON text of what is no
    string. Other containers are left out."""


_DEFAULT_ENCODER: Final = ValueEncoder()


def _encoder(limits: Limits) -> ValueEncoder:
    return _DEFAULT_ENCODER if limits is DEFAULT_LIMITS or limits == DEFAULT_LIMITS else ValueEncoder(limits)


def encode_attributes(
    items: RawAttributes,
    limits: Limits = DEFAULT_LIMITS,
    *,
    drop: frozenset[str] = frozenset(),
    encoder: ValueEncoder | None = None,
) -> Attributes:
    """Return `items` as the JSON text of an object, with what they say of executions beside it.

    Keys in `drop` are left out of the text, uncounted, and still stand in `spane`. Give an `encoder` to count repairs.
    """
    encoder = encoder or _encoder(limits)
    encode = encoder.encode_attribute
    members: dict[str, str] = {}
    beyond: set[str] = set()
    for raw_key, value in items:
        key = raw_key if type(raw_key) is str else encoder.clean_key(raw_key)
        if len(members) >= limits.attributes and key not in members and key not in OWN_KEYS:
            beyond.add(key[: limits.key_bytes])
            continue
        name, member = encode(key, value)
        members[name] = member
    bound_payloads(members)
    text = object_text(members)
    spane = own_values(members) if says_something(text) else {}
    if not drop.isdisjoint(members):
        text = object_text({key: member for key, member in members.items() if key not in drop})
    return Attributes(text, len(beyond), spane)


def bound_payloads(members: dict[str, str]) -> bool:
    """Cut an input or output that is larger than 64 KiB, and say how large it was; return whether one was cut.

    What stays is the first 64 KiB, as a JSON string. One that says so already was cut where it was recorded
    (names.md, *Span attributes*).
    """
    is_cut = False
    for key, mark in _PAYLOAD_MARKS:
        member = members.get(key)
        if member is None or len(member) * 4 <= PAYLOAD_BYTES or mark in members:
            continue
        text = member[len(quote(key)) + 1 :]
        raw = (loads(text) if text[0] == '"' else text).encode()
        if len(raw) > PAYLOAD_BYTES:
            kept = quote(raw[:PAYLOAD_BYTES].decode("utf-8", "ignore"))
            members[key] = f"{quote(key)}:{quote(kept)}"
            members[mark] = f"{quote(mark)}:{len(raw)}"
            is_cut = True
    return is_cut


def object_text(members: dict[str, str]) -> str:
    """Return the JSON text of an object, given its members by key."""
    return "{" + ",".join(members.values()) + "}"


def says_something(text: str) -> bool:
    """Return whether attributes may say something to us: a scan that is much cheaper than a look at each key."""
    return '"spane.' in text or '"service.name"' in text or '"log.record.uid"' in text


def own_values(members: dict[str, str]) -> dict[str, Any]:
    """Return what members say to us: the values of `spane.*`, `service.name` and `log.record.uid`."""
    spane: dict[str, Any] = {}
    for key, member in members.items():
        if key in OWN_KEYS or key.startswith("spane."):
            _read_member(spane, key, member)
    return spane


def _read_member(spane: dict[str, Any], key: str, member: str) -> None:
    text = member[len(quote(key)) + 1 :]
    if text[0] == '"':
        value = text[1:-1] if "\\" not in text else loads(text)
        spane[key] = payload_text(value) if key in PAYLOAD_KEYS else value
    elif key in _TEXT_KEYS and text != "null":
        spane[key] = text
    elif text[0] not in "{[":
        spane[key] = loads(text)


def payload_text(text: str) -> str:
    r"""Return the text of a payload such that, if Python takes it for JSON, PostgreSQL does too.

    Escapes of NUL and lone surrogates are replaced. Text that only Python's parser takes (`NaN`, numbers far beyond
    a double) comes back quoted, as the JSON string that it is.
    """
    if _DOUBTFUL.search(text) is None:
        return text
    try:
        value = loads(text, parse_constant=_refuse, parse_float=_moderate)
    except (ValueError, RecursionError):
        return quote(text)
    return encode_value(value, max_bytes=16 * len(text) + 64) if _BAD_ESCAPE.search(text) else text


_BAD_ESCAPE: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_DOUBTFUL: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])|NaN|Infinity|[0-9][eE][+-]?[0-9]{3}|[0-9]{300}")


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _moderate(digits: str) -> float:
    """Return a double; a number with an exponent or so many digits that PostgreSQL's numeric ends is refused."""
    exponent = digits.lower().partition("e")[2]
    if len(digits) > 1_000 or (exponent and abs(int(exponent)) > 400):
        raise ValueError(digits[:20])
    return float(digits)


def encode_value(value: Any, limits: Limits = DEFAULT_LIMITS, *, max_bytes: int | None = None) -> str:
    """Return the JSON text of `value`, at most `max_bytes` of it (default: the limit of attribute values)."""
    return _encoder(limits).encode_value(value, limits.value_bytes if max_bytes is None else max_bytes)


def encode_body(value: Any, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the JSON text of a log record's body; its limit is that of payloads."""
    return _encoder(limits).encode_value(value, limits.payload_bytes)


def clean_text(text: str | bytes, max_chars: int | None = None) -> str:
    """Return `text` as storable text of at most `max_chars` characters (None: whatever its length)."""
    cleaned = _DEFAULT_ENCODER.clean(text)
    return cleaned if max_chars is None else cleaned[:max_chars]


def service_of(spane: Mapping[str, Any]) -> str:
    """Return the service that a resource's `Attributes.spane` names, `unknown_service` where it names none."""
    value = spane.get(SERVICE_NAME)
    if not isinstance(value, str) or not value:
        return UNKNOWN_SERVICE
    return value[:SERVICE_CHARACTERS]


# --- events and links, in the shape of the HTTP API ------------------------------------------------------------


def event_text(name: str, time_ns: int, attributes: str, dropped_attributes_count: int) -> str:
    """Return one event as JSON text; `name` is clean already, `attributes` JSON text."""
    return (
        f'{{"name":{quote(name)},"time_ns":"{time_ns}","attributes":{attributes},'
        f'"dropped_attributes_count":{dropped_attributes_count}}}'
    )


def link_text(
    trace_id: str, span_id: str, trace_state: str, flags: int, attributes: str, dropped_attributes_count: int
) -> str:
    """Return one link as JSON text; ids in hex, `trace_state` clean already, `attributes` JSON text."""
    return (
        f'{{"trace_id":"{trace_id}","span_id":"{span_id}","trace_state":{quote(trace_state)},"flags":{flags},'
        f'"attributes":{attributes},"dropped_attributes_count":{dropped_attributes_count}}}'
    )


def encode_events(
    events: Iterable[tuple[str, int, RawAttributes, int]], limits: Limits = DEFAULT_LIMITS
) -> tuple[str | None, int]:
    """Return events (name, time, attributes, dropped attributes) as JSON text, and how many were too many.

    The text is None where there are none. Attributes over the limit are added to the dropped ones.
    """
    encoder = _encoder(limits)
    kept: list[str] = []
    dropped = 0
    for name, time_ns, items, lost in events:
        if len(kept) == limits.events:
            dropped += 1
            continue
        attributes = encode_attributes(items, limits)
        kept.append(event_text(encoder.name(name), time_ns, attributes.text, lost + attributes.dropped))
    return (f"[{','.join(kept)}]" if kept else None), dropped


def encode_links(
    links: Iterable[tuple[str, str, str, int, RawAttributes, int]], limits: Limits = DEFAULT_LIMITS
) -> tuple[str | None, int]:
    """Return links (trace id, span id, trace state, flags, attributes, dropped attributes) as `encode_events` does.

    Ids are 32 and 16 hex digits.
    """
    encoder = _encoder(limits)
    kept: list[str] = []
    dropped = 0
    for trace_id, span_id, trace_state, flags, items, lost in links:
        if len(kept) == limits.links:
            dropped += 1
            continue
        attributes = encode_attributes(items, limits)
        state = encoder.cut(encoder.clean(trace_state), limits.value_bytes)
        kept.append(link_text(trace_id, span_id, state, flags, attributes.text, lost + attributes.dropped))
    return (f"[{','.join(kept)}]" if kept else None), dropped
