"""What one user wrote in their chats and was not delivered, or may not have been.

The rule that must never break: only rows of the user who asks are found or changed, and only of chats that are
theirs still; what is put back keeps its place.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson

from dm_bridge.ids import ContactId, LoginId, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import forget_failures


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One event that was put aside. ``seq``: its number, and its place; ``at``: when it was taken in.

    ``uncertain``: whether the network may have it.
    """

    seq: int
    room: RoomId
    event: dict[str, Any]
    at: float
    uncertain: bool
    login: LoginId
    contact: ContactId


class UndeliveredStore:
    """Finds such events, and puts them back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, user: UserId, seconds: float, limit: int) -> list[Undelivered]:
        """What ``user`` wrote and was put aside within the last ``seconds``: the latest, in order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT q.seq, q.room_id, q.event, extract(epoch FROM q.received_at)::float8,
                    q.state = 'uncertain' OR q.attempted_at IS NOT NULL, chat.login_id, chat.contact
                FROM outbox AS q
                JOIN LATERAL (
                    SELECT login_id, contact FROM portal WHERE room_id = q.room_id
                    UNION ALL
                    SELECT login_id, contact FROM former_room AS f JOIN portal USING (login_id, chat_id)
                    WHERE f.room_id = q.room_id
                ) AS chat ON true
                JOIN login AS l ON l.login_id = chat.login_id AND l.owner = q.sender
                WHERE q.sender = $1 AND q.state IN ('parked', 'failed', 'uncertain')
                    AND coalesce(q.requeued_at, q.received_at) > now() - make_interval(secs => $2)
                ORDER BY q.seq DESC LIMIT $3
                """,
                user,
                seconds,
                limit,
            )
        return [
            Undelivered(
                seq,
                RoomId(room),
                orjson.loads(event),
                at,
                uncertain,
                LoginId(login),
                ContactId(contact),
            )
            for seq, room, event, at, uncertain, login, contact in reversed(rows)
        ]

    async def put_back(self, user: UserId, seqs: Collection[int]) -> set[int]:
        """Let these events of ``user`` wait again, in their places. Returns which did not already."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(
                """
                UPDATE outbox SET state = 'waiting', reason = '', requeued_at = clock_timestamp()
                WHERE sender = $1 AND seq = ANY($2::bigint[]) AND state IN ('parked', 'failed', 'uncertain')
                RETURNING seq, login_id, chat_id, remote_id, event_id
                """,
                user,
                list(seqs),
            )
            await forget_failures(connection, rows)
        return {row["seq"] for row in rows}
