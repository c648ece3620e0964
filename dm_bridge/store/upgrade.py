"""Changes the schema, with Alembic.

The rule that must never break: a schema newer than this program is left alone, and two programs
never migrate at the same time.
"""

from __future__ import annotations

import secrets

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from dm_bridge.errors import StorageError
from dm_bridge.store.database import CONNECT_DEADLINE, TROUBLE, storage_error
from dm_bridge.store.schema import migrations_directory, newer, revisions

LOCK_DEADLINE = 60
_LOCK = 0x646D5F627269  # any constant of our own, for pg_advisory_xact_lock


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def upgrade(url: str) -> str | None:
    """Bring the schema at ``url`` up to date. Returns the revision before (None: empty database).

    Raises `StorageError` when the database cannot be reached or its schema is newer than ours.
    """

    def run(connection: Connection) -> str | None:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_DEADLINE}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = _current(connection)
        if before is not None and before not in revisions():
            raise newer(before)
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return before

    async def connect(**_: object) -> asyncpg.Connection:
        return await asyncpg.connect(url, timeout=CONNECT_DEADLINE, statement_cache_size=0)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args={
            "async_creator_fn": connect,
            "prepared_statement_cache_size": 0,
            # Behind a pooler, connections share what is prepared, and must not share its names.
            "prepared_statement_name_func": lambda: f"dm_bridge_{secrets.token_hex(8)}",
        },
        poolclass=NullPool,
    )
    try:
        async with engine.begin() as connection:
            before = await connection.run_sync(run)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise storage_error(error) from error
    except DBAPIError as error:
        cause = error.orig and error.orig.__cause__
        if isinstance(cause, TROUBLE):
            raise storage_error(cause) from error
        raise StorageError(
            f"The schema could not be upgraded, and is as it was ({error.orig}). Make the database's user "
            "its owner, and give dm_bridge a database of its own."
        ) from error
    finally:
        await engine.dispose()
    return before


def _current(connection: Connection) -> str | None:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)
