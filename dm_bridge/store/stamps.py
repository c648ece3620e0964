"""Whether something of one user's has changed: stamps, which cost little enough to be read every few seconds.

The rule that must never break: indexes answer, and what they read is the user's own.
"""

from __future__ import annotations

from dm_bridge.ids import UserId
from dm_bridge.store.database import Database


class StampStore:
    """Reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user: UserId) -> str:
        """Some text that is another one whenever the user's m.direct, chats, or troubles with messages are."""
        async with self._database.connection() as connection:
            stamp: str = await connection.fetchval(
                """
                SELECT concat_ws(
                    ' ',
                    (SELECT concat_ws(' ', revision, refused) FROM direct_account WHERE account = $1),
                    (SELECT concat_ws(' ', count(*), sum(hashtextextended(
                        concat_ws(' ', room_id, ghost, state, opted_out), 0)))
                        FROM direct_dm WHERE account = $1),
                    (SELECT concat_ws(' ', count(*), sum(seq)) FROM (
                        SELECT seq FROM outbox
                        WHERE sender = $1 AND state IN ('parked', 'failed', 'uncertain')
                        ORDER BY seq DESC LIMIT 400) AS o),
                    (SELECT concat_ws(' ', count(*), sum(seq)) FROM (
                        SELECT q.seq FROM login AS l
                        JOIN inbox AS q ON q.login_id = l.login_id AND q.state = 'parked'
                        WHERE l.owner = $1 LIMIT 400) AS i)
                )
                """,
                user,
            )
        return stamp
