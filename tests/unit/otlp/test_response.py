"""OTLP's answers, read back with the official classes."""

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # it ships no stubs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from spane_otel.errors import DecodeError
from spane_otel.otlp import response


def test_full_success_is_empty() -> None:
    """OTLP wants `partial_success` unset: in Go a set one is an error."""
    assert response.traces_response() == b""
    assert response.logs_response(0, "") == b""
    assert response.parse_response(b"") == response.PartialSuccess(0, "")


def test_partial_success_says_how_many_and_why() -> None:
    raw = response.traces_response(3, "3 spans: invalid_trace_id")
    partial = ExportTraceServiceResponse.FromString(raw).partial_success
    assert (partial.rejected_spans, partial.error_message) == (3, "3 spans: invalid_trace_id")
    assert response.parse_response(raw) == response.PartialSuccess(3, "3 spans: invalid_trace_id")


def test_logs_and_metrics_answer_alike() -> None:
    logs = ExportLogsServiceResponse.FromString(response.logs_response(2, "x")).partial_success
    assert (logs.rejected_log_records, logs.error_message) == (2, "x")
    metrics = ExportMetricsServiceResponse.FromString(response.metrics_response(1, "y")).partial_success
    assert (metrics.rejected_data_points, metrics.error_message) == (1, "y")


def test_a_failure_is_a_status() -> None:
    raw = response.status(response.INVALID_ARGUMENT, "no \0 and \ud800" + "x" * 5_000)
    status = Status.FromString(raw)
    assert status.code == 3
    assert status.message.startswith("no \ufffd and \ufffdx")
    assert len(status.message) == response.MESSAGE_CHARACTERS
    assert response.parse_status(raw) == response.Failure(3, status.message)


@pytest.mark.parametrize("parse", [response.parse_response, response.parse_status])
def test_a_page_of_html_is_no_answer(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(DecodeError):
        parse(b"<html>gateway time-out</html>")
