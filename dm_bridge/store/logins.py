"""Rows of `login`: who is logged in where."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from dm_bridge.ids import ContactId, LoginId, NetworkName, UserId
from dm_bridge.store.database import Connection, Database


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


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How many logins there may be: of one user, and on the whole bridge. None: any number."""

    user: int | None = None
    bridge: int | None = None


class Full(enum.Enum):
    """Why there can be no further login: the user, or the bridge, has as many as there may be."""

    USER = "user"
    BRIDGE = "bridge"


@dataclass(frozen=True, slots=True)
class LoginCounts:
    """How many logins there are that count: those of a user, and all."""

    user: int
    bridge: int

    def full(self, limits: LoginLimits) -> Full | None:
        """Whether there can be no further one."""
        if limits.user is not None and self.user >= limits.user:
            return Full.USER
        if limits.bridge is not None and self.bridge >= limits.bridge:
            return Full.BRIDGE
        return None


NO_LIMITS = LoginLimits()
_ADMISSION = 0x646D5F6C6F67  # any constant of our own, for pg_advisory_xact_lock
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
        self,
        login: LoginId,
        sealed: bytes,
        position: str | None = None,
        *,
        imports: bool = False,
        limits: LoginLimits = NO_LIMITS,
    ) -> Full | None:
        """Store sealed credentials; the login is to be connected from now on.

        ``position``: where it begins, if it has no position yet. ``imports``: what was written before is to be
        brought over, if this is the first time. A login that was logged out, or is new, and would be beyond
        ``limits`` is not activated; returns which. Attempts in whatever process wait for each other for that.
        """
        async with self._database.transaction() as connection:
            full = await self._full(connection, login, limits)
            if full is not None:
                await connection.execute(
                    """
                    DELETE FROM login AS l WHERE login_id = $1 AND state = 'logged_out'
                        AND NOT EXISTS (SELECT FROM history_import AS h WHERE h.login_id = l.login_id)
                    """,
                    login,
                )
                return full
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
        return None

    async def _full(
        self, connection: Connection, login: LoginId, limits: LoginLimits
    ) -> Full | None:
        if limits == NO_LIMITS:
            return None
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _ADMISSION)
        row = await connection.fetchrow("SELECT owner, state FROM login WHERE login_id = $1", login)
        if row is None:  # another attempt of the same user, at the same time, was one too many
            return Full.USER
        if row["state"] != LoginState.LOGGED_OUT.value:
            return None
        return (await _counts(connection, row["owner"])).full(limits)

    async def counts(self, owner: UserId) -> LoginCounts:
        """How many logins there are that nobody has logged out of."""
        async with self._database.connection() as connection:
            return await _counts(connection, owner)

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


async def _counts(connection: Connection, owner: str) -> LoginCounts:
    row = await connection.fetchrow(
        """
        SELECT count(*) FILTER (WHERE owner = $1), count(*) FROM login WHERE state <> 'logged_out'
        """,
        owner,
    )
    assert row is not None
    return LoginCounts(*row)


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
