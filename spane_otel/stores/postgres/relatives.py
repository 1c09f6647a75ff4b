"""Executions by what they have to do with each other."""

from spane_otel.records import Execution
from spane_otel.state import Family
from spane_otel.stores.admission import is_storable
from spane_otel.stores.postgres.database import Session
from spane_otel.stores.postgres.executions import select_executions
from spane_otel.stores.postgres.part import Part


class Relatives(Part):
    """The parents and children of executions."""

    async def get_child_executions(self, execution_id: str) -> list[Execution]:
        if not is_storable(execution_id):
            return []
        return await self._database.run("read", lambda session: _children(session, execution_id))

    async def get_parent_execution(self, execution_id: str) -> Execution | None:
        if not is_storable(execution_id):
            return None

        async def read(session: Session) -> Execution | None:
            row = await session.fetchrow("find_relatives", execution_id=execution_id)
            if row is None or row["parent_execution_id"] is None:
                return None
            return (await _by_id(session, [row["parent_execution_id"]])).get(row["parent_execution_id"])

        return await self._database.run("read", read)

    async def get_execution_family(self, execution_id: str) -> Family:
        if not is_storable(execution_id):
            return Family()
        return await self._database.run("read", lambda session: _family(session, execution_id))


async def _family(session: Session, execution_id: str) -> Family:
    row = await session.fetchrow("find_relatives", execution_id=execution_id)
    if row is None:
        return Family()
    parent_id: str | None = row["parent_execution_id"]
    root_id = await _find_root(session, execution_id, row["root_execution_id"], parent_id)
    found = await _by_id(session, [each for each in (parent_id, root_id) if each is not None])
    siblings = [] if parent_id is None else await _children(session, parent_id)
    return Family(
        root=None if root_id is None else found.get(root_id),
        parent=None if parent_id is None else found.get(parent_id),
        children=tuple(await _children(session, execution_id)),
        siblings=tuple(each for each in siblings if each.execution_id != execution_id),
    )


async def _find_root(session: Session, execution_id: str, root_id: str | None, parent_id: str | None) -> str | None:
    """Return the id of the root: what the row says, else that of the nearest ancestor that knows it or has no parent.

    None if an ancestor isn't there, or is its own.
    """
    seen = {execution_id}
    while root_id is None and parent_id is not None:
        row = None if parent_id in seen else await session.fetchrow("find_relatives", execution_id=parent_id)
        if row is None:
            return None
        seen.add(parent_id)
        execution_id, root_id, parent_id = parent_id, row["root_execution_id"], row["parent_execution_id"]
    return root_id or execution_id


async def _by_id(session: Session, execution_ids: list[str]) -> dict[str, Execution]:
    found = await select_executions(session, oldest_first=True, execution_ids=execution_ids)
    return {each.execution_id: each for each in found}


async def _children(session: Session, execution_id: str) -> list[Execution]:
    return await select_executions(session, oldest_first=True, parent_execution_id=execution_id)
