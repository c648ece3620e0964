"""What is known of people: how their ghosts look, what users call them, and who asks to be a contact.

The rule that must never break: a ghost is shared by all users, so one login at a time says what it is called and
looks like: the first that does, for as long as it is logged in. No other one can change it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dm_bridge.ids import ChatId, ContactId, LoginId, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.portals import GhostRow

MAX_REQUESTS = 1000
"""Requests of one login that are kept; who floods a user with them gets no further."""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """Somebody who waits for an answer. ``told``: whether the user has been told."""

    login: LoginId
    contact: ContactId
    name: str | None
    told: bool


@dataclass(frozen=True, slots=True)
class Called:
    """Who is in a chat. ``name``: what its user has for their name, if anything; it may be their address."""

    ghost: UserId
    contact: ContactId
    name: str | None


class PeopleStore:
    """Reads and writes what `dm_bridge.bridge.profiles` and `dm_bridge.bridge.requests` keep."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ghosts(
        self, network: NetworkName, contacts: Collection[ContactId]
    ) -> dict[ContactId, GhostRow]:
        """The ghosts that there are of these contacts."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT contact, user_id, name, registered, avatar, avatar_url FROM ghost
                WHERE network = $1 AND contact = ANY($2::text[]) AND registered
                """,
                network,
                list(contacts),
            )
        return {
            ContactId(contact): GhostRow(network, ContactId(contact), UserId(user), *rest)
            for contact, user, *rest in rows
        }

    async def claim(self, ghost: UserId, login: LoginId) -> bool:
        """Whether ``login`` is the one that says how a ghost looks; it becomes so if no active one is."""
        async with self._database.connection() as connection:
            source = await connection.fetchval(
                """
                UPDATE ghost SET source = $2
                WHERE user_id = $1 AND (
                    source IS NULL OR source = $2
                    OR NOT EXISTS (SELECT FROM login WHERE login_id = source AND state = 'active')
                )
                RETURNING source
                """,
                ghost,
                login,
            )
        return source is not None

    async def set_name(self, ghost: UserId, name: str) -> None:
        """Record what a ghost is called on the homeserver."""
        async with self._database.connection() as connection:
            await connection.execute("UPDATE ghost SET name = $2 WHERE user_id = $1", ghost, name)

    async def set_avatar(self, ghost: UserId, avatar: str, url: str | None) -> None:
        """Record which picture a ghost has, and where; none, if ``url`` is None."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE ghost SET avatar = $2, avatar_url = $3 WHERE user_id = $1",
                *(ghost, avatar, url),
            )

    async def named_privately(self, ghost: UserId) -> list[PortalKey]:
        """The chats in whose rooms a ghost is called otherwise than elsewhere."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT login_id, chat_id FROM portal
                WHERE ghost = $1 AND private_name IS NOT NULL AND room_id IS NOT NULL
                """,
                ghost,
            )
        return [PortalKey(LoginId(login), ChatId(chat)) for login, chat in rows]

    async def called(self, account: UserId) -> dict[RoomId, Called]:
        """Who is in each of the account's direct chats, as far as there are ghosts of them."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT d.room_id, g.user_id, g.contact, coalesce(p.private_name, g.name)
                FROM direct_dm AS d
                JOIN ghost AS g ON g.user_id = d.ghost
                LEFT JOIN portal AS p ON p.room_id = d.room_id
                WHERE d.account = $1
                """,
                account,
            )
        return {
            RoomId(room): Called(UserId(ghost), ContactId(contact), name)
            for room, ghost, contact, name in rows
        }

    # -- who asks to be a contact

    async def ask(self, login: LoginId, contact: ContactId, name: str | None) -> bool:
        """Record that somebody asks. Whether their user has not been told yet; False when there are too many."""
        async with self._database.connection() as connection:
            told = await connection.fetchval(
                """
                INSERT INTO contact_request (login_id, contact, name)
                SELECT $1, $2, $3
                WHERE (SELECT count(*) FROM contact_request WHERE login_id = $1) < $4
                    OR EXISTS (SELECT FROM contact_request WHERE login_id = $1 AND contact = $2)
                ON CONFLICT (login_id, contact) DO UPDATE SET name = coalesce($3, contact_request.name)
                RETURNING told
                """,
                *(login, contact, name, MAX_REQUESTS),
            )
        return told is False

    async def set_told(self, login: LoginId, contacts: Sequence[ContactId]) -> None:
        """Record that the user knows of these requests."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE contact_request SET told = true WHERE login_id = $1 AND contact = ANY($2::text[])",
                *(login, list(contacts)),
            )

    async def answered(self, login: LoginId, contacts: Collection[ContactId]) -> None:
        """None of these waits for an answer (any more)."""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM contact_request WHERE login_id = $1 AND contact = ANY($2::text[])",
                *(login, list(contacts)),
            )

    async def requests(self, login: LoginId) -> list[RequestRow]:
        """Who waits for an answer, the first to ask first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT contact, name, told FROM contact_request WHERE login_id = $1
                ORDER BY at, contact
                """,
                login,
            )
        return [RequestRow(login, ContactId(contact), name, told) for contact, name, told in rows]
