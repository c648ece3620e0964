"""Rows of `matrix_token`: tokens that users gave for their own accounts, sealed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from dm_bridge.ids import UserId
from dm_bridge.store.database import Database


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is kept. ``url``: the client API of the user's homeserver, for admins to read."""

    user: UserId
    url: str
    sealed: bytes = field(repr=False)


class TokenStore:
    """Reads and writes tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, user: UserId, url: str, sealed: bytes) -> None:
        """Store a token, in place of an earlier one of the same user."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO matrix_token (user_id, homeserver_url, sealed) VALUES ($1, $2, $3)
                ON CONFLICT (user_id) DO UPDATE SET homeserver_url = EXCLUDED.homeserver_url,
                    sealed = EXCLUDED.sealed, given_at = now()
                """,
                user,
                url,
                sealed,
            )

    async def forget(self, user: UserId, sealed: bytes | None = None) -> bool:
        """Delete the token of ``user``, with ``sealed`` only that very one; whether there was one."""
        async with self._database.connection() as connection:
            gone = await connection.fetchval(
                """
                DELETE FROM matrix_token
                WHERE user_id = $1 AND ($2::bytea IS NULL OR sealed = $2) RETURNING true
                """,
                user,
                sealed,
            )
        return bool(gone)

    async def all(self, users: Collection[UserId] | None = None) -> list[TokenRow]:
        """Every token, or those of ``users``; the oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT user_id, homeserver_url, sealed FROM matrix_token
                WHERE $1::text[] IS NULL OR user_id = ANY($1) ORDER BY given_at, user_id
                """,
                None if users is None else list(users),
            )
        return [TokenRow(UserId(user), url, sealed) for user, url, sealed in rows]
