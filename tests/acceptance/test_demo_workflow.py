"""The demo's workflow, run whole on an engine: what really fails, is retried and is cancelled stands in the store."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spane_otel.demo.analysis import Analysis
from spane_otel.demo.definition import ATTEMPTS, PLACES, WORKFLOW
from spane_otel.demo.nodes import TRACE
from spane_otel.demo.run import LOGGER
from spane_otel.demo.runner import Outcome, Runner
from spane_otel.demo.sources import BROKEN_PACKAGE, standard_library
from spane_otel.records import Execution, Span
from spane_otel.stores.memory import InMemoryExecutionStore
from spane_otel.telemetry import aflush, configure, shutdown

SEED = 2**53 + 1


@pytest.fixture
async def store() -> AsyncIterator[InMemoryExecutionStore]:
    async with InMemoryExecutionStore(max_spans_per_execution=10_000, max_logs_per_execution=10_000) as store:
        configure("demo-test", store=store)
        level = LOGGER.level
        LOGGER.setLevel(TRACE)
        yield store
        LOGGER.setLevel(level)
        assert shutdown()


@pytest.fixture
async def runner(store: InMemoryExecutionStore) -> AsyncIterator[Runner]:
    async with Runner(store, retry_after_ms=300) as runner:
        await runner.register()
        yield runner


def analysis(*packages: str, **changes: object) -> Analysis:
    asked = {
        "root": str(standard_library()),
        "packages": list(packages),
        "seed": SEED,
        "cpu_share": 0.2,
        "spelling_budget_s": 0.05,
        "busy_timeout_s": 0.01,
        **changes,
    }
    return Analysis(**asked)  # type: ignore[arg-type]  # the defaults above have the right types


async def run(runner: Runner, request: Analysis) -> Outcome:
    outcome = await runner.run(request)
    assert await aflush()
    return outcome


async def load(store: InMemoryExecutionStore, execution_id: str) -> tuple[Execution, list[Span]]:
    execution = await store.get_execution(execution_id)
    trace = await store.get_trace(execution_id)
    assert execution is not None
    assert trace is not None
    return execution, trace.spans


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


async def test_an_execution_completes_although_a_package_is_broken_a_lock_is_met_and_time_runs_out(
    store: InMemoryExecutionStore, runner: Runner
) -> None:
    outcome = await run(runner, analysis("json", "xml", BROKEN_PACKAGE, on_broken_file="fail_package", cpu_share=0.12))
    execution, spans = await load(store, outcome.execution_id)

    assert (outcome.status, execution.status, execution.workflow_id) == ("completed", "completed", "analyse_stdlib")
    assert execution.initial_data["seed"] == SEED
    assert execution.result["packages"] == 2
    assert execution.result["broken"] == [BROKEN_PACKAGE]

    nodes = [span.name for span in spans if span.node_id == span.name and span.state != "skipped"]
    assert nodes[0] == "discover_files"
    assert sorted(nodes[1:4]) == ["parse_package_1", "parse_package_2", "parse_package_3"]
    assert nodes[4] == "collect_packages"
    assert nodes[-3:] == ["aggregate", "find_import_cycles", "render_report"]

    *failed, last = named(spans, "write_index")
    assert 1 <= len(failed) < ATTEMPTS
    assert all(span.status_message == "OperationalError: database is locked" for span in failed)
    assert last.state == "completed"
    assert [span.attributes["spane.node.attempt"] for span in (*failed, last)] == [*range(1, len(failed) + 2)]

    (spelling,) = named(spans, "check_spelling")
    assert (spelling.state, spelling.status) == ("cancelled", "unset")

    assert len([span for span in spans if span.state == "skipped"]) == PLACES - 3
    results = await store.get_node_results(outcome.execution_id)
    skipped = sorted(node_id for node_id, result in results.items() if result.skipped)
    assert skipped == sorted(f"parse_package_{place}" for place in range(4, PLACES + 1))
    assert results["write_index"].attempt == len(failed) + 1


async def test_each_package_is_a_child_execution_and_only_the_broken_one_fails(
    store: InMemoryExecutionStore, runner: Runner
) -> None:
    outcome = await run(runner, analysis("json", "xml", BROKEN_PACKAGE, on_broken_file="fail_package"))
    children = await store.list_executions("parse_package")
    assert {child.initial_data["package"]: child.status for child in children} == {
        "json": "completed",
        "xml": "completed",
        BROKEN_PACKAGE: "failed",
    }
    assert {(child.parent_execution_id, child.depth) for child in children} == {(outcome.execution_id, 1)}

    (broken,) = (child for child in children if child.status == "failed")
    _, spans = await load(store, broken.execution_id)
    assert broken.error is not None
    assert broken.error.startswith("SyntaxError: '{' was never closed")
    (origin,) = [span for span in named(spans, "ast.parse") if span.status == "error"]
    assert origin.events[0]["attributes"]["exception.type"] == "SyntaxError"
    assert origin.attributes["file.path"].endswith("unfinished.py")


async def test_log_records_of_every_level_are_tied_to_execution_node_and_span(
    store: InMemoryExecutionStore, runner: Runner
) -> None:
    await run(runner, analysis("json", BROKEN_PACKAGE, on_broken_file="fail_package"))
    levels: set[str] = set()
    for execution in await store.list_executions():
        _, spans = await load(store, execution.execution_id)
        ids = {span.span_id for span in spans}
        for log in await store.get_logs(execution.execution_id, limit=1000):
            levels.add(log.level)
            assert log.execution_id == execution.execution_id
            assert log.span_id in ids
    assert levels == {"trace", "debug", "info", "warn", "error", "fatal"}


async def test_a_broken_file_fails_the_execution_if_it_is_asked_to_fail_fast(
    store: InMemoryExecutionStore, runner: Runner
) -> None:
    outcome = await run(runner, analysis("json", BROKEN_PACKAGE, on_broken_file="fail_fast"))
    execution, spans = await load(store, outcome.execution_id)
    assert (outcome.status, execution.status) == ("failed", "failed")
    assert execution.error is not None
    assert execution.error.startswith("SyntaxError: '{' was never closed")
    assert named(spans, "render_report") == []


async def test_a_broken_file_is_only_named_if_it_is_to_be_skipped(
    store: InMemoryExecutionStore, runner: Runner
) -> None:
    outcome = await run(runner, analysis("json", BROKEN_PACKAGE, on_broken_file="skip_file"))
    execution, _ = await load(store, outcome.execution_id)
    assert execution.status == "completed"
    (path,) = execution.result["broken"]
    assert path.endswith("unfinished.py")


async def test_an_execution_past_its_deadline_is_cancelled_with_all_that_runs_in_it(
    store: InMemoryExecutionStore, runner: Runner
) -> None:
    outcome = await run(runner, analysis("json", "email", "asyncio", cpu_share=0.08, deadline_s=2.0))
    execution, spans = await load(store, outcome.execution_id)
    assert (outcome.status, execution.status, execution.error) == ("cancelled", "cancelled", None)
    assert "cancelled" in {span.state for span in spans if span.node_id is not None}
    assert "cancelled" in {child.status for child in await store.list_executions("parse_package")}


async def test_an_execution_leaves_no_files_behind(
    store: InMemoryExecutionStore, runner: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await run(runner, analysis("json", BROKEN_PACKAGE, on_broken_file="fail_fast"))
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing else runs any more, and it does not look blocking


async def test_the_second_version_looks_for_duplicates_and_the_first_stays_as_it_was(
    store: InMemoryExecutionStore, runner: Runner
) -> None:
    first = await run(runner, analysis("json"))
    await runner.register_second()
    second = await run(runner, analysis("json"))
    versions = [await load(store, each.execution_id) for each in (first, second)]
    assert [execution.workflow_version for execution, _ in versions] == [1, 2]
    assert [len(named(spans, "find_duplicates")) for _, spans in versions] == [0, 1]
    assert ["## Same content" in execution.result["report"] for execution, _ in versions] == [False, True]
    notes = [each.change_notes for each in await store.list_workflow_versions(WORKFLOW)]
    assert len(set(notes)) == 2


async def test_a_demo_that_starts_again_makes_no_further_version(store: InMemoryExecutionStore, runner: Runner) -> None:
    await runner.register_second()
    async with Runner(store, retry_after_ms=300) as later:
        await later.register()
        await later.register_second()
    assert await store.get_workflow_version(WORKFLOW) == 2
