"""Links to the bridge's page, and who is signed in there; tokens are known by their hashes only.

The rule that must never break: a link opens one session, once, and only that of the user it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dm_bridge.ids import UserId
from dm_bridge.store.database import Database

LINKS = 3
SESSIONS = 10
"""Of one user, at the same time; a further one ends the oldest."""


@dataclass(frozen=True, slots=True)
class PageSession:
    """``expires_at``: by the database's clock."""

    user: UserId
    expires_at: datetime


class PageStore:
    """Reads and writes ``page_link`` and ``page_session``. ``hash``: SHA-256 of a token. Raises `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_link(self, hash: bytes, user: UserId, seconds: float) -> None:
        """Remember a link; of several of one user, the oldest are forgotten, and what has expired."""
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM page_link WHERE expires_at <= now()")
            await connection.execute("DELETE FROM page_session WHERE expires_at <= now()")
            await connection.execute(
                """
                INSERT INTO page_link (hash, matrix_user, expires_at)
                VALUES ($1, $2, now() + make_interval(secs => $3))
                """,
                hash,
                user,
                seconds,
            )
            await connection.execute(
                """
                DELETE FROM page_link WHERE hash IN (
                    SELECT hash FROM page_link WHERE matrix_user = $1 ORDER BY seq DESC OFFSET $2
                )
                """,
                user,
                LINKS,
            )

    async def link_user(self, hash: bytes) -> UserId | None:
        """For whom a link is that still works; it goes on working."""
        async with self._database.connection() as connection:
            user = await connection.fetchval(
                "SELECT matrix_user FROM page_link WHERE hash = $1 AND expires_at > now()", hash
            )
        return None if user is None else UserId(user)

    async def use_link(self, hash: bytes, session: bytes, seconds: float) -> PageSession | None:
        """Turn a link into a session with the hash ``session``; None when it does not work (any more)."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                """
                WITH used AS (
                    DELETE FROM page_link WHERE hash = $1 AND expires_at > now() RETURNING matrix_user
                )
                INSERT INTO page_session (hash, matrix_user, expires_at)
                SELECT $2, matrix_user, now() + make_interval(secs => $3) FROM used
                RETURNING matrix_user, expires_at
                """,
                hash,
                session,
                seconds,
            )
            if row is None:
                return None
            await connection.execute(
                """
                DELETE FROM page_session WHERE hash IN (
                    SELECT hash FROM page_session WHERE matrix_user = $1 ORDER BY seq DESC OFFSET $2
                )
                """,
                row["matrix_user"],
                SESSIONS,
            )
        return PageSession(UserId(row["matrix_user"]), row["expires_at"])

    async def session(self, hash: bytes) -> PageSession | None:
        """Whose session it is, unless it has ended."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT matrix_user, expires_at FROM page_session
                WHERE hash = $1 AND expires_at > now()
                """,
                hash,
            )
        return None if row is None else PageSession(UserId(row["matrix_user"]), row["expires_at"])

    async def end(self, hash: bytes) -> None:
        """End a session."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM page_session WHERE hash = $1", hash)

    async def end_all(self, user: UserId) -> int:
        """End all sessions of a user, and forget their links; how many sessions there were."""
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM page_link WHERE matrix_user = $1", user)
            ended = await connection.fetch(
                """
                DELETE FROM page_session WHERE matrix_user = $1 RETURNING expires_at > now() AS alive
                """,
                user,
            )
        return sum(row["alive"] for row in ended)
