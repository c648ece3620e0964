"""Brings the schema up to date, with Alembic.

The rule that must never break: a schema newer than this program is left alone, and two programs
never migrate at the same time.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from dm_bridge.errors import StorageError
from dm_bridge.store.database import CONNECT_DEADLINE, TROUBLE, storage_error

LOCK_DEADLINE = 60
_LOCK = 0x646D5F627269  # any constant of our own, for pg_advisory_xact_lock


def migrations_directory() -> Path:
    """Where the migrations are: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "migrations", package.parent / "migrations"):
        if (candidate / "env.py").is_file():
            return candidate
    raise StorageError("The migrations are missing from this installation. Reinstall dm_bridge.")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def latest_revision() -> str:
    """The schema revision that this program is written for."""
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    if head is None:
        raise StorageError(
            "The migrations are missing from this installation. Reinstall dm_bridge."
        )
    return head


def _newer(found: str) -> StorageError:
    return StorageError(
        f"The database has schema {found}, which this version of dm_bridge does not know "
        f"(it knows up to {latest_revision()}). The database was used by a newer version: upgrade dm_bridge."
    )


def _known(revision: str) -> bool:
    script = ScriptDirectory.from_config(_alembic())
    return revision in {item.revision for item in script.walk_revisions()}


async def migrate(url: str) -> tuple[str | None, str]:
    """Upgrade the schema at ``url``. Returns the revision before (None: empty database) and after.

    Raises `StorageError` when the database cannot be reached or its schema is newer than ours.
    """

    def upgrade(connection: Connection) -> str | None:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_DEADLINE}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        before = _current(connection)
        if before is not None and not _known(before):
            raise _newer(before)
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
            before = await connection.run_sync(upgrade)
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
    return before, latest_revision()


def _current(connection: Connection) -> str | None:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


async def check_schema(url: str) -> None:
    """Raise `StorageError` unless the schema at ``url`` is exactly the one we are written for."""
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_DEADLINE,
            command_timeout=CONNECT_DEADLINE,
            statement_cache_size=0,
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise storage_error(error) from error
    try:
        async with connection.transaction():
            table = await connection.fetchval("SELECT to_regclass('alembic_version')")
            found = table and await connection.fetchval("SELECT version_num FROM alembic_version")
    except TROUBLE as error:
        raise storage_error(error) from error
    finally:
        await connection.close()
    if found is None:
        raise StorageError("The database has no dm_bridge schema yet. Run `dm-bridge migrate`.")
    if found != latest_revision():
        if not _known(found):
            raise _newer(found)
        raise StorageError(
            f"The database has schema {found}; this version needs {latest_revision()}. "
            "Run `dm-bridge migrate`."
        )
