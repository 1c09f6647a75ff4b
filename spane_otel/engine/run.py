"""One execution as this engine runs it: which node is next, what it is given, when it is over.

The node results in the store are the truth. A node begins only once the results before it are committed, and what is
committed is never run again; all else here can be lost and is told from them anew.
"""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from spane_otel import mapping, telemetry
from spane_otel.clock import SECOND
from spane_otel.engine.attempt import Attempt
from spane_otel.engine.ledger import Entry, Ledger
from spane_otel.engine.queue import NodeJob
from spane_otel.engine.recording import ExecutionBlock, NodeBlock, Wait, attach, resumed_context
from spane_otel.engine.results import Settled, result_of, settled_from, skipped
from spane_otel.engine.runtime import Runtime
from spane_otel.engine.versions import Version
from spane_otel.errors import InvalidTransitionError, LeaseLostError, UnknownExecutionError
from spane_otel.graph import DELAY, Progress, wait_ms
from spane_otel.graph.validation import BUILT_IN_TYPES
from spane_otel.records import Execution, ExecutionStatus, Trace
from spane_otel.state import NodeResult
from spane_otel.stores.transitions import FINAL_STATUSES

STOP_SECONDS: Final = 5.0
"""Nodes that don't end when they are cancelled are waited for no longer."""

_log: Final = logging.getLogger(__name__)


class Ending(Struct, frozen=True):
    """How a run ended."""

    status: ExecutionStatus | None
    """None: it was given up, and goes on wherever the execution is taken over."""
    error: str | None = None
    data: Any | UnsetType = UNSET


class Before(Struct, frozen=True):
    """What is known of an execution that was begun elsewhere."""

    results: Mapping[str, NodeResult]
    trace: Trace | None


class Run:
    """Runs one execution, whose lease this engine holds, to its end."""

    def __init__(self, runtime: Runtime, record: Execution, version: Version, before: Before | None = None) -> None:
        self.record: Final = record
        self.version: Final = version
        self.runtime: Final = runtime
        self.results: Final[dict[str, Settled]] = {}
        """What nodes came to for good, by node id."""
        self.progress: Final = Progress(version.dag)
        self._before: Final = before
        self._decision: Final[asyncio.Future[Ending]] = asyncio.get_running_loop().create_future()
        self._ended: Final[asyncio.Future[Ending]] = asyncio.get_running_loop().create_future()
        self._context = contextvars.copy_context()
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._queued: Final[set[NodeJob]] = set()
        self._held: Final[list[NodeJob]] = []
        """What may run once the execution is no longer paused."""
        self._running: Final[set[str]] = set()
        self._reopened: Final[set[str]] = set()
        """Nodes that had attempts before this run: they are finished even where another node has failed."""
        self._failure: str | None = None
        """Why the execution fails as soon as nothing of it runs any more."""
        self._has_failed = False
        self._ledger: Final = Ledger(runtime, record.execution_id, self._fail)
        self._resumed: asyncio.Event | None = None
        """Set when the execution is no longer paused; None: it is not."""
        self._has_place = False
        self._driver: asyncio.Task[None] | None = None

    # --- from outside ---

    def start(self) -> None:
        self._driver = asyncio.create_task(self._drive(), name=f"spane-execution {self.record.execution_id}")

    async def ended(self) -> Ending:
        """Wait for the end of the run."""
        return await asyncio.shield(self._ended)

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    @property
    def decision(self) -> Ending | None:
        """How the run ends, once that is known: what still runs is stopped then."""
        return self._decision.result() if self._decision.done() else None

    @property
    def is_idle(self) -> bool:
        """Whether it only waits: nothing runs and nothing is about to."""
        nodes = self.version.dag.nodes
        is_busy = any(nodes[node_id].type != DELAY for node_id in self._running)
        return not is_busy and not self._queued and not self._ledger.is_writing

    def pause(self) -> None:
        """Start no more nodes; those that run finish."""
        if self._resumed is None and not self._decision.done():
            self._resumed = asyncio.Event()
            self._spawn(self._show_pause(self._resumed))

    async def resume(self) -> None:
        """Go on after a pause."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None
            held = list(self._held)
            self._held.clear()
            for job in held:
                await self.offer(job)

    async def observe(self, record: Execution | None) -> None:
        """Take note of what the store says of the execution now."""
        if record is None:
            self.give_up("it was deleted")
        elif record.status in FINAL_STATUSES:
            data = UNSET if record.result is None else record.result
            self.decide(Ending(record.status, record.error, data))
        elif record.status == "paused":
            self.pause()
        else:
            await self.resume()

    def give_up(self, reason: str) -> None:
        """Stop at once and leave the execution to others; what runs is cancelled."""
        if not self._decision.done():
            _log.info("execution %r is given up: %s", self.record.execution_id, reason)
            self.decide(Ending(None, reason))

    def decide(self, ending: Ending) -> None:
        if not self._decision.done():
            self._decision.set_result(ending)

    def begin(self, job: NodeJob) -> "asyncio.Task[None] | None":
        """Begin an attempt that the queue has handed out; None where it is not due any more, or not yet."""
        if job not in self._queued:
            return None
        self._queued.discard(job)
        if self._refuses(job):
            self._look()
            return None
        if self._resumed is not None:
            self._held.append(job)
            return None
        node_type = self.version.dag.nodes[job.node_id].type
        held_until_ns = self.runtime.held_until.get(node_type, 0)
        if held_until_ns > self.runtime.clock.now_ns():
            self._spawn(self.offer_at(job, held_until_ns, "rate_limit"))
            return None
        return self._perform(job)

    # --- the whole ---

    async def _drive(self) -> None:
        ending = Ending(None, "the event loop has ended")
        try:
            trace = None if self._before is None else self._before.trace
            attach(resumed_context(self.runtime.recording.context(), trace))
            with ExecutionBlock(self.record) as block:
                self._context = contextvars.copy_context()
                self._spawn(self._begin())
                if self.record.timeout_ns is not None:
                    self._spawn(self._expire(self.record.timeout_ns))
                try:
                    ending = await self._decision
                finally:
                    await self._stop()
                    _describe(block, ending)
        except Exception as error:  # noqa: BLE001 - a task has nobody to raise to
            _log.exception("execution %r is given up", self.record.execution_id)
            ending = Ending(None, str(error))
        finally:
            if self._has_place:
                self.runtime.places.leave(self.version.workflow.id)
            self.decide(ending)
            self.runtime.runs.pop(self.record.execution_id, None)
            if not self._ended.done():
                self._ended.set_result(ending)

    async def _stop(self) -> None:
        """Cancel what still runs, and wait for it, though not for ever."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in left:
                _log.warning("%s does not end although it was cancelled", task.get_name())

    async def _expire(self, at_ns: int) -> None:
        """Have the execution failed when its time is up, and not only when somebody sweeps next."""
        runtime = self.runtime
        await runtime.clock.sleep_until(at_ns)
        await runtime.persist(runtime.store.sweep_timeouts)
        await self._look_up()

    async def _begin(self) -> None:
        """Do what comes before the first node, then offer what may run."""
        runtime, workflow = self.runtime, self.version.workflow
        if self.record.status == "paused":
            self.pause()
        await self._take_place()
        if workflow.delay:
            until_ns = self.record.started_ns + workflow.delay * SECOND // 1_000
            if until_ns > runtime.clock.now_ns():
                with Wait("delay", until_ns=until_ns):
                    await runtime.clock.sleep_until(until_ns)
        await self._go_on()

    async def _take_place(self) -> None:
        limit, places = self.version.workflow.max_concurrency, self.runtime.places
        workflow_id = self.version.workflow.id
        if not places.try_enter(workflow_id, limit):
            with Wait("max_concurrency"):
                await places.enter(workflow_id, limit or 1, asyncio.get_running_loop().create_future())
        self._has_place = True

    async def _go_on(self) -> None:
        """Offer what may run, given the results that are there."""
        given = {} if self._before is None else self._before.results
        stored = {node_id: each for node_id, each in given.items() if node_id in self.version.dag.nodes}
        self.results.update({node_id: settled_from(each) for node_id, each in stored.items() if each.is_final})
        ready, unled = self.progress.start()
        for settled in list(self.results.values()):
            more, more_unled = self._settle(settled)
            ready += more
            unled += more_unled
        failure = next((each for each in self.results.values() if self._is_fatal(each)), None)
        due = [node_id for node_id in dict.fromkeys(ready) if node_id not in self.results]
        again = {node_id: each for node_id, each in stored.items() if node_id in due and not each.is_final}
        self._reopened.update(again)
        if failure is not None:
            self._failure = _error_of(failure)
        await self._conclude(None, {}, [each for each in dict.fromkeys(unled) if each not in self.results], [])
        for node_id in due:
            await self._offer_next(node_id, again.get(node_id))
        self._look()
        if not due and self._failure is None and len(self.results) == len(self.version.dag.nodes):
            await self._complete_again(stored)

    async def _offer_next(self, node_id: str, last: NodeResult | None) -> None:
        """Offer the attempt that follows `last`, when its wait is over; a dead letter that is retried waits no more."""
        if last is None:
            await self.offer(self._job(node_id, 1))
            return
        policy = self.version.policies[node_id]
        until_ns = 0
        if last.attempt < policy.max_attempts and last.ended_ns is not None:
            until_ns = last.ended_ns + wait_ms(policy, last.attempt) * SECOND // 1_000
        self._spawn(self.offer_at(self._job(node_id, last.attempt + 1), until_ns, "retry"))

    async def _complete_again(self, stored: Mapping[str, NodeResult]) -> None:
        """Have the store decide, where every node is settled and it has not: the last result is written once more."""
        last = stored[next(reversed(self.results))]
        facts = {"started_ns": last.started_ns, "ended_ns": last.ended_ns}
        entry = settled_from(last), {**facts, "input": last.input if last.has_input else UNSET}
        self._take_status(await self._ledger.write([], entry, result_of(self.version.dag, self.results)))

    # --- one node ---

    def _job(self, node_id: str, attempt: int) -> NodeJob:
        return NodeJob(self.record.execution_id, node_id, attempt, 0, self.version.workflow.priority or 0)

    async def offer(self, job: NodeJob) -> None:
        """Let a node run as soon as somebody can; one that only waits needs nobody."""
        if self._refuses(job):
            self._look()
        elif self._resumed is not None:
            self._held.append(job)
        elif self.version.dag.nodes[job.node_id].type in BUILT_IN_TYPES:
            self._perform(job)
        else:
            self._queued.add(job)
            await self.runtime.queue.put(job)

    async def offer_at(self, job: NodeJob, at_ns: int, reason: str) -> None:
        """Offer a node at a time that may have passed."""
        if at_ns > self.runtime.clock.now_ns():
            with Wait(reason, job.node_id, at_ns):
                await self.runtime.clock.sleep_until(at_ns)
        await self.offer(job)

    def offer_later(self, job: NodeJob, at_ns: int, reason: str) -> None:
        """Offer a node at a time to come, without waiting for it."""
        self._spawn(self.offer_at(job, at_ns, reason))

    def log(self, message: str, level: str, node_id: str) -> None:
        """Write a log record of this execution and one of its nodes; called inside the execution's span."""
        telemetry.log(message, level, **{mapping.EXECUTION_ID: self.record.execution_id, mapping.NODE_ID: node_id})

    def _refuses(self, job: NodeJob) -> bool:
        has_no_future = self._failure is not None and job.node_id not in self._reopened
        return self._decision.done() or has_no_future or job.node_id in self.results

    def _perform(self, job: NodeJob) -> "asyncio.Task[None]":
        self._running.add(job.node_id)
        return self._spawn(self._run_attempt(job))

    async def _run_attempt(self, job: NodeJob) -> None:
        try:
            await Attempt(self, job).run()
        finally:
            self._running.discard(job.node_id)
            self._look()

    async def conclude(self, settled: Settled, facts: dict[str, Any]) -> None:
        """Write what a node came to for good, and go on from there; `facts` are arguments of `complete_node`."""
        self._reopened.discard(settled.node_id)
        if self._is_fatal(settled) and self._failure is None:
            self._failure = _error_of(settled)
        self.results[settled.node_id] = settled
        ready, unled = self._settle(settled)
        await self._conclude(settled, facts, unled, ready)

    async def _conclude(
        self, settled: Settled | None, facts: dict[str, Any], unled: list[str], ready: list[str]
    ) -> None:
        """Write a node's result and those of the nodes that are skipped in consequence, then offer what may run."""
        due: list[Entry] = [] if settled is None else [(settled, facts)]
        while unled:
            node_id = unled.pop()
            outcome = self.results[node_id] = skipped(node_id, self.runtime.clock.now_ns())
            with NodeBlock(node_id, None, outcome.attempt, outcome.iteration) as block:
                block.is_skipped = True
            due.append((outcome, {"ended_ns": outcome.ended_ns}))
            more, more_unled = self._settle(outcome)
            ready += more
            unled += more_unled
        if not due:
            return
        last: Entry | None = None
        result: Any | UnsetType = UNSET
        if len(self.results) == len(self.version.dag.nodes):
            last = due.pop()
            if self._failure is None:
                result = result_of(self.version.dag, self.results)
        self._take_status(await self._ledger.write(due, last, result))
        for node_id in ready:
            if node_id not in self.results:
                await self.offer(self._job(node_id, 1))

    def _settle(self, settled: Settled) -> tuple[list[str], list[str]]:
        """Return what may run and what is skipped in consequence; behind a fatal failure nothing is either."""
        if self._is_fatal(settled):
            return [], []
        return self.progress.settle(settled.node_id, () if settled.skipped else settled.next_nodes)

    def _is_fatal(self, settled: Settled) -> bool:
        is_failure = not settled.success and not settled.skipped
        return is_failure and not self.version.policies[settled.node_id].continue_on_fail

    def _take_status(self, status: ExecutionStatus) -> None:
        """Take note of the status that a write has answered with."""
        if status == "paused":
            self.pause()
        elif status == "completed" and len(self.results) == len(self.version.dag.nodes):
            self.decide(Ending(status, None, result_of(self.version.dag, self.results)))
        elif status == "failed" and self._failure is not None:
            self._has_failed = True
            self.decide(Ending(status, self._failure))
        elif status in FINAL_STATUSES and not self._decision.done():
            self._spawn(self._look_up())

    async def _look_up(self) -> None:
        """Learn from the store how an execution ended that somebody else has ended."""
        runtime = self.runtime
        await self.observe(await runtime.persist(lambda: runtime.store.get_execution(self.record.execution_id)))

    def _look(self) -> None:
        """Fail the execution once a node has failed for good and nothing that may still finish is left."""
        if self._failure is None or self._has_failed or self._decision.done():
            return
        if not self._running and not self._reopened:
            self._has_failed = True
            self._spawn(self._fail(self._failure))

    async def _fail(self, error: str) -> None:
        runtime, execution_id = self.runtime, self.record.execution_id
        try:
            await runtime.persist(lambda: runtime.store.set_execution_status(execution_id, "failed", error=error))
        except InvalidTransitionError:
            await self._look_up()
        else:
            self.decide(Ending("failed", error))

    # --- tasks ---

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` inside the execution's span, in a context of its own."""
        task = asyncio.create_task(self._watch(work), context=self._context.copy(), name="spane-node")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before it begins
        return task

    async def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LeaseLostError:
            self.give_up("another runner holds its lease")
        except UnknownExecutionError:
            self.give_up("it was deleted")
        except Exception as error:  # noqa: BLE001 - a task has nobody to raise to
            _log.exception("execution %r can't go on", self.record.execution_id)
            self.give_up(str(error))

    async def _show_pause(self, resumed: asyncio.Event) -> None:
        with Wait("paused"):
            await resumed.wait()


def _describe(block: ExecutionBlock, ending: Ending) -> None:
    """Say in the execution's span how it ended."""
    if ending.status == "failed":
        block.fail(ending.error)
    elif ending.status == "completed":
        if ending.data is not UNSET:
            block.set_result(ending.data)
    else:
        block.state = "cancelled"
        if ending.status is None:
            block.span.add_event("given up", {"reason": ending.error or ""})


def _error_of(settled: Settled) -> str:
    return settled.error or f"node {settled.node_id!r} failed"
