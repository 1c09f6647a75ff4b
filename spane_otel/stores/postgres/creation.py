"""Executions that a caller makes: calls that come at the same time are one statement and one commit."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from asyncpg.pgproto.pgproto import UUID
from msgspec import Struct

from spane_otel.errors import ExecutionExistsError
from spane_otel.state import Lease
from spane_otel.stores.admission import NewExecution, check_depth, check_lease, check_new_execution
from spane_otel.stores.postgres.columns import NOTHING, Columns
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.group import Group
from spane_otel.stores.postgres.part import Part
from spane_otel.stores.postgres.payloads import CallPayloads


class _Creation(Struct, frozen=True):
    """A call of `create_execution`, checked."""

    new: NewExecution
    content_hash: UUID
    started_ns: int
    lease: Lease | None


def _id_of(creation: _Creation) -> str:
    return creation.new.execution_id


class Creation(Part):
    """Makes executions."""

    async def create_execution(
        self,
        workflow_id: str,
        parent_execution_id: str | None = None,
        depth: int = 0,
        initial_data: Any = None,
        *,
        execution_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        lease: Lease | None = None,
    ) -> str:
        new = check_new_execution(workflow_id, parent_execution_id, depth, initial_data, execution_id, metadata)
        if lease is not None:
            check_lease(lease)
        creation = _Creation(new, UUID(new.content_hash()), self._clock.now_ns(), lease)
        outcome = await self._creations.run(creation)
        if outcome == "exists":
            raise ExecutionExistsError(new.execution_id)
        if outcome.isdecimal():
            check_depth(int(outcome))
        return new.execution_id

    @cached_property
    def _creations(self) -> Group[_Creation, str]:
        return Group(self._create, family=_id_of, key=_id_of)

    async def _create(self, creations: Sequence[_Creation]) -> Sequence[str]:
        columns = _columns(creations)

        async def create(session: Session) -> Sequence[str]:
            now_ns = self._clock.now_ns()
            (row,) = await session.commit("create_executions", now_ns=now_ns, actor=self._actor, **columns)
            outcomes: Sequence[str] = row["outcomes"]
            return outcomes

        return await self._database.run("write", create)


def _columns(creations: Sequence[_Creation]) -> Columns:
    """Return the arrays of `create_executions`."""
    rows = [creation.new for creation in creations]
    leases = [creation.lease for creation in creations]
    has_leases = any(leases)
    payloads = CallPayloads()
    initial_data, initial_data_payloads = payloads.split([row.initial_data for row in rows])
    metadata, metadata_payloads = payloads.split([None if row.metadata == "{}" else row.metadata for row in rows])
    return {
        "execution_ids": [row.execution_id for row in rows],
        "workflow_ids": [row.workflow_id for row in rows],
        "parent_ids": [row.parent_execution_id for row in rows],
        "depths": [row.depth for row in rows],
        "content_hashes": [creation.content_hash for creation in creations],
        "started": [creation.started_ns for creation in creations],
        "initial_data": initial_data,
        "initial_data_payloads": initial_data_payloads,
        "metadata": metadata,
        "metadata_payloads": metadata_payloads,
        "holders": [lease and lease.holder for lease in leases] if has_leases else NOTHING,
        "lease_seconds": [lease and lease.seconds for lease in leases] if has_leases else NOTHING,
        **payloads.columns(),
    }
