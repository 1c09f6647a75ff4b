"""A document says all of an execution, exactly, and refuses what it does not know."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from spane_otel.archives import ExecutionArchive, WorkflowArchive
from spane_otel.derivation import ExecutionTraceRow
from spane_otel.errors import DecodeError
from spane_otel.identity import resource_row, scope_row
from spane_otel.records import Batch, Execution, LogRow, SpanRow, Stamp
from spane_otel.state import AuditEntry, DeadLetter, NodeResult, WorkflowVersion
from spane_otel.transfer.documents import ExecutionExport, read_document, write_document
from spane_otel.transfer.parts import pack, unpack
from spane_otel.transfer.texts import join_object, split_object

RESOURCE = resource_row('{"service.name":"shop","n":1E2}', service="shop")
SCOPE = scope_row("tests", "1.0")
NS = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
IDS = st.binary(min_size=16, max_size=16)
ATTRIBUTES = st.sampled_from(['{"a":1.0,"b":1E5,"c":-0.0,"d":12345678901234567890}', '{ "é" : "\\n" }', "{}"])
PAYLOADS: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, False, "", [], {}, "\0 \ud800", 2**70, -0.0, {"a": [None, 1.0]}]
)

SPANS = st.builds(
    SpanRow,
    trace_id=IDS,
    span_id=st.integers(-(2**63), 2**63 - 1).filter(bool),
    parent_id=st.none() | st.integers(-(2**63), 2**63 - 1).filter(bool),
    start_ns=NS,
    end_ns=st.none() | NS,
    attributes=ATTRIBUTES,
    events=st.none() | st.just('[{"name":"e","time_ns":"1","attributes":{"x":1.50}}]'),
    links=st.none() | st.just("[ ]"),
    stamp=st.none(),
    name=TEXT,
    added_hash=st.none() | IDS,
    state=st.sampled_from([None, "completed", "open"]),
)
LOGS = st.builds(LogRow, log_id=IDS, trace_key=IDS, time_ns=NS, attributes=ATTRIBUTES, body=ATTRIBUTES, uid=TEXT)
TRACES = st.builds(
    ExecutionTraceRow,
    trace_id=IDS,
    root_span_id=st.integers(-(2**63), 2**63 - 1),
    start_ns=NS,
    stamp=st.builds(Stamp, input=st.none() | ATTRIBUTES, output=st.none() | ATTRIBUTES, depth=st.none() | st.just(0)),
    state=st.sampled_from([None, "failed"]),
)
GIVEN = st.tuples(st.just(True), PAYLOADS) | st.just((False, None))
"""Whether there is a payload, and which."""


def node_result(given: tuple[bool, Any], made: tuple[bool, Any], **members: Any) -> NodeResult:
    (has_input, input_), (has_data, data) = given, made
    return NodeResult(has_input=has_input, input=input_, has_data=has_data, data=data, **members)


RESULTS = st.builds(
    node_result,
    GIVEN,
    GIVEN,
    execution_id=TEXT,
    node_id=TEXT,
    started_ns=st.none() | NS,
    next_nodes=st.none() | st.lists(TEXT, max_size=2).map(tuple),
)
AUDIT = st.builds(AuditEntry, changed_ns=NS)


def again(part: Any) -> Any:
    return unpack(split_object(join_object(pack(part)), "it"), type(part), "it")


@settings(max_examples=60)
@given(st.one_of(SPANS, LOGS, TRACES, RESULTS, AUDIT))
def test_a_part_comes_back_exactly(part: Struct) -> None:
    assert repr(again(part)) == repr(part)


def export(**execution: Any) -> ExecutionExport:
    """Return an execution with one of each part."""
    version = WorkflowVersion(workflow_id="w", version=2, version_id=9, content_hash="ab" * 16, created_ns=1)
    record = Execution(execution_id="e", workflow_id="w", workflow_version=2, started_ns=2**62, **execution)
    return ExecutionExport(
        ExecutionArchive(
            execution=record,
            nodes_total=2,
            content_hash=b"h" * 16,
            timeout_ns=record.timeout_ns,
            process_id="p",
            traces=[ExecutionTraceRow("e", b"t" * 16, 0, 0, 5, stamp=Stamp(workflow_id="w", input="1E5"))],
            node_results=[NodeResult(execution_id="e", node_id="n", data=None, has_data=True)],
            audit=[AuditEntry(execution_id="e", seq=1, changed_ns=3, change="created")],
            dead_letters=[DeadLetter(dead_letter_id="d", execution_id="e", node_id="n", job_data=0, has_job_data=True)],
            has_initial_data="initial_data" in execution,
            has_result="result" in execution,
        ),
        Batch(
            spans=[SpanRow(b"t" * 16, -1, 1, None, "s", RESOURCE.resource_id, SCOPE.scope_id, "shop")],
            logs=[LogRow(b"l" * 16, b"t" * 16, 1, RESOURCE.resource_id, SCOPE.scope_id, "shop")],
            resources={RESOURCE.resource_id: RESOURCE},
            scopes={SCOPE.scope_id: SCOPE},
        ),
        WorkflowArchive(
            workflow_id="w", is_active=True, created_ns=1, updated_ns=2, versions=[(version, '{"id":"w", "x":1E5}')]
        ),
    )


@pytest.mark.parametrize(
    "given",
    [
        export(),
        export(initial_data=None, result=0),
        export(initial_data={"a": "\ud800"}, metadata={"k": 2**70}, timeout_ns=7),
        ExecutionExport(ExecutionArchive(execution=Execution(execution_id="e")), Batch()),
    ],
)
def test_an_execution_comes_back_exactly(given: ExecutionExport) -> None:
    (found,) = read_document(write_document([given]).encode())
    assert repr(found) == repr(given)


def test_what_javascript_rounds_is_written_as_text() -> None:
    document = json.loads(write_document([export()]))
    (execution,) = document["executions"]
    assert execution["execution"]["started_ns"] == str(2**62)
    assert execution["spans"][0]["span_id"] == "f" * 16
    assert execution["spans"][0]["trace_id"] == (b"t" * 16).hex()
    assert execution["node_results"] == [{"execution_id": "e", "node_id": "n", "data": None}]


def test_a_document_that_others_have_formatted_is_read() -> None:
    document = write_document([export(initial_data=1)])
    assert read_document(json.dumps(json.loads(document), indent=2))[0].archive.execution.initial_data == 1


def changed(path: str, value: Any) -> str:
    document: Any = json.loads(write_document([export()]))
    *places, last = path.split("/")
    place = document
    for each in places:
        place = place[int(each) if each.isdigit() else each]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "the document is no JSON object"),
        (b"\xff", "UTF-8"),
        (write_document([export()])[:-30], "breaks off"),
        (changed("format", "other"), "no export of spane-otel"),
        (changed("version", 2), "version 2, this spane-otel reads 1"),
        (changed("executions", None), "executions is no JSON array"),
        (changed("executions/0/execution", None), "executions[0].execution is no JSON object"),
        (changed("executions/0/execution/execution_id", None), "executions[0].execution.execution_id is missing"),
        (changed("executions/0/execution/statuss", 1), "executions[0].execution.statuss is unknown"),
        (changed("executions/0/execution/status", "done"), "executions[0].execution.status"),
        (changed("executions/0/execution/started_ns", 5), "executions[0].execution.started_ns"),
        (changed("executions/0/spans/0/trace_id", "xy"), "executions[0].spans[0].trace_id"),
        (changed("executions/0/spans/0/span_id", "00"), "executions[0].spans[0].span_id"),
        (changed("executions/0/spans/0/kind", "client"), "executions[0].spans[0].kind"),
        (changed("executions/0/workflow/versions/0/definition", None), "versions[0].definition is missing"),
        (changed("executions/0/workflow/created_ns", "soon"), "executions[0].workflow.created_ns"),
    ],
)
def test_what_is_no_document_of_ours_is_refused_with_the_place(document: str | bytes, said: str) -> None:
    with pytest.raises(DecodeError) as refused:
        read_document(document)
    assert said in str(refused.value)
