"""What traces and logs have in common on the wire: resources around scopes around items."""

from typing import Any

from msgspec import Struct, field

from spane_otel import mapping
from spane_otel.errors import TooLargeError
from spane_otel.identity import resource_row, scope_row
from spane_otel.otlp import wire
from spane_otel.otlp.attributes import AttributeMemo
from spane_otel.records import Batch, Rejection, ResourceRow, ScopeRow
from spane_otel.values import object_text, own_values, service_of

PROCESS_ID_CHARACTERS = 256


class Decoded(Struct):
    """What a request holds."""

    batch: Batch = field(default_factory=Batch)
    """Rows in the order of the request; `inherit` has been applied."""
    accepted: int = 0
    """Rows in the batch."""
    rejected: list[Rejection] = field(default_factory=list)
    """Items that can't be rows; `index` is the position in the request."""
    repaired: int = 0
    """Accepted items that are stored without what was bad in them: text that was no UTF-8, a link without a valid id,
    a value larger than its limit."""


class Group(Struct):
    """The items of one scope of one resource, still bytes."""

    resource: ResourceRow
    scope: ScopeRow
    process_id: str | None
    items: Any
    """A repeated field of bytes."""


def open_envelope(body: bytes, memo: AttributeMemo, batch: Batch) -> list[Group]:
    """Return the groups of a request; ids of processes that it names become heartbeats of `batch`.

    Items are counted before any of them is looked at: an item costs two bytes on the wire and hundreds as an object.

    Raises:
        DecodeError: the request, a resource or a scope is not protobuf.
        TooLargeError: there are more items, or resources, or scopes, than a request may hold.

    """
    most = memo.encoder.limits.request_items
    request = wire.parse(wire.Request, body)
    _check_count(len(request.resource_items), most, "resources")
    opened = [wire.parse(wire.ResourceItems, raw) for raw in request.resource_items]
    _check_count(sum(len(each.scope_items) for each in opened), most, "scopes")
    scoped = [[wire.parse(wire.ScopeItems, raw) for raw in each.scope_items] for each in opened]
    _check_count(sum(len(scope.items) for scopes in scoped for scope in scopes), most, "items")
    groups: list[Group] = []
    heartbeats: set[str] = set()
    for message, scopes in zip(opened, scoped, strict=True):
        resource, process_id = read_resource(message, memo)
        if process_id is not None:
            heartbeats.add(process_id)
        groups += [Group(resource, read_scope(scope, memo), process_id, scope.items) for scope in scopes if scope.items]
    batch.heartbeats += sorted(heartbeats)
    return groups


def read_resource(message: Any, memo: AttributeMemo) -> tuple[ResourceRow, str | None]:
    """Return a resource's row, and the process id that stood in its attributes and is no part of it."""
    resource = message.resource
    members, dropped = memo.members(resource.attributes)
    values = own_values(members)
    members.pop(mapping.PROCESS_ID, None)
    process_id = values.get(mapping.PROCESS_ID)
    row = resource_row(
        object_text(members),
        memo.texts[message.schema_url],
        resource.dropped_attributes_count + dropped,
        service_of(values),
    )
    return row, process_id[:PROCESS_ID_CHARACTERS] if isinstance(process_id, str) and process_id else None


def read_scope(message: Any, memo: AttributeMemo) -> ScopeRow:
    """Return a scope's row."""
    scope = message.scope
    members, dropped = memo.members(scope.attributes)
    return scope_row(
        memo.names[scope.name],
        memo.names[scope.version],
        object_text(members),
        memo.texts[message.schema_url],
        scope.dropped_attributes_count + dropped,
    )


def _check_count(count: int, most: int, what: str) -> None:
    if count > most:
        raise TooLargeError(f"a request holds at most {most} {what}, this one {count}")
