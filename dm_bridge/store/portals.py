"""Rows of `portal` and `ghost`: which chat lives in which room, and who stands for whom.

The rule that must never break: one chat of one login has one row, made before its room is; so two
attempts to open the same chat meet here, not on the homeserver.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dm_bridge.ids import (
    ChatId,
    ContactId,
    EventId,
    LoginId,
    NetworkName,
    PortalKey,
    RoomId,
    UserId,
)
from dm_bridge.store.database import Database
from dm_bridge.store.groups import Groups


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
    """One private chat. ``own_ghost``: the user's own ghost, once it had to join.

    ``crowded``: somebody besides the user, the contact and the bridge is in the room.
    ``successor``: the room that the user replaced this one with, while the ghost is not in it yet;
    ``successor_at``: since when, in seconds since the epoch.
    ``shows_reads``: the contact has shown what they read, so a receipt of theirs means that, and no less.
    ``read_event``: up to where the network knows that the owner has read; None: nothing, "": nobody kept it.
    ``private_name``: what the ghost is called in this room only.
    """

    key: PortalKey
    contact: ContactId
    ghost: UserId
    room: RoomId | None
    state: PortalState
    membership: Membership
    bot_joined: bool
    own_ghost: UserId | None
    crowded: bool = False
    successor: RoomId | None = None
    successor_at: float = 0.0
    shows_reads: bool = False
    private_name: str | None = None
    read_event: EventId | None = None


@dataclass(frozen=True, slots=True)
class GhostRow:
    """A ghost. ``name``: the display name last set on the homeserver.

    ``avatar``: what the network calls the picture that is shown there, "" for none, None when nobody ever told;
    ``avatar_url``: where the homeserver has it.
    """

    network: NetworkName
    contact: ContactId
    user_id: UserId
    name: str | None
    registered: bool
    avatar: str | None = None
    avatar_url: str | None = None


_COLUMNS = """
    login_id, chat_id, contact, ghost, room_id, state, membership, bot_joined, own_ghost, crowded,
    successor, coalesce(extract(epoch FROM successor_at), 0)::float8, shows_reads,
    private_name, read_event
"""
_NO_ROOM = (
    "state = 'reserved', room_id = NULL, membership = 'none', crowded = false, successor = NULL"
)


class PortalStore:
    """Reads and writes portals and ghosts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_key = Groups(self._get)
        self._by_room = Groups(self._get_by_room)

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
        """The portal for ``key``, or None. Read for many keys at once (`Groups`); so is `by_room`."""
        return await self._by_key.add(key)

    async def _get(self, keys: Sequence[PortalKey]) -> Sequence[PortalRow | None]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                SELECT {_COLUMNS} FROM portal
                WHERE (login_id, chat_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))
                """,
                [key.login for key in keys],
                [key.chat for key in keys],
            )
        found = {portal.key: portal for portal in (_portal(*row) for row in rows)}
        return [found.get(key) for key in keys]

    async def by_room(self, room: RoomId) -> PortalRow | None:
        """The portal whose room is ``room``, or None."""
        return await self._by_room.add(room)

    async def _get_by_room(self, rooms: Sequence[RoomId]) -> Sequence[PortalRow | None]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM portal WHERE room_id = ANY($1::text[])", rooms
            )
        found = {portal.room: portal for portal in (_portal(*row) for row in rows)}
        return [found.get(room) for room in rooms]

    async def by_former_room(self, room: RoomId) -> PortalRow | None:
        """The portal that had ``room`` before the one it has now, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"""
                SELECT {_COLUMNS} FROM portal
                WHERE (login_id, chat_id) = (SELECT login_id, chat_id FROM former_room WHERE room_id = $1)
                """,
                room,
            )
        return None if row is None else _portal(*row)

    async def by_successor(self, room: RoomId) -> PortalRow | None:
        """The portal whose room was replaced with ``room``, which it could not enter yet, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM portal WHERE successor = $1", room
            )
        return None if row is None else _portal(*row)

    async def of_login(self, login: LoginId) -> list[PortalRow]:
        """The portals of a login that have a room."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM portal WHERE login_id = $1 AND room_id IS NOT NULL", login
            )
        return [_portal(*row) for row in rows]

    async def of_owner(self, owner: UserId) -> list[PortalRow]:
        """The portals of a user, by whichever login, also one that they have logged out of."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                SELECT {_COLUMNS} FROM portal
                WHERE login_id IN (SELECT login_id FROM login WHERE owner = $1)
                """,
                owner,
            )
        return [_portal(*row) for row in rows]

    async def creating(self, owner: UserId) -> list[PortalRow]:
        """The portals of a user for which a room may exist that is not recorded."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                SELECT {_COLUMNS} FROM portal
                WHERE login_id IN (SELECT login_id FROM login WHERE owner = $1) AND state = 'creating'
                """,
                owner,
            )
        return [_portal(*row) for row in rows]

    async def managed_without_login(self, owners: Collection[UserId] | None = None) -> list[RoomId]:
        """Rooms that are still marked although their user, one of ``owners`` or anybody, has logged out."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT room_id FROM portal AS p
                WHERE login_id IN (
                        SELECT login_id FROM login
                        WHERE state = 'logged_out' AND ($1::text[] IS NULL OR owner = ANY($1))
                    )
                    AND EXISTS (
                        SELECT FROM direct_dm AS d WHERE d.room_id = p.room_id AND d.state <> 'retired'
                    )
                """,
                None if owners is None else list(owners),
            )
        return [RoomId(room) for (room,) in rows]

    async def set_creating(self, key: PortalKey) -> None:
        """Record, before asking for a room, that one may come to exist."""
        await self._update(key, "state = 'creating', room_id = NULL")

    async def set_open(self, key: PortalKey, room: RoomId, membership: Membership) -> None:
        """Record the room, and where the login's owner stands in it."""
        await self._update(
            key,
            """
            state = 'open', room_id = $3, membership = $4, bot_joined = false, own_ghost = NULL,
            crowded = false, successor = NULL
            """,
            room,
            membership.value,
        )

    async def set_lost(self, key: PortalKey) -> None:
        """Record that the room can no longer be used; the next message opens another."""
        await self._update(key, _NO_ROOM)

    async def set_crowded(self, key: PortalKey, crowded: bool) -> None:
        """Record whether somebody else is in the room."""
        await self._update(key, "crowded = $3", crowded)

    async def set_successor(self, key: PortalKey, room: RoomId | None) -> None:
        """Record which room the user replaced this one with; None: with none that counts."""
        await self._update(key, "successor = $3, successor_at = now()", room)

    async def replace_room(self, key: PortalKey, old: RoomId, row: PortalRow | None) -> None:
        """Record that ``old`` was the room, and that the one of ``row`` is it, with who is in there.

        None: that the next message opens one. No effect when ``old`` is not the room (any more).
        """
        values: tuple[object, ...] = ()
        assignments = f"{_NO_ROOM}, bot_joined = false, own_ghost = NULL"
        if row is not None:
            assignments = """
                state = 'open', room_id = $4, membership = $5, bot_joined = $6, own_ghost = $7,
                crowded = $8, successor = NULL
            """
            members = (row.bot_joined, row.own_ghost, row.crowded)
            values = (row.room, row.membership.value, *members)
        async with self._database.transaction() as connection:
            changed = await connection.execute(
                f"""
                UPDATE portal SET {assignments}
                WHERE login_id = $1 AND chat_id = $2 AND room_id = $3
                """,
                *(key.login, key.chat, old, *values),
            )
            if changed == "UPDATE 1":
                await connection.execute(
                    "INSERT INTO former_room VALUES ($3, $1, $2) ON CONFLICT DO NOTHING",
                    *(key.login, key.chat, old),
                )

    async def former_rooms(self, key: PortalKey) -> list[RoomId]:
        """The rooms that the portal had before, as far as they still matter."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT room_id FROM former_room WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
            )
        return [RoomId(room) for (room,) in rows]

    async def forget_former(self, room: RoomId) -> None:
        """Forget a room that a portal had before."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM former_room WHERE room_id = $1", room)

    async def move(self, key: PortalKey, new: PortalKey, contact: ContactId, ghost: UserId) -> bool:
        """Make the portal of ``key`` the one of ``new``, with what became of its messages.

        False, and no change, when ``new`` has a chat already.
        """
        if new == key:
            await self._update(key, "contact = $3, ghost = $4", contact, ghost)
            return True
        async with self._database.transaction() as connection:
            await connection.execute(
                "DELETE FROM portal WHERE login_id = $1 AND chat_id = $2 AND state = 'reserved'",
                new.login,
                new.chat,
            )
            moved = await connection.execute(
                """
                UPDATE portal SET chat_id = $3, contact = $4, ghost = $5
                WHERE login_id = $1 AND chat_id = $2 AND NOT EXISTS (
                    SELECT FROM portal WHERE login_id = $1 AND chat_id = $3
                )
                """,
                *(key.login, key.chat, new.chat, contact, ghost),
            )
            if moved != "UPDATE 1":
                return False
            # Our own events come back from the homeserver, and are recognised by these.
            await connection.execute(
                """
                UPDATE inbox AS i SET chat_id = $3
                WHERE login_id = $1 AND chat_id = $2 AND state <> 'waiting' AND NOT EXISTS (
                    SELECT FROM inbox
                    WHERE login_id = $1 AND chat_id = $3 AND remote_id = i.remote_id
                )
                """,
                *(key.login, key.chat, new.chat),
            )
        return True

    async def delete(self, key: PortalKey) -> None:
        """Forget a portal and its rooms."""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM portal WHERE login_id = $1 AND chat_id = $2", key.login, key.chat
            )

    async def set_membership(self, key: PortalKey, membership: Membership) -> None:
        """Record where the login's owner stands in the room."""
        await self._update(key, "membership = $3", membership.value)

    async def set_bot_joined(self, key: PortalKey, joined: bool) -> None:
        """Record whether the bridge bot is in the room."""
        await self._update(key, "bot_joined = $3", joined)

    async def set_shows_reads(self, key: PortalKey) -> None:
        """Record that the contact shows what they read."""
        await self._update(key, "shows_reads = true")

    async def set_read(self, key: PortalKey, event: EventId) -> None:
        """Record that the network knows that the owner has read ``event``, or need not know."""
        await self._update(key, "read_event = $3", event)

    async def set_private_name(self, key: PortalKey, name: str | None) -> None:
        """Record what the ghost is called in this room only; None: what it is called elsewhere."""
        await self._update(key, "private_name = $3", name)

    async def set_own_ghost(self, key: PortalKey, own_ghost: UserId | None) -> None:
        """Record that the user's own ghost is in the room; None: that it is not."""
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
            # Without a target: of two that come at once, the second may meet the first by its user id.
            await connection.execute(
                """
                INSERT INTO ghost (network, contact, user_id) VALUES ($1, $2, $3)
                ON CONFLICT DO NOTHING
                """,
                network,
                contact,
                user_id,
            )
            row = await connection.fetchrow(
                """
                SELECT user_id, name, registered, avatar, avatar_url FROM ghost
                WHERE network = $1 AND contact = $2
                """,
                network,
                contact,
            )
        assert row is not None, "no two contacts have one user id"
        return GhostRow(network, contact, UserId(row[0]), *row[1:])

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
    crowded: bool,
    successor: str | None,
    successor_at: float,
    shows_reads: bool,
    private_name: str | None,
    read_event: str | None,
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
        crowded,
        None if successor is None else RoomId(successor),
        successor_at,
        shows_reads,
        private_name,
        None if read_event is None else EventId(read_event),
    )
