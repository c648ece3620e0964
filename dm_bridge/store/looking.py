"""What a database is, for an admin who wants to know whether it will do.

The rule that must never break: it only looks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dm_bridge.store.database import Database


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """``version``: as the server shows it, and as a number (140012). ``may_create``: tables in our schema.

    ``foreign``: how many of our tables belong to a role that we are not; ``readable``:
    whether all of them are. ``free``: connections left. ``bridged``: whether a bridge has some.
    ``clock``: the server's, in seconds since the epoch; ``asked``, ``answered``: ours, before and after.
    """

    version: str
    number: int
    pooled: bool
    may_create: bool
    foreign: int
    readable: bool
    read_only: bool
    encoding: str
    free: int
    bridged: bool
    clock: float
    asked: float
    answered: float


async def look(database: Database) -> DatabaseFacts:
    """Raises `StorageError`."""
    async with database.connection() as connection:
        asked = time.time()
        clock = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        answered = time.time()
        row = await connection.fetchrow(
            """
            WITH ours AS (
                SELECT oid, relowner FROM pg_class
                WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema()::text)
                    AND relname IN ('alembic_version', 'login', 'portal', 'inbox', 'outbox')
            )
            SELECT current_setting('server_version') AS version,
                current_setting('server_version_num')::int AS number,
                coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
                (SELECT count(*) FROM ours WHERE NOT pg_has_role(relowner, 'USAGE')) AS foreign,
                (SELECT bool_and(has_table_privilege(oid, 'SELECT')) FROM ours) IS NOT FALSE AS readable,
                current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery() AS read_only,
                current_setting('server_encoding') AS encoding,
                current_setting('max_connections')::int
                    - current_setting('superuser_reserved_connections')::int
                    - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS free,
                EXISTS (
                    SELECT FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name LIKE 'dm_bridge %'
                        AND application_name <> current_setting('application_name')
                ) AS bridged
            """
        )
        assert row is not None
    return DatabaseFacts(
        pooled=database.pooled, clock=clock, asked=asked, answered=answered, **dict(row)
    )
