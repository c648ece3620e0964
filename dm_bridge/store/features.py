"""Which rooms have been told what can be done there.

The rule that must never break: what is recorded names the room, so that a chat's next room is told anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dm_bridge.ids import ChatId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.store.database import Database


@dataclass(frozen=True, slots=True)
class Untold:
    """A chat whose room says something else, or nothing."""

    key: PortalKey
    room: RoomId
    ghost: UserId


class FeatureStore:
    """Reads and writes what `dm_bridge.bridge.features` keeps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def untold(self, login: LoginId, features: str, limit: int) -> Sequence[Untold]:
        """Chats of a login whose rooms have not been told of ``features``, the name of a set of them."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT chat_id, room_id, ghost FROM portal
                WHERE login_id = $1 AND room_id IS NOT NULL
                AND features IS DISTINCT FROM room_id || ' ' || $2::text
                LIMIT $3
                """,
                login,
                features,
                limit,
            )
        return [
            Untold(PortalKey(login, ChatId(chat)), RoomId(room), UserId(ghost))
            for chat, room, ghost in rows
        ]

    async def told(self, key: PortalKey, room: RoomId, features: str) -> None:
        """Record that ``room`` has been told of ``features``, or never will be."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE portal SET features = $3 || ' ' || $4::text WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
                room,
                features,
            )
