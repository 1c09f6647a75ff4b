"""Which traces an execution has, and which executions a trace."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from asyncpg.pgproto.pgproto import UUID

from spane_otel.stores.postgres.database import Session

FAMILY_LIMIT: Final = 10_000
"""At most so many descendants are followed."""


async def read_links(session: Session, execution_ids: Sequence[str]) -> dict[str, list[UUID]]:
    """Return the trace ids of executions, oldest first, by execution."""
    links: defaultdict[str, list[UUID]] = defaultdict(list)
    for row in await session.fetch("list_links", execution_ids=execution_ids):
        links[row["execution_id"]].append(row["trace_id"])
    return links


async def read_owners(session: Session, trace_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Return the ids of executions, the earliest linked first, by trace."""
    owners: defaultdict[UUID, list[str]] = defaultdict(list)
    for row in await session.fetch("list_owners", trace_ids=trace_ids):
        owners[row["trace_id"]].append(row["execution_id"])
    return owners


async def read_descendants(session: Session, execution_id: str) -> list[str]:
    """Return an execution and all that descend from it, by their parents, one query for each generation."""
    family = {execution_id: None}
    parents = [execution_id]
    while parents and len(family) < FAMILY_LIMIT:
        rows = await session.fetch("list_children", execution_ids=parents)
        parents = [row["execution_id"] for row in rows if row["execution_id"] not in family]
        family.update(dict.fromkeys(parents))
    return list(family)
