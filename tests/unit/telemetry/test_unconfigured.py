"""Without `configure` nothing happens, and it costs next to nothing."""

import asyncio
import subprocess
import sys
import time

from opentelemetry import trace

from spane_otel import aflush, current_execution, execution, flush, log, node, workflow


def add(amount: int) -> int:
    return amount + 1


def least_cost(function: object, count: int = 2_000) -> float:
    """Return the least time of a call in seconds, over many rounds: what else runs on this machine does not count."""
    assert callable(function)
    least = float("inf")
    for _ in range(30):
        began = time.perf_counter()
        for number in range(count):
            function(number)
        least = min(least, (time.perf_counter() - began) / count)
    return least


def test_a_decorated_function_costs_less_than_two_microseconds_more() -> None:
    assert least_cost(node(add)) - least_cost(add) < 2e-6
    assert least_cost(workflow(add)) - least_cost(add) < 2e-6


def test_blocks_do_nothing() -> None:
    with execution("order", input={"a": 1}) as run, node("pay", input=2) as step:
        run.set_result(object())
        step.set_result(object())
        log("hello", level="error")
        assert current_execution() is None
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert step.span is trace.INVALID_SPAN
    assert run.execution_id == run.execution_id != ""


def test_there_is_nothing_to_flush() -> None:
    assert flush(0.0)
    assert asyncio.run(aflush(0.0))


def test_async_functions_run() -> None:
    @workflow
    async def order() -> int:
        return await pay()

    @node("pay")
    async def pay() -> int:
        return 3

    assert asyncio.run(order()) == 3


def test_importing_the_api_loads_neither_sdk_nor_servers_nor_drivers() -> None:
    program = """
import sys
from spane_otel import configure, execution, node, workflow, log, flush
@node
def f(): return 1
f()
heavy = ["starlette", "uvicorn", "grpc", "bullmq", "jinja2", "asyncpg", "requests"]
print([name for name in ["opentelemetry.sdk.trace", "google.protobuf", *heavy] if name in sys.modules])
configure(endpoint="http://127.0.0.1:1")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n[]\n"
    assert done.stderr == ""
