"""Executions by what they have to do with the time."""

from spane_otel.errors import InvalidValueError, UnknownExecutionError
from spane_otel.records import Execution
from spane_otel.stores.admission import check_limit, is_storable
from spane_otel.stores.postgres.bounds import bounded_ns
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.executions import select_executions
from spane_otel.stores.postgres.part import Part

_INT64 = range(-(2**63), 2**63)


class Timeouts(Part):
    """Executions that take long: those with a time-out, those that run long, those that stand still."""

    async def set_execution_timeout(self, execution_id: str, at_ns: int | None) -> None:
        if at_ns is not None and (type(at_ns) is not int or at_ns not in _INT64):
            raise InvalidValueError("a time-out is integer nanoseconds since 1970", reason="timeout")
        if not is_storable(execution_id):
            raise UnknownExecutionError(execution_id)
        now_ns = self._clock.now_ns()

        async def change(session: Session) -> None:
            async with session.transaction():
                if await session.fetchrow("lock_execution", execution_id=execution_id) is None:
                    raise UnknownExecutionError(execution_id)
                await session.execute(
                    "set_execution_timeout",
                    execution_id=execution_id,
                    timeout_ns=at_ns,
                    now_ns=now_ns,
                    actor=self._actor,
                )

        await self._database.run("write", change)

    async def sweep_timeouts(self, limit: int = 1_000) -> list[str]:
        check_limit(limit)
        now_ns = self._clock.now_ns()

        async def sweep(session: Session) -> list[str]:
            async with session.transaction():
                rows = await session.fetch("lock_overdue_executions", now_ns=now_ns, limit=limit)
                execution_ids = [row["execution_id"] for row in rows]
                if rows:
                    await session.execute(
                        "fail_overdue_executions",
                        execution_id=execution_ids,
                        status=[row["status"] for row in rows],
                        is_adopted=[row["origin"] == "spans" for row in rows],
                        now_ns=now_ns,
                        actor=self._actor,
                    )
            return execution_ids

        return await self._database.run("write", sweep)

    async def list_long_running_executions(
        self, longer_than_ns: int, *, workflow_id: str | None = None, limit: int = 100
    ) -> list[Execution]:
        check_limit(limit)
        latest_ns = bounded_ns(self._clock.now_ns() - longer_than_ns)
        if not is_storable(workflow_id or ""):
            return []
        return await self._database.run(
            "read",
            lambda session: select_executions(
                session,
                oldest_first=True,
                is_unfinished=True,
                workflow_id=workflow_id,
                latest_ns=latest_ns,
                limit=limit,
            ),
        )

    async def list_stuck_executions(
        self, idle_for_ns: int, *, workflow_id: str | None = None, limit: int = 100
    ) -> list[Execution]:
        check_limit(limit)
        latest_ns = bounded_ns(self._clock.now_ns() - idle_for_ns)
        if not is_storable(workflow_id or ""):
            return []
        return await self._database.run(
            "read",
            lambda session: select_executions(
                session,
                is_idle=True,
                status="running",
                workflow_id=workflow_id,
                latest_ns=latest_ns,
                limit=limit,
            ),
        )
