"""What went wrong: where a failure began."""

import pytest

from spane_otel.records import Span
from spane_otel.traces.origin import Failure, find_origin, is_failed, own_frame, read_failure, read_stack
from spane_otel.traces.tree import build_tree
from tests.unit.traces.spans import exception, failed, span

STACK = """Traceback (most recent call last):
  File "/usr/lib/python3.11/asyncio/runners.py", line 190, in run
    return runner.run(main)
  File "/srv/app/orders.py", line 12, in handle
    charge(order)
  File "/srv/app/payment.py", line 7, in charge
    client.post(url)
           ~~~~^^^^^
  File "/srv/venv/lib/python3.12/site-packages/http/client.py", line 99, in post
    raise ConnectionError
ConnectionError: refused
"""


def attempt(name: str, number: int, start: int, *, ok: bool) -> Span:
    attributes = {"spane.node.attempt": number}
    make = span if ok else failed
    return make(name, "root", start, start + 5, node_id="write", execution_id="e", attributes=attributes)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([span("root")], None, id="nothing failed"),
        pytest.param([failed("root")], "root", id="the only span"),
        pytest.param([failed("root"), failed("a", "root", 1, 9), failed("b", "a", 2, 8)], "b", id="the innermost"),
        pytest.param([failed("root"), failed("a", "root", 1, 5), failed("b", "root", 2, 9)], "a", id="the earliest"),
        pytest.param(
            [failed("root"), failed("slow", "root", 1, 50), failed("quick", "root", 2, 9)],
            "quick",
            id="earliest is when it broke, not when it began",
        ),
        pytest.param(
            [failed("root", end=90), span("unmarked", "root", 1, 80), failed("deep", "unmarked", 2, 9)],
            "deep",
            id="below a span that says nothing",
        ),
        pytest.param(
            [
                failed("root"),
                attempt("w1", 1, 1, ok=False),
                attempt("w2", 2, 10, ok=True),
                failed("end", "root", 20, 30),
            ],
            "end",
            id="what a later attempt made good is not why it failed",
        ),
        pytest.param(
            [span("root"), attempt("w1", 1, 1, ok=False), attempt("w2", 2, 10, ok=True)],
            "w1",
            id="unless nothing else failed",
        ),
        pytest.param(
            [failed("root"), attempt("w1", 1, 1, ok=False), attempt("w2", 2, 10, ok=False)],
            "w1",
            id="the first of attempts that all failed",
        ),
        pytest.param([failed("a", "gone")], "a", id="below a parent that did not arrive"),
        pytest.param([failed("a", "b", 1), failed("b", "a", 2)], "b", id="in a cycle"),
    ],
)
def test_where_it_began(spans: list[Span], expected: str | None) -> None:
    tree = build_tree(spans)
    origin = find_origin(tree)
    found = tree.rows[origin.row].span if origin else None
    assert (found.name if found else None) == expected


def test_the_path_leads_from_the_root_to_the_origin() -> None:
    tree = build_tree([failed("root"), failed("a", "root", 1), failed("b", "a", 2)])
    origin = find_origin(tree)
    assert origin is not None
    assert [tree.rows[index].span.name for index in origin.path] == ["root", "a", "b"]  # type: ignore[union-attr] # no placeholders here
    assert origin.failures == 1


def test_the_moment_is_the_exceptions_own() -> None:
    origin = find_origin(build_tree([failed("a", end=50, events=[exception(42, "ValueError", "no")])]))
    assert origin is not None
    assert origin.time_ns == 42
    assert origin.failure == Failure("ValueError", "no", "", 42)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(
            failed("a", status_message="ValueError: no such order"),
            ("ValueError", "no such order"),
            id="a typed message",
        ),
        pytest.param(failed("a", status_message="upstream said 503"), ("", "upstream said 503"), id="a plain message"),
        pytest.param(failed("a"), ("", ""), id="nothing said"),
        pytest.param(
            failed("a", events=[exception(1, "KeyError", "'x'"), exception(2, "app.OrderError", "no stock")]),
            ("app.OrderError", "no stock"),
            id="the last exception: the one that left the span",
        ),
        pytest.param(
            failed("a", status_message="said outside", events=[exception(1, "KeyError", "")]),
            ("KeyError", "said outside"),
            id="an exception without a message",
        ),
        pytest.param(
            failed("a", events=[{"name": "exception", "time_ns": "0", "attributes": {"exception.type": 7}}]),
            ("", ""),
            id="attributes of the wrong type",
        ),
        pytest.param(failed("a", events=[{"name": "exception"}]), ("", ""), id="an event without attributes"),
    ],
)
def test_what_a_span_tells_of_its_failure(values: Span, expected: tuple[str, str]) -> None:
    failure = read_failure(values)
    assert (failure.type, failure.message) == expected


def test_the_deepest_frame_of_the_users_own_code() -> None:
    frames = read_stack(STACK)
    assert [(frame.function, frame.is_library) for frame in frames] == [
        ("run", True),
        ("handle", False),
        ("charge", False),
        ("post", True),
    ]
    own = own_frame(frames)
    assert own is not None
    assert (own.file, own.line, own.code) == ("/srv/app/payment.py", 7, "client.post(url)")


def test_of_chained_exceptions_the_last_counts() -> None:
    chained = f"{STACK}\nDuring handling of the above exception, another exception occurred:\n\n" + STACK.replace(
        "payment.py", "refund.py"
    )
    own = own_frame(read_stack(chained))
    assert own is not None
    assert own.file == "/srv/app/refund.py"
    assert len(read_stack(chained)) == 4


@pytest.mark.parametrize("stack", ["", "at com.example.Main(Main.java:3)", "Traceback (most recent call last):\n"])
def test_a_stack_that_is_not_pythons_has_no_frames(stack: str) -> None:
    assert read_stack(stack) == []
    assert own_frame([]) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (failed("a"), True),
        (span("a", status="error", state="cancelled"), False),
        (span("a", status="unset", state="failed"), True),
        (span("a", status="ok"), False),
    ],
)
def test_what_counts_as_failed(values: Span, expected: bool) -> None:
    assert is_failed(values) is expected
