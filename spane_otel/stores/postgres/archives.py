"""What moves between stores."""

from spane_otel.archives import ExecutionArchive, TelemetryArchive, WorkflowArchive
from spane_otel.records import Batch, WriteResult
from spane_otel.stores.admission import check_id, check_limit, is_storable
from spane_otel.stores.postgres.archived_executions import read_execution, write_execution
from spane_otel.stores.postgres.archived_telemetry import read_telemetry
from spane_otel.stores.postgres.archived_workflows import read_workflow, write_workflow
from spane_otel.stores.postgres.part import Part


class Archives(Part):
    """What moves between stores."""

    async def read_workflow(self, workflow_id: str) -> WorkflowArchive | None:
        if not is_storable(workflow_id):
            return None
        return await self._database.run("read", lambda session: read_workflow(session, workflow_id))

    async def write_workflow(self, archive: WorkflowArchive) -> None:
        check_id(archive.workflow_id, "workflow id")
        await self._database.run("write", lambda session: write_workflow(session, archive))

    async def read_execution(self, execution_id: str) -> ExecutionArchive | None:
        if not is_storable(execution_id):
            return None
        return await self._database.run("read", lambda session: read_execution(session, execution_id))

    async def write_execution(self, archive: ExecutionArchive) -> None:
        execution_id = archive.execution.execution_id
        check_id(execution_id, "execution id")
        try:
            await self._database.run("write", lambda session: write_execution(session, archive))
        finally:
            # What this process knew to be committed may have been replaced.
            self._load.forget_execution(execution_id)
            self._forget_added(execution_id)

    async def read_telemetry(
        self, execution_id: str | None = None, *, limit: int = 1_000, cursor: str | None = None
    ) -> TelemetryArchive:
        check_limit(limit)
        if not is_storable(execution_id or ""):
            return TelemetryArchive(batch=Batch())
        return await self._database.run("read", lambda session: read_telemetry(session, execution_id, limit, cursor))

    async def write_telemetry(self, batch: Batch) -> WriteResult:
        return await self._load.restore(batch)
