"""Leases: one runner at a time runs an execution, by the database's clock (architecture.md, *Upkeep and leases*).

A lease is in force until its time is up; whoever let it run out no longer holds it, even if nobody has taken it since.
"""

from collections.abc import Sequence

from spane_otel.errors import UnknownExecutionError
from spane_otel.state import Lease
from spane_otel.stores.admission import check_lease, check_limit, is_storable
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.part import Part


class Leases(Part):
    """The leases of executions."""

    async def acquire_lease(self, execution_id: str, lease: Lease) -> bool:
        check_lease(lease)
        if not is_storable(execution_id):
            raise UnknownExecutionError(execution_id)

        async def acquire(session: Session) -> bool:
            (row,) = await session.commit(
                "acquire_lease", execution_id=execution_id, holder=lease.holder, seconds=float(lease.seconds)
            )
            if not row["is_known"]:
                raise UnknownExecutionError(execution_id)
            return bool(row["is_held"])

        return await self._database.run("write", acquire)

    async def renew_leases(self, lease: Lease) -> list[str]:
        check_lease(lease)

        async def renew(session: Session) -> list[str]:
            rows = await session.commit("renew_leases", holder=lease.holder, seconds=float(lease.seconds))
            return sorted(row["execution_id"] for row in rows)

        return await self._database.run("write", renew)

    async def release_lease(self, execution_id: str, holder: str) -> None:
        if not is_storable(execution_id) or not is_storable(holder):
            return

        async def release(session: Session) -> None:
            await session.commit("release_lease", execution_id=execution_id, holder=holder)

        await self._database.run("write", release)

    async def claim_executions(
        self, lease: Lease, *, workflow_ids: Sequence[str] | None = None, limit: int = 10
    ) -> list[str]:
        check_lease(lease)
        check_limit(limit)
        wanted = None if workflow_ids is None else [each for each in workflow_ids if is_storable(each)]

        async def claim(session: Session) -> list[str]:
            rows = await session.commit(
                "claim_executions",
                holder=lease.holder,
                seconds=float(lease.seconds),
                workflow_ids=wanted,
                limit=limit,
            )
            return [row["execution_id"] for row in rows]

        return await self._database.run("write", claim)
