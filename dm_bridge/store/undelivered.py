"""What of one user's messages was not delivered, or may not have been, or waits: in both directions.

The rule that must never break: only rows of the user who asks are found or changed, and only of chats that are
theirs still; what is put back keeps its place.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson

from dm_bridge.ids import ChatId, ContactId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import forget_failures


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One event that was put aside. ``seq``: its number, and its place; ``at``: when it was taken in.

    ``uncertain``: whether the network may have it. ``reason``: why, in the words of whoever put it aside.
    """

    seq: int
    room: RoomId
    event: dict[str, Any]
    at: float
    uncertain: bool
    login: LoginId
    contact: ContactId
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Something of a chat that waits, or that a network brought and was put aside; of its content nothing.

    ``to_remote``: whether it is to reach the network. ``behind``: how many more wait after it in its chat, as far
    as `MOST_BEHIND`.
    """

    seq: int
    to_remote: bool
    waits: bool
    room: RoomId | None
    login: LoginId
    contact: ContactId
    at: float
    reason: str
    behind: int = 0


MOST_BEHIND = 999
_STUCK = """
    q.seq, {to_remote}, {waits}, p.room_id, p.login_id, p.contact, extract(epoch FROM q.received_at)::float8,
    q.reason
"""
_FIRST = """
    SELECT seq, received_at, requeued_at, reason FROM {table}
    WHERE {chat} AND state = 'waiting' {live} ORDER BY {order} LIMIT 1
"""
_BEHIND = """
    (SELECT count(*) FROM (
        SELECT FROM {table} WHERE {chat} AND state = 'waiting' AND seq > q.seq LIMIT {most}
    ) AS behind)
"""


def _waiting(table: str, chat: str, order: str, live: str = "") -> str:
    """What waits first in each chat of ``$1``, if it has been waiting for ``$2`` seconds; ``$3`` chats at most."""
    named = {"table": table, "chat": chat, "order": order, "live": live, "most": MOST_BEHIND}
    columns = _STUCK.format(to_remote=table == "outbox", waits=True)
    return f"""
        SELECT {columns}, {_BEHIND.format(**named)}
        FROM login AS l
        JOIN portal AS p ON p.login_id = l.login_id
        JOIN LATERAL ({_FIRST.format(**named)}) AS q
            ON coalesce(q.requeued_at, q.received_at) < now() - make_interval(secs => $2)
        WHERE l.owner = $1 ORDER BY q.seq LIMIT $3
    """


_OF_CHAT = "login_id = p.login_id AND chat_id = p.chat_id"
_WAITING = (
    _waiting("outbox", "room_id = p.room_id", "room_id, seq"),
    # What was written before a login takes its time, and is nobody's trouble.
    _waiting("inbox", _OF_CHAT, "login_id, chat_id, seq", live="AND seq > 0"),
)


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
                    q.state = 'uncertain' OR q.attempted_at IS NOT NULL, chat.login_id, chat.contact,
                    q.reason
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
                reason,
            )
            for seq, room, event, at, uncertain, login, contact, reason in reversed(rows)
        ]

    async def not_shown(self, user: UserId, limit: int) -> list[Stuck]:
        """What networks brought for ``user`` and was put aside: the latest, in order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                SELECT {_STUCK.format(to_remote=False, waits=False)}, 0
                FROM login AS l
                JOIN inbox AS q ON q.login_id = l.login_id AND q.state = 'parked'
                JOIN portal AS p ON p.login_id = q.login_id AND p.chat_id = q.chat_id
                WHERE l.owner = $1 ORDER BY q.seq DESC LIMIT $2
                """,
                user,
                limit,
            )
        return [_stuck(*row) for row in reversed(rows)]

    async def waiting(self, user: UserId, seconds: float, limit: int) -> list[Stuck]:
        """Of each chat of ``user`` what waits first, where that has been longer than ``seconds``."""
        found = []
        async with self._database.connection() as connection:
            for statement in _WAITING:
                found += await connection.fetch(statement, user, seconds, limit)
        return [_stuck(*row) for row in found]

    async def show_again(self, user: UserId, seqs: Collection[int]) -> dict[int, PortalKey]:
        """Let what networks brought for ``user`` wait again. Returns what did not already, and in which chat."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                UPDATE inbox SET state = 'waiting', reason = '', requeued_at = clock_timestamp()
                WHERE login_id IN (SELECT login_id FROM login WHERE owner = $1)
                    AND seq = ANY($2::bigint[]) AND state = 'parked'
                RETURNING seq, login_id, chat_id
                """,
                user,
                list(seqs),
            )
        return {seq: PortalKey(LoginId(login), ChatId(chat)) for seq, login, chat in rows}

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


def _stuck(
    seq: int,
    to_remote: bool,
    waits: bool,
    room: str | None,
    login: str,
    contact: str,
    at: float,
    reason: str,
    behind: int,
) -> Stuck:
    where = None if room is None else RoomId(room)
    whose = LoginId(login), ContactId(contact)
    return Stuck(seq, to_remote, waits, where, *whose, at, reason, behind)
