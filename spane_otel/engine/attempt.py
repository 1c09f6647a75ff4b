"""One attempt at one node: the executor called inside a span, and what it came to written."""

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, Struct

from spane_otel.clock import SECOND
from spane_otel.engine.breakers import Breaker
from spane_otel.engine.context import ExecutionContext
from spane_otel.engine.queue import NodeJob
from spane_otel.engine.recording import NodeBlock, Wait
from spane_otel.engine.results import Settled, copy_of, input_of, settled_of
from spane_otel.errors import ConfigurationError, EngineClosedError, RateLimitedError
from spane_otel.graph import DELAY, SUB_WORKFLOW, delay_ms, wait_ms
from spane_otel.state import ExecutionResult, NewDeadLetter, NodeState
from spane_otel.stores.outcomes import read_result, state_of
from spane_otel.telemetry.outcome import describe

if TYPE_CHECKING:
    from spane_otel.engine.run import Run

_log: Final = logging.getLogger(__name__)


class _Outcome(Struct, frozen=True):
    """What an attempt came to, before it is known whether another follows."""

    settled: Settled
    is_worth_retrying: bool = True


class Attempt:
    """Makes one attempt. Nothing that an executor does or returns ends more than this attempt."""

    def __init__(self, run: "Run", job: NodeJob) -> None:
        self._run: Final = run
        self._job: Final = job
        self._node: Final = run.version.dag.nodes[job.node_id]
        self._started_ns: Final = run.runtime.clock.now_ns()
        self._input: Final = input_of(
            job.node_id,
            run.version.dag,
            run.progress.live_parents(job.node_id),
            run.results,
            run.record.initial_data,
        )

    async def run(self) -> None:
        """Run the node once and write the result; where it is not final, have another attempt follow."""
        run, job, runtime = self._run, self._job, self._run.runtime
        try:
            outcome = await self._call_in_span()
        except RateLimitedError as error:
            at_ns = runtime.clock.now_ns() + int(error.duration_ms * SECOND) // 1_000
            runtime.held_until[self._node.type] = max(at_ns, runtime.held_until.get(self._node.type, 0))
            run.offer_later(job, at_ns, "rate_limit")
            return
        settled, policy = outcome.settled, run.version.policies[job.node_id]
        has_failed = not settled.success and not settled.skipped
        facts: dict[str, Any] = {"started_ns": self._started_ns, "ended_ns": settled.ended_ns, "input": self._input}
        if has_failed and outcome.is_worth_retrying and job.attempt < policy.max_attempts:
            await self._write_failure(settled, facts)
            runtime.metrics.node_retried(run.record.workflow_id or "", self._node.type)
            wait = wait_ms(policy, job.attempt)
            text = (
                f"attempt {job.attempt} of {policy.max_attempts} failed, another follows in {wait} ms: {settled.error}"
            )
            run.log(text, "warn", job.node_id)
            at_ns = (settled.ended_ns or 0) + wait * SECOND // 1_000
            run.offer_later(NodeJob(job.execution_id, job.node_id, job.attempt + 1, 0, job.priority), at_ns, "retry")
            return
        if has_failed:
            run.log(f"attempt {job.attempt} failed for good: {settled.error}", "error", job.node_id)
        if has_failed and not policy.continue_on_fail:
            facts["dead_letter"] = self._dead_letter()
        await run.conclude(settled, facts)

    async def _write_failure(self, settled: Settled, facts: dict[str, Any]) -> None:
        runtime, job = self._run.runtime, self._job
        holder = runtime.lease.holder
        await runtime.persist(
            lambda: runtime.store.update_node_result(
                job.execution_id,
                job.node_id,
                settled.result(),
                attempt=job.attempt,
                iteration=job.iteration,
                worker=holder,
                holder=holder,
                **facts,
            )
        )

    def _dead_letter(self) -> NewDeadLetter:
        record = self._run.record
        return NewDeadLetter(
            job_data={
                "executionId": record.execution_id,
                "workflowId": record.workflow_id,
                "workflowVersion": record.workflow_version,
                "nodeId": self._node.id,
                "nodeType": self._node.type,
            }
        )

    async def _call_in_span(self) -> _Outcome:
        """Call the executor inside a span; what it raises is an outcome, but for what says that this run is over."""
        state: NodeState = "cancelled"
        try:
            outcome = await self._call_safely()
            state = state_of(success=outcome.settled.success, skipped=outcome.settled.skipped)
        finally:
            runtime = self._run.runtime
            seconds = (runtime.clock.now_ns() - self._started_ns) / SECOND
            runtime.metrics.node_ended(self._run.record.workflow_id or "", self._node.type, state, seconds)
        return outcome

    async def _call_safely(self) -> _Outcome:
        job = self._job
        given = None if self._input is UNSET else self._input
        try:
            with NodeBlock(job.node_id, given, job.attempt, job.iteration) as block:
                result = await self._call(self._context(given))
                settled = self._settle(result)
                if settled.skipped:
                    block.is_skipped = True
                elif not settled.success:
                    block.fail(settled.error)
                if result.data is not UNSET:
                    block.set_result(result.data)
        except RateLimitedError:
            raise
        except EngineClosedError as error:
            if not self._run.runtime.is_closed:
                return self._failure(error)  # another engine's, whose the node asked something
            self._run.give_up("the engine is closed")
            raise asyncio.CancelledError from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._run.decision is not None or (task is not None and task.cancelling()):
                raise
            return self._failure(error)  # something inside was cancelled, not the node
        except Exception as error:  # noqa: BLE001 - executors are not ours
            return self._failure(error)
        return _Outcome(settled)

    def _settle(self, result: ExecutionResult) -> Settled:
        job = self._job
        ended_ns = self._run.runtime.clock.now_ns()
        settled = settled_of(job.node_id, result, job.attempt, job.iteration, ended_ns)
        unknown = set(settled.next_nodes or ()).difference(self._run.version.dag.children[job.node_id])
        if unknown:
            _log.warning("node %r chose %s, to which no edge leads from it", job.node_id, ", ".join(sorted(unknown)))
        return settled

    def _failure(self, error: BaseException) -> _Outcome:
        ended_ns = self._run.runtime.clock.now_ns()
        result = ExecutionResult(success=False, error=describe(error))
        settled = settled_of(self._job.node_id, result, self._job.attempt, self._job.iteration, ended_ns)
        return _Outcome(settled, is_worth_retrying=getattr(error, "retryable", True) is not False)

    def _context(self, given: Any) -> ExecutionContext:
        run, job = self._run, self._job
        return ExecutionContext(
            workflow_id=run.record.workflow_id or "",
            execution_id=job.execution_id,
            node_id=job.node_id,
            input_data=copy_of(given),
            node_config=copy_of(self._node.config),
            parent_execution_id=run.record.parent_execution_id,
            depth=run.record.depth,
            attempt=job.attempt,
            iteration=job.iteration,
            parents=run.version.dag.parents[job.node_id],
            settled=lambda: run.results,
        )

    async def _call(self, context: ExecutionContext) -> ExecutionResult:
        if self._node.type == DELAY:
            return await self._delay()
        if self._node.type == SUB_WORKFLOW:
            nested: ExecutionResult = await self._run.runtime.nest(
                self._run, self._node, context.input_data, self._job.attempt
            )
            return nested
        executor = self._run.runtime.registry.get(self._node.type)
        if executor is None:
            raise ConfigurationError(f"no executor is registered for the type {self._node.type!r}")
        breaker = self._breaker()
        if breaker is None:
            return read_result(await _result_of(executor(context)))
        breaker.enter()
        try:
            result = read_result(await _result_of(executor(context)))
        except (RateLimitedError, asyncio.CancelledError):
            breaker.leave("neither")
            raise
        except BaseException:
            breaker.leave("failure")
            raise
        breaker.leave("success" if result.success else "failure")
        return result

    def _breaker(self) -> Breaker | None:
        """Return what guards the node: the breaker that `circuitBreaker` names in its config, else its type's."""
        breakers = self._run.runtime.breakers
        name = self._node.config.get("circuitBreaker", self._node.config.get("circuit_breaker", self._node.type))
        return breakers.breaker(name) if breakers is not None and isinstance(name, str) else None

    async def _delay(self) -> ExecutionResult:
        """Wait from the moment at which the last result before the node was there, whoever began to wait for it."""
        run = self._run
        before = [run.results[each].ended_ns or 0 for each in run.version.dag.parents[self._node.id]]
        began_ns = max(before, default=run.record.started_ns + (run.version.workflow.delay or 0) * SECOND // 1_000)
        until_ns = began_ns + delay_ms(self._node) * SECOND // 1_000
        with Wait("delay", self._node.id, until_ns):
            await run.runtime.clock.sleep_until(until_ns)
        return ExecutionResult(success=True, data=self._input)


async def _result_of(called: Any) -> Any:
    """Return what an executor returned: it need not be a coroutine function."""
    return await called if inspect.isawaitable(called) else called
