"""Which schema a database has, and which one we are written for.

The rule that must never break: a schema newer than this program is left alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import asyncpg

from dm_bridge.errors import StorageError
from dm_bridge.store.database import CONNECT_DEADLINE, TROUBLE, storage_error


def migrations_directory() -> Path:
    """Where the migrations are: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "migrations", package.parent / "migrations"):
        if (candidate / "env.py").is_file():
            return candidate
    raise StorageError(_MISSING)


@cache
def revisions() -> tuple[str, ...]:
    """All schema revisions that this program knows, in their order: each file begins with its own."""
    files = (migrations_directory() / "versions").glob("[0-9]*_*.py")
    found = tuple(sorted(file.name.partition("_")[0] for file in files))
    if not found:
        raise StorageError(_MISSING)
    return found


def latest_revision() -> str:
    """The schema revision that this program is written for."""
    return revisions()[-1]


def newer(found: str) -> StorageError:
    """What to say of a revision that is not known."""
    return StorageError(
        f"The database has schema {found}, which this version of dm_bridge does not know "
        f"(it knows up to {latest_revision()}). The database was used by a newer version: upgrade dm_bridge."
    )


async def check_schema(url: str) -> None:
    """Raise `StorageError` unless the schema at ``url`` is exactly the one we are written for."""
    found = await revision(url)
    if found is None:
        raise StorageError("The database has no dm_bridge schema yet. Run `dm-bridge migrate`.")
    if found not in revisions():
        raise newer(found)
    if found != latest_revision():
        raise StorageError(
            f"The database has schema {found}; this version needs {latest_revision()}. "
            "Run `dm-bridge migrate`."
        )


async def revision(url: str) -> str | None:
    """Of the schema at ``url``; None: there is none yet. Raises `StorageError`."""
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
    return found or None


_MISSING = "The migrations are missing from this installation. Reinstall dm_bridge."
