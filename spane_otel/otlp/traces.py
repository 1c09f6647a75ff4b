"""ExportTraceServiceRequest → span rows. The loop over spans is the hot path of the service."""

from struct import Struct as Packing
from typing import Any, Final

from google.protobuf.message import DecodeError as ProtobufError

from spane_otel import mapping
from spane_otel.derivation import inherit
from spane_otel.errors import DecodeError
from spane_otel.ids import SPAN_ID_LENGTH, TRACE_ID_LENGTH, ZERO_TRACE_ID
from spane_otel.otlp import wire
from spane_otel.otlp.attributes import AttributeMemo, borrow_memo
from spane_otel.otlp.envelope import Decoded, Group, open_envelope
from spane_otel.records import Rejection, SpanRow
from spane_otel.values import (
    DEFAULT_LIMITS,
    INT64_MAX,
    Limits,
    bound_payloads,
    event_text,
    link_text,
    object_text,
    own_values,
)

_SPAN_ID: Final = Packing(">q")
_ZERO_SPAN_ID: Final = bytes(SPAN_ID_LENGTH)
_STATUS_ON_WIRE: Final = {b"": 0, b"\x18\x00": 0, b"\x18\x01": 1, b"\x18\x02": 2}
"""A status without a message, as nearly every span has it."""
_OWN: Final = '"spane.'


def decode_traces(body: bytes, *, now_ns: int, limits: Limits = DEFAULT_LIMITS) -> Decoded:  # noqa: ARG001 - spans carry their times; the signature is that of decode_logs
    """Return the spans of an ExportTraceServiceRequest as rows.

    A bad span is repaired or rejected (`malformed`, `invalid_trace_id`, `invalid_span_id`, `time_out_of_range`) and
    costs no other span. End before start is kept as it came.

    Raises:
        DecodeError: `body` is not such a request.
        TooLargeError: it holds more spans than a request may.

    """
    decoded = Decoded()
    with borrow_memo(limits) as memo:
        decoder = _SpanDecoder(memo, decoded)
        for group in open_envelope(body, memo, decoded.batch):
            decoder.decode_group(group)
    decoded.accepted = len(decoded.batch.spans)
    if any(row.stamp is not None for row in decoded.batch.spans):  # nothing to inherit is the usual case elsewhere
        inherit(decoded.batch)
    return decoded


class _SpanDecoder:
    def __init__(self, memo: AttributeMemo, decoded: Decoded) -> None:
        self.memo: Final = memo
        self.encoder: Final = memo.encoder
        self.limits: Final = memo.encoder.limits
        self.decoded: Final = decoded
        self.position = 0

    def decode_group(self, group: Group) -> None:
        decoded, encoder, batch = self.decoded, self.encoder, self.decoded.batch
        rows = batch.spans
        before = len(rows)
        decode = self._decode_span
        position = self.position
        for raw in group.items:
            repairs = encoder.repairs
            try:
                row = decode(raw, position, group)
            except DecodeError as error:
                row = Rejection("spans", position, "malformed", str(error))
            position += 1
            if isinstance(row, Rejection):
                decoded.rejected.append(row)
                continue
            rows.append(row)
            if encoder.repairs != repairs:
                decoded.repaired += 1
        self.position = position
        if len(rows) > before:
            batch.resources[group.resource.resource_id] = group.resource
            batch.scopes[group.scope.scope_id] = group.scope

    def _decode_span(self, raw: bytes, position: int, group: Group) -> SpanRow | Rejection:
        """Return the row of one span. Written flat: at this rate each call costs."""
        try:
            span = wire.Span.FromString(raw)
        except ProtobufError:
            return Rejection("spans", position, "malformed", "the span is not protobuf")
        trace_id = span.trace_id
        if len(trace_id) != TRACE_ID_LENGTH or trace_id == ZERO_TRACE_ID:
            return Rejection("spans", position, "invalid_trace_id", f"trace id {trace_id[:32].hex()!r}")
        raw_id = span.span_id
        if len(raw_id) != SPAN_ID_LENGTH or raw_id == _ZERO_SPAN_ID:
            return Rejection("spans", position, "invalid_span_id", f"span id {raw_id[:32].hex()!r}")
        start_ns = span.start_time_unix_nano
        end_ns = span.end_time_unix_nano
        if start_ns > INT64_MAX or end_ns > INT64_MAX:
            return Rejection("spans", position, "time_out_of_range", f"from {start_ns} to {end_ns} ns")
        memo = self.memo
        names = memo.names
        members, dropped = memo.members(span.attributes)
        text = object_text(members)
        meaning = mapping.NOTHING
        if _OWN in text:
            is_cut = bound_payloads(members)
            meaning = mapping.read_span(own_values(members))
            if members.pop(mapping.SPAN_REVISION, None) is not None or is_cut:
                text = object_text(members)
        parent = span.parent_span_id
        kind = span.kind
        status = span.status
        code = _STATUS_ON_WIRE.get(status)
        message = ""
        if code is None:
            code, message = self._read_status(status)
        events, links = span.events, span.links
        dropped_events = span.dropped_events_count
        dropped_links = span.dropped_links_count
        events_text = links_text = None
        if events:
            events_text, lost = self._read_events(events)
            dropped_events += lost
        if links:
            links_text, lost = self._read_links(links)
            dropped_links += lost
        return SpanRow(
            trace_id,
            _SPAN_ID.unpack(raw_id)[0],
            start_ns,
            end_ns or None,
            names[span.name],
            group.resource.resource_id,
            group.scope.scope_id,
            group.resource.service,
            self._read_parent(parent) if parent else None,
            kind if 0 <= kind <= 5 else 0,
            code,
            message,
            meaning.state,
            memo.texts[span.trace_state],
            span.flags,
            text,
            span.dropped_attributes_count + dropped,
            events_text,
            dropped_events,
            links_text,
            dropped_links,
            meaning.execution_id,
            meaning.node_id,
            group.process_id,
            None,
            meaning.revision,
            position,
            meaning.stamp,
        )

    def _read_parent(self, raw: bytes) -> int | None:
        if len(raw) != SPAN_ID_LENGTH:
            self.encoder.repairs += 1
            return None
        parent: int = _SPAN_ID.unpack(raw)[0]
        return parent or None

    def _read_status(self, raw: bytes) -> tuple[int, str]:
        status = wire.parse(wire.SpanStatus, raw)
        message = self.encoder.cut(self.encoder.clean(status.message), self.limits.value_bytes)
        return (status.code if 0 <= status.code <= 2 else 0), message

    def _read_events(self, raws: Any) -> tuple[str, int]:
        """Return the events as JSON text, and how many were too many."""
        memo = self.memo
        texts: list[str] = []
        for raw in raws[: self.limits.events]:
            event = wire.parse(wire.Event, raw)
            members, dropped = memo.members(event.attributes)
            texts.append(
                event_text(
                    memo.names[event.name],
                    event.time_unix_nano,
                    object_text(members),
                    event.dropped_attributes_count + dropped,
                )
            )
        return self._joined(texts, len(raws))

    def _read_links(self, raws: Any) -> tuple[str | None, int]:
        """Return the links as JSON text, and how many were too many or lacked a valid id."""
        memo = self.memo
        texts: list[str] = []
        for raw in raws[: self.limits.links]:
            link = wire.parse(wire.Link, raw)
            trace_id, span_id = link.trace_id, link.span_id
            if (
                len(trace_id) != TRACE_ID_LENGTH
                or len(span_id) != SPAN_ID_LENGTH
                or not (any(trace_id) and any(span_id))
            ):
                continue
            members, dropped = memo.members(link.attributes)
            texts.append(
                link_text(
                    trace_id.hex(),
                    span_id.hex(),
                    memo.texts[link.trace_state],
                    link.flags,
                    object_text(members),
                    link.dropped_attributes_count + dropped,
                )
            )
        text, lost = self._joined(texts, len(raws))
        return (text if texts else None), lost

    def _joined(self, texts: list[str], count: int) -> tuple[str, int]:
        lost = count - len(texts)
        if lost:
            self.encoder.repairs += 1
        return f"[{','.join(texts)}]", lost
