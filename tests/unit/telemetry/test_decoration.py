"""`@workflow` and `@node`."""

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from spane_otel import aflush, current_execution, flush, node, workflow
from tests.unit.telemetry.sinks import RecordingSink, attributes_of


def test_a_bare_decorator_names_workflow_and_node_after_the_function(sink: RecordingSink) -> None:
    @node
    def pay(amount: int) -> int:
        return amount + 1

    @workflow
    def order(amount: int) -> int:
        """Order something."""
        return pay(amount)

    assert order(1) == 2
    assert order.__name__ == "order"
    assert order.__doc__ == "Order something."
    assert str(inspect.signature(pay)) == "(amount: int) -> int"
    assert flush()
    root, step = sink.span("order"), sink.span("pay")
    assert root.stamp is not None
    assert root.stamp.workflow_id == "order"
    assert step.parent_id == root.span_id
    assert (step.execution_id, step.node_id) == (root.execution_id, "pay")
    assert "spane.input" not in attributes_of(step)


async def test_async_functions_stay_async(sink: RecordingSink) -> None:
    @node("charge", attempt=4, iteration=2)
    async def pay(amount: int) -> str:
        await asyncio.sleep(0)
        run = current_execution()
        assert run is not None
        return f"{run.workflow_id}:{amount}"

    @workflow("order-v2", "7")
    async def order(amount: int) -> str:
        return await pay(amount)

    assert inspect.iscoroutinefunction(order)
    assert await order(5) == "order-v2:5"
    assert await aflush()
    root, step = sink.span("order-v2"), sink.span("charge")
    assert root.stamp is not None
    assert root.stamp.version_label == "7"
    assert attributes_of(step)["spane.node.attempt"] == 4
    assert attributes_of(step)["spane.node.iteration"] == 2


def test_arguments_and_result_are_recorded_by_name_where_asked_for(sink: RecordingSink) -> None:
    @workflow(record=("args", "result"))
    def order(amount: int, /, *rest: int, currency: str = "EUR", **more: Any) -> dict[str, int]:
        return {"paid": amount}

    order(3, 4, 5, tip=True)
    assert flush()
    stamp = sink.span("order").stamp
    assert stamp is not None
    assert stamp.input == '{"amount":3,"rest":[4,5],"more":{"tip":true}}'
    assert stamp.output == '{"paid":3}'


def test_only_what_is_asked_for_is_recorded(sink: RecordingSink) -> None:
    @node(record=("result",))
    def pay(amount: int) -> None:
        return None

    pay(3)
    assert flush()
    attributes = attributes_of(sink.span("pay"))
    assert "spane.input" not in attributes
    assert attributes["spane.output"] == "null"


def test_methods_class_methods_and_static_methods_are_recorded_without_themselves(sink: RecordingSink) -> None:
    class Till:
        @node(record=("args",))
        def pay(self, amount: int) -> int:
            return amount

        @node(record=("args",))
        @classmethod
        def refund(cls, amount: int) -> type:
            return cls

        @node(record=("args",))
        @staticmethod
        def check(amount: int) -> int:
            return amount

    assert Till().pay(1) == 1
    assert Till.refund(2) is Till
    assert Till.check(3) == 3
    assert flush()
    inputs = {span.name: attributes_of(span)["spane.input"] for span in sink.spans}
    assert inputs == {"pay": '{"amount":1}', "refund": '{"amount":2}', "check": '{"amount":3}'}


def test_bare_decorators_record_class_methods_and_static_methods_too(sink: RecordingSink) -> None:
    class Till:
        @node
        @classmethod
        def refund(cls) -> type:
            return cls

        @workflow
        @classmethod
        def close(cls) -> type:
            return cls

        @node
        @staticmethod
        def check() -> int:
            return 3

    assert Till.refund() is Till
    assert Till.close() is Till
    assert Till.check() == 3
    assert flush()
    assert sorted(span.name for span in sink.spans) == ["check", "close", "refund"]


def test_a_call_with_wrong_arguments_raises_what_it_always_raised(sink: RecordingSink) -> None:
    @node(record=("args",))
    def pay(amount: int) -> int:
        return amount

    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        cast("Any", pay)(nonsense=1)
    assert flush()
    assert sink.span("pay").state == "failed"


def test_a_callable_without_a_name_is_named_after_its_class(sink: RecordingSink) -> None:
    def pay(amount: int) -> int:
        return amount

    assert node(functools.partial(pay, 2))() == 2
    assert flush()
    assert sink.names() == {"partial": 1}


def test_generator_functions_work_as_before_and_say_that_they_are_not_recorded(
    sink: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):

        @node
        def numbers() -> Iterator[int]:
            yield from range(3)

        @node("async-numbers")
        async def more() -> AsyncIterator[int]:
            yield 1

    assert list(numbers()) == [0, 1, 2]
    assert inspect.isasyncgenfunction(more)
    assert [record.message for record in caplog.records] == [
        "numbers is a generator function: calls of it are not recorded",
        "more is a generator function: calls of it are not recorded",
    ]


@pytest.mark.parametrize("record", ["args", ("args", "results"), (1,)])
def test_a_misspelt_record_is_an_error_where_it_is_written(record: Any) -> None:
    with pytest.raises(ValueError, match='record may hold "args" and "result"'):
        node("n", record=record)
    with pytest.raises(ValueError, match='record may hold "args" and "result"'):
        workflow("w", record=record)


def test_one_decorator_object_serves_several_functions(sink: RecordingSink) -> None:
    step = node("shared")

    @step
    def one() -> int:
        return 1

    @step
    def two() -> int:
        return 2

    assert (one(), two(), one()) == (1, 2, 1)
    assert flush()
    assert sink.names() == {"shared": 3}
