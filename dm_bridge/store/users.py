"""Who uses the bridge, and what there is of one user, for admins.

The rule that must never break: it is bounded, and nothing that people wrote is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_bridge.ids import UserId
from dm_bridge.store.database import Database


@dataclass(frozen=True, slots=True)
class UserLine:
    """A user who has logins: how many are to be connected, and how many their networks refuse.

    ``stopped``: by an admin. ``held``: some process has the user.
    """

    user: UserId
    active: int
    refused: int
    networks: str
    stopped: bool
    held: bool


@dataclass(frozen=True, slots=True)
class UserCounts:
    """What there is of one user: chats, rooms with the bot, and messages that wait, or were not delivered."""

    chats: int
    bot_rooms: int
    waiting: int
    aside: int
    token: bool


class UserStore:
    """Reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def users(self, limit: int, offset: int) -> tuple[int, int, list[UserLine]]:
        """How many users and logins there are, and some of the users, by their ids."""
        async with self._database.connection() as connection:
            totals = await connection.fetchrow(
                "SELECT count(DISTINCT owner), count(*) FROM login WHERE state <> 'logged_out'"
            )
            rows = await connection.fetch(
                """
                SELECT l.owner, count(*) FILTER (WHERE l.state = 'active'),
                    count(*) FILTER (WHERE l.state = 'bad_credentials'),
                    string_agg(DISTINCT l.network, ', ' ORDER BY l.network),
                    EXISTS (SELECT FROM stopped_user AS s WHERE s.user_id = l.owner),
                    EXISTS (SELECT FROM share AS s WHERE s.user_id = l.owner AND s.holder IS NOT NULL)
                FROM login AS l WHERE l.state <> 'logged_out'
                GROUP BY l.owner ORDER BY l.owner LIMIT $1 OFFSET $2
                """,
                *(limit, offset),
            )
        assert totals is not None
        return totals[0], totals[1], [UserLine(UserId(row[0]), *row[1:]) for row in rows]

    async def counts(self, user: UserId) -> UserCounts:
        """What there is of one user."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT
                    (SELECT count(*) FROM portal JOIN login USING (login_id) WHERE owner = $1),
                    (SELECT count(*) FROM management_room WHERE user_id = $1),
                    (SELECT count(*) FROM inbox JOIN login USING (login_id)
                        WHERE owner = $1 AND inbox.state = 'waiting')
                    + (SELECT count(*) FROM outbox WHERE state = 'waiting' AND room_id IN (
                        SELECT room_id FROM portal JOIN login USING (login_id) WHERE owner = $1)),
                    (SELECT count(*) FROM inbox JOIN login USING (login_id)
                        WHERE owner = $1 AND inbox.state = 'parked')
                    + (SELECT count(*) FROM outbox
                        WHERE sender = $1 AND state IN ('parked', 'failed', 'uncertain')),
                    EXISTS (SELECT FROM matrix_token WHERE user_id = $1)
                """,
                user,
            )
        assert row is not None
        return UserCounts(*row)
