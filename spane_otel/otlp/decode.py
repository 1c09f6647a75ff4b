"""OTLP requests in protobuf → rows. One function for each signal; `Decoded` is what both return."""

from spane_otel.otlp.envelope import Decoded
from spane_otel.otlp.logs import decode_logs
from spane_otel.otlp.traces import decode_traces

__all__ = ["Decoded", "decode_logs", "decode_traces"]
