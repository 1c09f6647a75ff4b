"""Emptying a database between tests: it takes a hundredth of the time that a copy takes."""

import asyncpg


async def empty_database(url: str) -> None:
    """Delete all rows of ours from the database at `url`, which nobody uses at the moment."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'spane'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition AND relname NOT IN ('migrations', 'settings')"
        )
        # All tables at once in any order: foreign keys are checked by triggers, which stand still here.
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("; ".join(f"DELETE FROM {table['name']}" for table in tables))
    finally:
        await connection.close()
