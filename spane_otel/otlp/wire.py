"""OTLP's messages as we read and write them: wire-compatible with opentelemetry-proto, but shallow and never strict.

The schema is our own, built at import, for three reasons:

* Every string is `bytes`: protobuf refuses a whole request for one byte that isn't UTF-8.
* Attributes, log bodies, events, links, spans and log records are raw `bytes`. A level costs 16 bytes an item until
  somebody looks, so counting is cheap and a small request of a million empty items stays small; a malformed span
  costs only itself; nesting is bounded by us, not by protobuf's 100 levels.
* Enums are `int32`: a number of a later version is a number.

Unknown fields are ignored, as OTLP asks of receivers. Field numbers are those of opentelemetry-proto 1.x (trace.proto,
logs.proto, resource.proto, common.proto, the collector's services) and google/rpc/status.proto.
"""

from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message_factory import GetMessageClass

from spane_otel.errors import DecodeError

_PACKAGE: Final = "spane.wire"

_MESSAGES: Final = {
    # ExportTraceServiceRequest and ExportLogsServiceRequest: of ResourceSpans, ResourceLogs
    "Request": "resource_items:1:bytes*",
    # ResourceSpans and ResourceLogs: of ScopeSpans, ScopeLogs
    "ResourceItems": "resource:1:Resource scope_items:2:bytes* schema_url:3:bytes",
    # ScopeSpans and ScopeLogs: of Span, LogRecord
    "ScopeItems": "scope:1:Scope items:2:bytes* schema_url:3:bytes",
    "Resource": "attributes:1:bytes* dropped_attributes_count:2:uint32",
    "Scope": "name:1:bytes version:2:bytes attributes:3:bytes* dropped_attributes_count:4:uint32",
    "Span": (
        "trace_id:1:bytes span_id:2:bytes trace_state:3:bytes parent_span_id:4:bytes name:5:bytes kind:6:int32 "
        "start_time_unix_nano:7:fixed64 end_time_unix_nano:8:fixed64 attributes:9:bytes* "
        "dropped_attributes_count:10:uint32 events:11:bytes* dropped_events_count:12:uint32 links:13:bytes* "
        "dropped_links_count:14:uint32 status:15:bytes flags:16:fixed32"
    ),
    "SpanStatus": "message:2:bytes code:3:int32",
    "Event": "time_unix_nano:1:fixed64 name:2:bytes attributes:3:bytes* dropped_attributes_count:4:uint32",
    "Link": (
        "trace_id:1:bytes span_id:2:bytes trace_state:3:bytes attributes:4:bytes* "
        "dropped_attributes_count:5:uint32 flags:6:fixed32"
    ),
    "LogRecord": (
        "time_unix_nano:1:fixed64 severity_number:2:int32 severity_text:3:bytes body:5:bytes attributes:6:bytes* "
        "dropped_attributes_count:7:uint32 flags:8:fixed32 trace_id:9:bytes span_id:10:bytes "
        "observed_time_unix_nano:11:fixed64 event_name:12:bytes"
    ),
    "Response": "partial_success:1:PartialSuccess",
    "PartialSuccess": "rejected:1:int64 error_message:2:bytes",
    "Status": "code:1:int32 message:2:bytes",
}
"""`field:number:type`, `*` for repeated; a type that is no scalar is a message."""

_SCALARS: Final = {
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "fixed32": FieldDescriptorProto.TYPE_FIXED32,
    "fixed64": FieldDescriptorProto.TYPE_FIXED64,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
}


def _build_schema() -> FileDescriptorProto:
    schema = FileDescriptorProto(name="spane/wire.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = schema.message_type.add(name=name)
        for field in fields.split():
            field_name, number, kind = field.split(":")
            scalar = _SCALARS.get(kind.removesuffix("*"))
            added = message.field.add(
                name=field_name,
                number=int(number),
                label=FieldDescriptorProto.LABEL_REPEATED
                if kind.endswith("*")
                else FieldDescriptorProto.LABEL_OPTIONAL,
                type=FieldDescriptorProto.TYPE_MESSAGE if scalar is None else scalar,
            )
            if scalar is None:
                added.type_name = f".{_PACKAGE}.{kind}"
    return schema


_POOL: Final = DescriptorPool()
"""A pool of our own: the default one may hold opentelemetry-proto's messages."""
_POOL.Add(_build_schema())


def _message(name: str) -> Any:
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Request: Final = _message("Request")
ResourceItems: Final = _message("ResourceItems")
ScopeItems: Final = _message("ScopeItems")
Resource: Final = _message("Resource")
Scope: Final = _message("Scope")
Span: Final = _message("Span")
SpanStatus: Final = _message("SpanStatus")
Event: Final = _message("Event")
Link: Final = _message("Link")
LogRecord: Final = _message("LogRecord")
Response: Final = _message("Response")
PartialSuccess: Final = _message("PartialSuccess")
Status: Final = _message("Status")


def parse(message: Any, raw: bytes) -> Any:
    """Return `raw` as a message of class `message`.

    Raises:
        DecodeError: `raw` is not protobuf.

    """
    try:
        return message.FromString(raw)
    except ProtobufError as error:
        raise DecodeError(f"malformed protobuf in {message.DESCRIPTOR.name}") from error
