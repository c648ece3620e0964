"""Rows of `login`: who is logged in where."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from dm_bridge.ids import ContactId, LoginId, NetworkName, UserId
from dm_bridge.store.database import Database


class LoginState(enum.Enum):
    """``BAD_CREDENTIALS``: refused by the network, waits for the user. ``LOGGED_OUT``: by the user."""

    ACTIVE = "active"
    BAD_CREDENTIALS = "bad_credentials"
    LOGGED_OUT = "logged_out"


@dataclass(frozen=True, slots=True)
class LoginRow:
    """One login. ``sealed``: its credentials, sealed, or None once they are forgotten."""

    id: LoginId
    owner: UserId
    network: NetworkName
    remote: ContactId
    name: str
    state: LoginState
    reason: str
    sealed: bytes | None = field(repr=False)


_COLUMNS = "login_id, owner, network, remote, name, state, reason, credentials"


class LoginStore:
    """Reads and writes logins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, owner: UserId, network: NetworkName, remote: ContactId, name: str
    ) -> LoginId:
        """The id of this owner's login as ``remote``; the same one when they log in again."""
        async with self._database.connection() as connection:
            login = await connection.fetchval(
                """
                INSERT INTO login (login_id, owner, network, remote, name, state)
                VALUES ($1, $2, $3, $4, $5, 'logged_out')
                ON CONFLICT (owner, network, remote) DO UPDATE SET name = EXCLUDED.name
                RETURNING login_id
                """,
                secrets.token_hex(6),
                owner,
                network,
                remote,
                name,
            )
        return LoginId(login)

    async def activate(
        self, login: LoginId, sealed: bytes, position: str | None = None, *, imports: bool = False
    ) -> None:
        """Store sealed credentials; the login is to be connected from now on.

        ``position``: where it begins, if it has no position yet. ``imports``: what was written before is to be
        brought over, if this is the first time.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                """
                WITH imported AS (
                    INSERT INTO history_import (login_id, until, state)
                    SELECT login_id, $3, CASE WHEN $4 THEN 'searching' ELSE 'ended' END
                    FROM login WHERE login_id = $1
                    ON CONFLICT DO NOTHING
                )
                UPDATE login SET credentials = $2, state = 'active', reason = '',
                    position = coalesce(position, $3)
                WHERE login_id = $1
                """,
                login,
                sealed,
                position,
                imports,
            )

    async def position(self, login: LoginId) -> str | None:
        """How far the login has read; see `InboxStore.add_at`, which moves it."""
        async with self._database.connection() as connection:
            position: str | None = await connection.fetchval(
                "SELECT position FROM login WHERE login_id = $1", login
            )
        return position

    async def set_state(self, login: LoginId, state: LoginState, reason: str) -> None:
        """Record why a login is not connected.

        A logged-out login forgets its credentials, and how far it has read: what its user misses from
        then on is not for us.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE login SET state = $2, reason = $3,
                    credentials = CASE WHEN $2 = 'logged_out' THEN NULL ELSE credentials END,
                    position = CASE WHEN $2 = 'logged_out' THEN NULL ELSE position END
                WHERE login_id = $1
                """,
                login,
                state.value,
                reason,
            )

    async def get(self, login: LoginId) -> LoginRow | None:
        """One login, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM login WHERE login_id = $1", login
            )
        return None if row is None else _row(*row)

    async def all(self) -> list[LoginRow]:
        """Every login, the oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(f"SELECT {_COLUMNS} FROM login ORDER BY created_at")
        return [_row(*row) for row in rows]

    async def of(self, owners: Collection[UserId]) -> list[LoginRow]:
        """Every login of these users, the oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM login WHERE owner = ANY($1::text[]) ORDER BY created_at",
                list(owners),
            )
        return [_row(*row) for row in rows]


def _row(
    login: str,
    owner: str,
    network: str,
    remote: str,
    name: str,
    state: str,
    reason: str,
    sealed: bytes | None,
) -> LoginRow:
    return LoginRow(
        LoginId(login),
        UserId(owner),
        NetworkName(network),
        ContactId(remote),
        name,
        LoginState(state),
        reason,
        sealed,
    )
