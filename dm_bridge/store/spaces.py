"""Rows of `space`: which logins have a space for their chats, and what its user decided about it.

The rule that must never break: that a room may come to exist is recorded before it is asked for; so after a crash
there is no second one.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dm_bridge.ids import LoginId, RoomId, UserId
from dm_bridge.store.database import Database


class SpaceMode(enum.Enum):
    """``OFF``: the user wants none. ``LEFT``: they have left it, so they are not invited again."""

    ON = "on"
    OFF = "off"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """What there is of a login's space. ``creating``: a room may exist, unrecorded.

    ``invited``: the user has been invited to ``room`` since they wanted it.
    """

    login: LoginId
    mode: SpaceMode
    creating: bool = False
    room: RoomId | None = None
    invited: bool = False


_COLUMNS = "login_id, mode, creating, room_id, invited"


class SpaceStore:
    """Reads and writes spaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, login: LoginId) -> SpaceRow | None:
        """What there is of a login's space, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM space WHERE login_id = $1", login
            )
        return None if row is None else _space(*row)

    async def of(self, owners: Collection[UserId] | None = None) -> list[SpaceRow]:
        """The same for all logins of these users, or of all."""
        async with self._database.connection() as connection:
            if owners is None:
                rows = await connection.fetch(f"SELECT {_COLUMNS} FROM space")
            else:
                rows = await connection.fetch(
                    f"""
                    SELECT {_COLUMNS} FROM space
                    WHERE login_id IN (SELECT login_id FROM login WHERE owner = ANY($1::text[]))
                    """,
                    list(owners),
                )
        return [_space(*row) for row in rows]

    async def by_room(self, room: RoomId) -> SpaceRow | None:
        """The space that ``room`` is, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM space WHERE room_id = $1", room
            )
        return None if row is None else _space(*row)

    async def rooms_of(self, owner: UserId) -> dict[LoginId, RoomId]:
        """The spaces that a user has and has not left, by login."""
        rows = await self.of([owner])
        return {
            row.login: row.room for row in rows if row.room is not None and row.mode is SpaceMode.ON
        }

    async def offer(self, login: LoginId) -> None:
        """Record that a login is to have a space, unless its user has decided about that."""
        await self._execute(
            "INSERT INTO space (login_id, mode) VALUES ($1, 'on') ON CONFLICT DO NOTHING", login
        )

    async def want(self, login: LoginId) -> None:
        """Record that the user wants a space, and is to be invited to it, if need be again."""
        await self._execute(
            """
            INSERT INTO space (login_id, mode) VALUES ($1, 'on')
            ON CONFLICT (login_id) DO UPDATE SET mode = 'on', invited = false
            """,
            login,
        )

    async def refuse(self, login: LoginId) -> None:
        """Record that the user wants no space."""
        await self._execute(
            """
            INSERT INTO space (login_id, mode) VALUES ($1, 'off')
            ON CONFLICT (login_id) DO UPDATE SET mode = 'off'
            """,
            login,
        )

    async def set_left(self, login: LoginId, room: RoomId) -> None:
        """Record that the user has left the space to which they had been invited, if they do not want it again."""
        await self._execute(
            """
            UPDATE space SET mode = 'left'
            WHERE login_id = $1 AND room_id = $2 AND mode = 'on' AND invited
            """,
            *(login, room),
        )

    async def set_creating(self, login: LoginId) -> None:
        """Record, before asking for a room, that one may come to exist."""
        await self._execute(
            "UPDATE space SET creating = true, room_id = NULL, invited = false WHERE login_id = $1",
            login,
        )

    async def set_room(self, login: LoginId, room: RoomId | None) -> None:
        """Record which room the space is, in which the user is not yet; None: that there is none."""
        await self._execute(
            "UPDATE space SET creating = false, room_id = $2, invited = false WHERE login_id = $1",
            *(login, room),
        )

    async def set_invited(self, login: LoginId, room: RoomId) -> None:
        """Record that the user has been invited to the space."""
        await self._execute(
            "UPDATE space SET invited = true WHERE login_id = $1 AND room_id = $2", *(login, room)
        )

    async def chats(self, login: LoginId) -> list[RoomId]:
        """The rooms that belong into a login's space: those of its chats, but for rooms that the user has left."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT room_id FROM portal
                WHERE login_id = $1 AND room_id IS NOT NULL AND membership <> 'leave'
                """,
                login,
            )
        return [RoomId(room) for (room,) in rows]

    async def unknown(self, rooms: Sequence[RoomId]) -> list[RoomId]:
        """Those of these rooms of which nothing is recorded."""
        async with self._database.connection() as connection:
            found = await connection.fetch(
                """
                SELECT r FROM unnest($1::text[]) AS r
                WHERE NOT EXISTS (SELECT FROM management_room WHERE room_id = r)
                    AND NOT EXISTS (SELECT FROM portal WHERE room_id = r)
                    AND NOT EXISTS (SELECT FROM former_room WHERE room_id = r)
                    AND NOT EXISTS (SELECT FROM space WHERE room_id = r)
                """,
                rooms,
            )
        return [RoomId(room) for (room,) in found]

    async def _execute(self, statement: str, *values: object) -> None:
        async with self._database.connection() as connection:
            await connection.execute(statement, *values)


def _space(login: str, mode: str, creating: bool, room: str | None, invited: bool) -> SpaceRow:
    return SpaceRow(
        LoginId(login), SpaceMode(mode), creating, None if room is None else RoomId(room), invited
    )
