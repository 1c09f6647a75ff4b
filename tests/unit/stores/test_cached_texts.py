"""Records come out of the cache exactly as they went in."""

from typing import Any

import pytest

from spane_otel.graph import load_workflow
from spane_otel.records import Execution
from spane_otel.state import NodeResult, Workflow
from spane_otel.stores.cached.texts import COMPRESSED_FROM, decode_record, encode_record

PAYLOADS: list[Any] = [
    None,
    0,
    -0.0,
    0.1,
    1e300,
    2**63,
    -(10**40),
    False,
    "",
    [],
    {},
    "\0 \ud800 é 😀",
    {"a": [1, 1.0, True, None, {"": {}}]},
    {"doubleValue": "NaN"},
    "x" * 3 * COMPRESSED_FROM,
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
def test_a_payload_comes_back_as_it_was(payload: Any) -> None:
    execution = Execution(execution_id="e", initial_data=payload, metadata={"k": payload}, trace_ids=("a", "b"))
    result = NodeResult(execution_id="e", node_id="n", data=payload, has_data=True, next_nodes=("m",))
    again = decode_record(encode_record(execution), Execution)
    assert (again, repr(again)) == (execution, repr(execution))  # 1 and 1.0 and True are equal
    results = decode_record(encode_record({"n": result}), dict[str, NodeResult])
    assert (results, repr(results)) == ({"n": result}, repr({"n": result}))


def test_a_workflow_comes_back_as_it_was() -> None:
    workflow = load_workflow(
        {
            "id": "w",
            "entryNodeId": "a",
            "nodes": [{"id": "a", "type": "t", "config": {"x": [1.0, {"y": None}]}, "outputs": ["b"], "note": 1}],
            "triggers": [{"type": "webhook"}],
            "more": {"z": 2**70},
        }
    )
    assert decode_record(encode_record(workflow), Workflow) == workflow


@pytest.mark.parametrize("data", [b"", b"j", b"z", b"zx", b"j{}", b'j{"execution_id":1}', b"\xff" * 9])
def test_what_is_nothing_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what else it says is no promise
        decode_record(data, Execution)


def test_long_text_is_compressed() -> None:
    assert len(encode_record(Execution(execution_id="e", initial_data="x" * 100_000))) < 2_000
