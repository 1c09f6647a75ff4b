"""Any sequence of calls leaves the same visible state, and the same errors, in memory and in PostgreSQL."""

import asyncio
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from spane_otel.clock import SECOND
from spane_otel.records import Stamp
from spane_otel.state import Lease, NewDeadLetter
from spane_otel.stores.outcomes import dead_letter_id
from tests.conformance.definitions import chain
from tests.conformance.emptying import empty_database
from tests.reliability.twins import Call, Twins
from tests.rows import BASE_NS, batch, log, ns, root, span

EXECUTIONS: Final = ["e0", "e1", "e2"]
WORKFLOWS: Final = ["w0", "w1"]


class Long(str):
    """A text that is kept compressed, and told in one word when a history is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LONG"


LONG: Final = Long("x" * 70_000)

some_execution = st.sampled_from([*EXECUTIONS, *EXECUTIONS, *EXECUTIONS, "nobody"])
some_parent = st.sampled_from([None, None, *EXECUTIONS, "gone"])
some_workflow = st.sampled_from([*WORKFLOWS, "w unknown"])
some_node = st.sampled_from(["a", "b", "c", "x"])
some_value: st.SearchStrategy[Any] = st.sampled_from([0, False, "", [], {}, None, "text", {"k": [1]}, LONG])
some_attempt = st.integers(1, 2)
some_iteration = st.integers(0, 1)
some_holder = st.sampled_from(["h0", "h1"])
some_error = st.sampled_from([None, "", "no stock"])
maybe_holder = st.one_of(st.none(), st.none(), st.none(), some_holder)
some_status = st.sampled_from(["running", "paused", "completed", "failed", "cancelled"])
some_metadata = st.dictionaries(st.sampled_from(["k0", "k1"]), some_value, max_size=2)
some_span = st.sampled_from(["s0", "s1", "s2"])
some_span_status = st.sampled_from(["running", "completed", "failed", "skipped", "cancelled"])
some_second = st.integers(0, 4)

DEFINITIONS: Final[list[dict[str, Any]]] = [
    {"nodes": ("a",)},
    {"nodes": ("a", "b")},
    {"nodes": ("a", "b"), "tolerant": ["a"]},
    {"nodes": ("a", "b", "c"), "tolerant": ["c"]},
    {"nodes": ()},
]


def given_only(**values: Any) -> dict[str, Any]:
    """Return what is given: a value in a list of its own, none in an empty one."""
    return {name: value[0] for name, value in values.items() if value}


maybe = st.lists(some_value, max_size=1)
results = st.builds(
    lambda success, skipped, error, data: {
        "success": success,
        "skipped": skipped,
        "error": error,
        **given_only(data=data),
    },
    st.booleans(),
    st.sampled_from([False, False, False, True]),
    some_error,
    maybe,
)


class Machine(RuleBasedStateMachine):
    """Calls both stores and compares what they answer, and what they show of the execution that was touched."""

    def __init__(self, runner: asyncio.Runner, url: str, seed: int | None) -> None:
        super().__init__()
        self.runner = runner
        runner.run(empty_database(url))
        self.twins = Twins(url, BASE_NS + 3_600 * SECOND, seed)

    def both(self, call: Call, *execution_ids: str) -> Any:
        answer = self.runner.run(self.twins.call(call))
        for execution_id in execution_ids:
            self.runner.run(self.twins.compare_execution(execution_id))
        return answer

    def teardown(self) -> None:
        try:
            self.runner.run(self.twins.compare([*EXECUTIONS, "nobody"], WORKFLOWS))
        finally:
            self.runner.run(self.twins.aclose())

    # --- workflows ---

    @initialize()
    def begin(self) -> None:
        self.both(lambda store: store.save_workflow(chain("a", "b", workflow="w0")))
        self.both(lambda store: store.create_execution("w0", execution_id="e0"), "e0")

    @rule(milliseconds=st.sampled_from([1, 1_000, 60_000]))
    def advance(self, milliseconds: int) -> None:
        self.twins.clock.advance(milliseconds / 1_000)

    @rule(workflow=st.sampled_from(WORKFLOWS), definition=st.sampled_from(DEFINITIONS), notes=some_error)
    def save_workflow(self, workflow: str, definition: dict[str, Any], notes: str | None) -> None:
        made = chain(*definition["nodes"], workflow=workflow, tolerant=definition.get("tolerant", ()))
        self.both(lambda store: store.save_workflow(made, notes))

    @rule(workflow=some_workflow)
    def deactivate_workflow(self, workflow: str) -> None:
        self.both(lambda store: store.deactivate_workflow(workflow))

    # --- executions ---

    @rule(
        workflow=some_workflow,
        execution=st.sampled_from(EXECUTIONS),
        parent=some_parent,
        depth=st.sampled_from([0, 0, 1, 3, 10, 11]),
        data=some_value,
        metadata=some_metadata,
        holder=maybe_holder,
    )
    def create_execution(
        self,
        workflow: str,
        execution: str,
        parent: str | None,
        depth: int,
        data: Any,
        metadata: dict[str, Any],
        holder: str | None,
    ) -> None:
        lease = None if holder is None else lease_of(holder)
        self.both(
            lambda store: store.create_execution(
                workflow, parent, depth, data, execution_id=execution, metadata=metadata, lease=lease
            ),
            execution,
        )

    @rule(
        execution=some_execution,
        status=some_status,
        error=some_error,
        result=maybe,
        operation=st.sampled_from([None, None, "o0", "o1"]),
    )
    def set_execution_status(
        self, execution: str, status: Any, error: str | None, result: list[Any], operation: str | None
    ) -> None:
        self.both(
            lambda store: store.set_execution_status(
                execution, status, error=error, operation=operation, **given_only(result=result)
            ),
            execution,
        )

    @rule(execution=some_execution)
    def delete_execution(self, execution: str) -> None:
        self.both(lambda store: store.delete_execution(execution), execution)

    @rule(execution=some_execution, metadata=some_metadata)
    def update_execution_metadata(self, execution: str, metadata: dict[str, Any]) -> None:
        self.both(lambda store: store.update_execution_metadata(execution, metadata), execution)

    @rule(execution=some_execution, seconds=st.sampled_from([None, -1, 30]))
    def set_execution_timeout(self, execution: str, seconds: int | None) -> None:
        at_ns = None if seconds is None else self.twins.clock.now_ns() + seconds * SECOND
        self.both(lambda store: store.set_execution_timeout(execution, at_ns), execution)

    @rule()
    def sweep_timeouts(self) -> None:
        async def sweep(store: Any) -> list[str]:
            return sorted(await store.sweep_timeouts())

        self.both(sweep, *EXECUTIONS)

    @rule(seconds=st.sampled_from([0, 1, 45]), workflow=st.sampled_from([None, "w0"]))
    def list_what_stands_still(self, seconds: int, workflow: str | None) -> None:
        idle_ns = seconds * SECOND
        self.both(lambda store: store.list_stuck_executions(idle_ns, workflow_id=workflow))
        self.both(lambda store: store.list_long_running_executions(idle_ns, workflow_id=workflow))

    @rule(status=st.sampled_from([None, "running", "failed", "completed"]), workflow=st.sampled_from([None, "w0"]))
    def list_executions(self, status: Any, workflow: str | None) -> None:
        self.both(lambda store: store.list_executions(workflow, limit=2, status=status))

    # --- node results ---

    @rule(
        execution=some_execution,
        node=some_node,
        result=results,
        attempt=some_attempt,
        iteration=some_iteration,
        given=maybe,
        holder=maybe_holder,
        worker=st.sampled_from([None, "worker"]),
        ended=st.sampled_from([None, None, 5]),
    )
    def update_node_result(
        self, execution: str, node: str, result: dict[str, Any], given: list[Any], ended: int | None, **options: Any
    ) -> None:
        options.update(given_only(input=given))
        if ended is not None:
            options.update(started_ns=ns(ended - 1), ended_ns=ns(ended))
        self.both(lambda store: store.update_node_result(execution, node, result, **options), execution)

    @rule(
        execution=some_execution,
        node=some_node,
        result=results,
        attempt=some_attempt,
        iteration=some_iteration,
        holder=maybe_holder,
        execution_result=maybe,
        dead_letter=st.sampled_from([None, NewDeadLetter(), NewDeadLetter(job_id="j", job_data=0)]),
    )
    def complete_node(
        self, execution: str, node: str, result: dict[str, Any], execution_result: list[Any], **options: Any
    ) -> None:
        options.update(given_only(execution_result=execution_result))
        self.both(lambda store: store.complete_node(execution, node, result, **options), execution)

    @rule(execution=some_execution, node=some_node, attempt=some_attempt, iteration=some_iteration)
    def retry_dead_letter(self, execution: str, node: str, attempt: int, iteration: int) -> None:
        letter = dead_letter_id(execution, node, iteration, attempt)
        self.both(lambda store: store.retry_dead_letter(execution, letter), execution)
        self.both(lambda store: store.list_dead_letters(execution_id=execution, include_retried=True))

    # --- leases, so long that none runs out: the database's own clock can't be moved ---

    @rule(execution=some_execution, holder=some_holder)
    def acquire_lease(self, execution: str, holder: str) -> None:
        self.both(lambda store: store.acquire_lease(execution, lease_of(holder)))

    @rule(execution=some_execution, holder=some_holder)
    def release_lease(self, execution: str, holder: str) -> None:
        self.both(lambda store: store.release_lease(execution, holder))

    @rule(holder=some_holder)
    def renew_leases(self, holder: str) -> None:
        async def renew(store: Any) -> list[str]:
            return sorted(await store.renew_leases(lease_of(holder)))

        self.both(renew)

    @rule(holder=some_holder, workflow=st.sampled_from([None, ["w0"]]), limit=st.sampled_from([1, 10]))
    def claim_executions(self, holder: str, workflow: list[str] | None, limit: int) -> None:
        self.both(lambda store: store.claim_executions(lease_of(holder), workflow_ids=workflow, limit=limit))

    # --- spans and logs ---

    @rule(
        execution=some_execution,
        id=some_span,
        parent_id=st.sampled_from([None, "s0", "nothing"]),
        node_id=st.sampled_from([None, "a"]),
        status=some_span_status,
        error=some_error,
        start=st.one_of(st.none(), some_second),
        metadata=some_metadata,
    )
    def add_span(self, execution: str, start: int | None, **options: Any) -> None:
        start_ns = None if start is None else ns(start)
        self.both(lambda store: store.add_span(execution, name="n", start_ns=start_ns, **options), execution)

    @rule(
        execution=some_execution,
        text=some_span,
        end=st.one_of(st.none(), some_second),
        status=st.one_of(st.none(), some_span_status),
        error=some_error,
        metadata=some_metadata,
    )
    def update_span(self, execution: str, text: str, end: int | None, **options: Any) -> None:
        end_ns = None if end is None else ns(end)
        self.both(lambda store: store.update_span(execution, text, end_ns=end_ns, **options), execution)

    @rule(
        execution=some_execution,
        id=st.sampled_from(["l0", "l1", "l2"]),
        level=st.sampled_from(["info", "error"]),
        at=st.one_of(st.none(), some_second),
        span_id=st.sampled_from([None, "s0", "nothing"]),
        metadata=some_metadata,
    )
    def add_log(self, execution: str, at: int | None, **options: Any) -> None:
        time_ns = None if at is None else ns(at)
        self.both(lambda store: store.add_log(execution, "m", time_ns=time_ns, **options), execution)

    @rule(
        execution=st.sampled_from(EXECUTIONS),
        parent=some_parent,
        workflow=st.sampled_from(WORKFLOWS),
        end=st.one_of(st.none(), some_second),
        status=st.sampled_from([0, 1, 2]),
        revision=st.integers(0, 2),
        trace=st.sampled_from(["t0", "t1"]),
        node=some_node,
    )
    def write(
        self, execution: str, parent: str | None, workflow: str, end: int | None, trace: str, **columns: Any
    ) -> None:
        node = columns.pop("node")
        stamp = Stamp(workflow_id=workflow, parent_execution_id=parent, input="[0]", output="false")
        step = f"{execution} {node}"
        # Never at a time at which something is added: at one moment each store counts those in its own way.
        rows = batch(
            root(execution, trace=trace, stamp=stamp, start=0.5, end=end, **columns),
            span(step, trace=trace, parent=f"root of {execution}", execution=execution, node=node, start=1.5),
            log(f"at {node}", trace=trace, execution=execution, at=1.5),
        )
        self.both(lambda store: store.write(rows), execution)

    # --- archives ---

    @rule(execution=some_execution)
    def read_and_write_archive(self, execution: str) -> None:
        async def again(store: Any) -> Any:
            archive = await store.read_execution(execution)
            if archive is not None:
                await store.write_execution(archive)
            return archive

        self.both(again, execution)


def lease_of(holder: str) -> Lease:
    return Lease(holder, 1_000_000)


def run_machine(url: str, seed: int | None = None, **options: Any) -> None:
    profile = settings(
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        **options,
    )
    with asyncio.Runner() as runner:
        make: Any = partial(Machine, runner, url, seed)  # called like the class
        run_state_machine_as_test(make, settings=profile)


SHORT: Final[dict[str, Any]] = {"derandomize": True, "database": None, "phases": [Phase.explicit, Phase.generate]}


def test_a_short_history_leaves_the_same_in_every_store(machine_url: str) -> None:
    """The same histories each time; what differs is made smaller by the long profile."""
    run_machine(machine_url, max_examples=12, stateful_step_count=25, **SHORT)


def test_a_short_history_with_faults_leaves_what_one_without_leaves(machine_url: str) -> None:
    """One in ten calls is executed and then raises; the caller tries again."""
    run_machine(machine_url, seed=7, max_examples=6, stateful_step_count=25, **SHORT)


@pytest.mark.reliability
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", [None, 1, 2], ids=["without faults", "faults 1", "faults 2"])
def test_any_history_leaves_the_same_in_every_store(machine_url: str, seed: int | None) -> None:
    run_machine(machine_url, seed, max_examples=200, stateful_step_count=60)
