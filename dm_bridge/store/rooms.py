"""Rows of `management_room` and `refused_stranger`: where the bot talks, and to whom it will not."""

from __future__ import annotations

from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Database


class RoomStore:
    """Reads and writes the bot's rooms."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_management(self, room: RoomId, user: UserId) -> None:
        """Record a one-to-one room of the bot with ``user``."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO management_room (room_id, user_id) VALUES ($1, $2)
                ON CONFLICT (room_id) DO UPDATE SET user_id = EXCLUDED.user_id
                """,
                room,
                user,
            )

    async def remove_management(self, room: RoomId) -> None:
        """Forget a room that the bot or its user left."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM management_room WHERE room_id = $1", room)

    async def management_user(self, room: RoomId) -> UserId | None:
        """Whose management room ``room`` is, or None."""
        async with self._database.connection() as connection:
            user = await connection.fetchval(
                "SELECT user_id FROM management_room WHERE room_id = $1", room
            )
        return None if user is None else UserId(user)

    async def ask_secret(self, room: RoomId) -> None:
        """Record that the next message in this room may well be a password."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE management_room SET secret_asked = true WHERE room_id = $1", room
            )

    async def take_secret_asked(self, room: RoomId) -> bool:
        """Whether a secret was asked for in this room; forgets it."""
        async with self._database.connection() as connection:
            asked = await connection.fetchval(
                """
                UPDATE management_room SET secret_asked = false
                WHERE room_id = $1 AND secret_asked RETURNING true
                """,
                room,
            )
        return bool(asked)

    async def management_rooms(self, user: UserId) -> list[RoomId]:
        """The rooms in which the bot can tell ``user`` something."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT room_id FROM management_room WHERE user_id = $1", user
            )
        return [RoomId(room) for (room,) in rows]

    async def refuse_once(self, user: UserId) -> bool:
        """Whether this stranger has not been refused before; records that they now are."""
        async with self._database.connection() as connection:
            new = await connection.fetchval(
                """
                INSERT INTO refused_stranger (user_id) VALUES ($1)
                ON CONFLICT DO NOTHING RETURNING true
                """,
                user,
            )
        return bool(new)
