"""ExportLogsServiceRequest → log rows."""

from struct import Struct as Packing
from typing import Final

from spane_otel import mapping
from spane_otel.derivation import inherit
from spane_otel.errors import DecodeError
from spane_otel.identity import content_log_id, log_trace_key, uid_log_id
from spane_otel.ids import SPAN_ID_LENGTH, TRACE_ID_LENGTH, ZERO_TRACE_ID
from spane_otel.otlp import wire
from spane_otel.otlp.attributes import AttributeMemo, borrow_memo
from spane_otel.otlp.envelope import Decoded, Group, open_envelope
from spane_otel.records import TIME_SOURCES, LogRow, Rejection
from spane_otel.values import DEFAULT_LIMITS, INT64_MAX, Limits, object_text, own_values, says_something

_SPAN_ID: Final = Packing(">q")
_TIME, _OBSERVED, _RECEIPT = (TIME_SOURCES.index(source) for source in ("time", "observed", "receipt"))


def decode_logs(body: bytes, *, now_ns: int, limits: Limits = DEFAULT_LIMITS) -> Decoded:
    """Return the records of an ExportLogsServiceRequest as rows.

    `now_ns` is the time of receipt, which a record gets that carries no time. A bad record is repaired (a trace or
    span id that is none is left out) or rejected (`malformed`, `time_out_of_range`) and costs no other record.

    Raises:
        DecodeError: `body` is not such a request.
        TooLargeError: it holds more records than a request may.

    """
    decoded = Decoded()
    with borrow_memo(limits) as memo:
        decoder = _LogDecoder(memo, decoded, now_ns)
        for group in open_envelope(body, memo, decoded.batch):
            decoder.decode_group(group)
    decoded.accepted = len(decoded.batch.logs)
    inherit(decoded.batch)
    return decoded


class _LogDecoder:
    def __init__(self, memo: AttributeMemo, decoded: Decoded, now_ns: int) -> None:
        self.memo: Final = memo
        self.encoder: Final = memo.encoder
        self.decoded: Final = decoded
        self.now_ns: Final = now_ns
        self.position = 0
        self.ordinals: dict[bytes, int] = {}
        """How many records of this request had the same content so far."""

    def decode_group(self, group: Group) -> None:
        decoded, encoder, batch = self.decoded, self.encoder, self.decoded.batch
        before = len(batch.logs)
        for position, raw in enumerate(group.items, self.position):
            repairs = encoder.repairs
            try:
                row = self._decode_record(raw, position, group)
            except DecodeError as error:
                row = Rejection("logs", position, "malformed", str(error))
            if isinstance(row, LogRow):
                batch.logs.append(row)
                decoded.repaired += encoder.repairs != repairs
            else:
                decoded.rejected.append(row)
        self.position += len(group.items)
        if len(batch.logs) > before:
            batch.resources[group.resource.resource_id] = group.resource
            batch.scopes[group.scope.scope_id] = group.scope

    def _decode_record(self, raw: bytes, position: int, group: Group) -> LogRow | Rejection:
        record = wire.parse(wire.LogRecord, raw)
        time_ns, observed_ns = record.time_unix_nano, record.observed_time_unix_nano
        if time_ns > INT64_MAX or observed_ns > INT64_MAX:
            return Rejection("logs", position, "time_out_of_range", f"at {time_ns} ns, observed {observed_ns} ns")
        source = _TIME if time_ns else _OBSERVED if observed_ns else _RECEIPT
        members, dropped = self.memo.members(record.attributes)
        attributes = object_text(members)
        values = own_values(members) if says_something(attributes) else {}
        meaning = mapping.read_span(values) if values else mapping.NOTHING
        uid = values.get(mapping.LOG_RECORD_UID)
        names = self.memo.names
        row = LogRow(
            log_id=b"",
            trace_key=b"",
            time_ns=time_ns or observed_ns or self.now_ns,
            resource_id=group.resource.resource_id,
            scope_id=group.scope.scope_id,
            service=group.resource.service,
            time_source=source,
            observed_ns=observed_ns,
            severity=record.severity_number,
            severity_text=names[record.severity_text],
            body=self.memo.body(record.body),
            attributes=attributes,
            dropped_attributes_count=record.dropped_attributes_count + dropped,
            event_name=names[record.event_name],
            trace_id=self._read_trace_id(record.trace_id),
            span_id=self._read_span_id(record.span_id),
            flags=record.flags,
            execution_id=meaning.execution_id,
            node_id=meaning.node_id,
            process_id=group.process_id,
            uid=uid if isinstance(uid, str) and uid else None,
            seq=position,
        )
        row.log_id = self._identify(row)
        row.trace_key = log_trace_key(row.trace_id, row.execution_id, row.log_id)
        return row

    def _identify(self, row: LogRow) -> bytes:
        if row.uid is not None:
            return uid_log_id(row.uid)
        first = content_log_id(row, 0)
        ordinal = self.ordinals.get(first, 0)
        self.ordinals[first] = ordinal + 1
        return content_log_id(row, ordinal) if ordinal else first

    def _read_trace_id(self, raw: bytes) -> bytes | None:
        if not raw or raw == ZERO_TRACE_ID:
            return None
        if len(raw) == TRACE_ID_LENGTH:
            return raw
        self.encoder.repairs += 1
        return None

    def _read_span_id(self, raw: bytes) -> int | None:
        if not raw:
            return None
        if len(raw) != SPAN_ID_LENGTH:
            self.encoder.repairs += 1
            return None
        span_id: int = _SPAN_ID.unpack(raw)[0]
        return span_id or None
