"""Rows of `portal` and `ghost`: which chat lives in which room, and who stands for whom.

The rule that must never break: one chat of one login has one row, made before its room is; so two
attempts to open the same chat meet here, not on the homeserver.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dm_bridge.ids import ChatId, ContactId, LoginId, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.store.database import Database


class PortalState(enum.Enum):
    """``RESERVED``: no room asked for yet. ``CREATING``: a room may exist, unrecorded. ``OPEN``: it does."""

    RESERVED = "reserved"
    CREATING = "creating"
    OPEN = "open"


class Membership(enum.Enum):
    """Where the login's owner stands in the portal's room; ``NONE`` when there is no room."""

    NONE = "none"
    INVITE = "invite"
    JOIN = "join"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class PortalRow:
    """One private chat. ``own_ghost``: the user's own ghost, once it had to join."""

    key: PortalKey
    contact: ContactId
    ghost: UserId
    room: RoomId | None
    state: PortalState
    membership: Membership
    bot_joined: bool
    own_ghost: UserId | None


@dataclass(frozen=True, slots=True)
class GhostRow:
    """A ghost. ``name``: the display name last set on the homeserver."""

    network: NetworkName
    contact: ContactId
    user_id: UserId
    name: str | None
    registered: bool


_COLUMNS = "login_id, chat_id, contact, ghost, room_id, state, membership, bot_joined, own_ghost"


class PortalStore:
    """Reads and writes portals and ghosts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, key: PortalKey, contact: ContactId, ghost: UserId) -> PortalRow:
        """The portal for ``key``, made now if there was none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"""
                INSERT INTO portal (login_id, chat_id, contact, ghost, state)
                VALUES ($1, $2, $3, $4, 'reserved')
                ON CONFLICT (login_id, chat_id) DO UPDATE SET contact = portal.contact
                RETURNING {_COLUMNS}
                """,
                key.login,
                key.chat,
                contact,
                ghost,
            )
        assert row is not None
        return _portal(*row)

    async def get(self, key: PortalKey) -> PortalRow | None:
        """The portal for ``key``, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM portal WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
            )
        return None if row is None else _portal(*row)

    async def by_room(self, room: RoomId) -> PortalRow | None:
        """The portal whose room is ``room``, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM portal WHERE room_id = $1", room
            )
        return None if row is None else _portal(*row)

    async def set_creating(self, key: PortalKey) -> None:
        """Record, before asking for a room, that one may come to exist."""
        await self._update(key, "state = 'creating', room_id = NULL")

    async def set_open(self, key: PortalKey, room: RoomId, membership: Membership) -> None:
        """Record the room, and where the login's owner stands in it."""
        await self._update(
            key,
            "state = 'open', room_id = $3, membership = $4, bot_joined = false, own_ghost = NULL",
            room,
            membership.value,
        )

    async def set_lost(self, key: PortalKey) -> None:
        """Record that the room can no longer be used; the next message opens another."""
        await self._update(key, "state = 'reserved', room_id = NULL, membership = 'none'")

    async def set_membership(self, key: PortalKey, membership: Membership) -> None:
        """Record where the login's owner stands in the room."""
        await self._update(key, "membership = $3", membership.value)

    async def set_bot_joined(self, key: PortalKey, joined: bool) -> None:
        """Record whether the bridge bot is in the room."""
        await self._update(key, "bot_joined = $3", joined)

    async def set_own_ghost(self, key: PortalKey, own_ghost: UserId) -> None:
        """Record that the user's own ghost is in the room."""
        await self._update(key, "own_ghost = $3", own_ghost)

    async def _update(self, key: PortalKey, assignments: str, *values: object) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                f"UPDATE portal SET {assignments} WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
                *values,
            )

    async def ghost(self, network: NetworkName, contact: ContactId, user_id: UserId) -> GhostRow:
        """The ghost of a contact, recorded now if it was not."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                INSERT INTO ghost (network, contact, user_id) VALUES ($1, $2, $3)
                ON CONFLICT (network, contact) DO UPDATE SET contact = ghost.contact
                RETURNING user_id, name, registered
                """,
                network,
                contact,
                user_id,
            )
        assert row is not None
        return GhostRow(network, contact, UserId(row[0]), row[1], row[2])

    async def ghost_contact(self, user_id: UserId) -> ContactId | None:
        """Whom a ghost stands for, when its id had to be hashed; None when we never met it."""
        async with self._database.connection() as connection:
            contact = await connection.fetchval(
                "SELECT contact FROM ghost WHERE user_id = $1", user_id
            )
        return None if contact is None else ContactId(contact)

    async def set_ghost(self, user_id: UserId, name: str | None) -> None:
        """Record that a ghost is registered, under this display name."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE ghost SET registered = true, name = $2 WHERE user_id = $1", user_id, name
            )


def _portal(
    login: str,
    chat: str,
    contact: str,
    ghost: str,
    room: str | None,
    state: str,
    membership: str,
    bot_joined: bool,
    own_ghost: str | None,
) -> PortalRow:
    return PortalRow(
        PortalKey(LoginId(login), ChatId(chat)),
        ContactId(contact),
        UserId(ghost),
        None if room is None else RoomId(room),
        PortalState(state),
        Membership(membership),
        bot_joined,
        None if own_ghost is None else UserId(own_ghost),
    )
