"""All that is stored about a user, as JSON for them to read.

The rule that must never break: no password, token or key is in it, sealed or not, nor what others wrote; and it is
bounded: of each table `MOST` rows at most, and what is left out is said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import orjson

from dm_bridge.ids import UserId
from dm_bridge.store.database import Database

MOST = 10_000
FORMAT = "dm_bridge user data 1"

_THEIRS = "login_id IN (SELECT login_id FROM login WHERE owner = $1)"
SECTIONS: dict[str, str] = {
    "login": "SELECT login_id, network, remote, name, state, reason, position, created_at FROM login "
    "WHERE owner = $1 ORDER BY created_at",
    "portal": "SELECT login_id, chat_id, contact, ghost, room_id, state, membership, own_ghost, bot_joined, "
    "crowded, private_name, successor, shows_reads, read_event, created_at "
    f"FROM portal WHERE {_THEIRS} ORDER BY created_at",
    "former_room": f"SELECT room_id, login_id, chat_id FROM former_room WHERE {_THEIRS} ORDER BY room_id",
    "space": f"SELECT login_id, mode, room_id, invited FROM space WHERE {_THEIRS} ORDER BY login_id",
    "contact_request": "SELECT login_id, contact, name, told, at FROM contact_request "
    f"WHERE {_THEIRS} ORDER BY at",
    "ghost": "SELECT network, contact, user_id, name, avatar_url FROM ghost WHERE user_id IN "
    f"(SELECT ghost FROM portal WHERE {_THEIRS} UNION SELECT own_ghost FROM portal WHERE {_THEIRS}) "
    "ORDER BY user_id",
    "management_room": "SELECT room_id FROM management_room WHERE user_id = $1 ORDER BY room_id",
    "page_link": "SELECT expires_at FROM page_link WHERE matrix_user = $1",
    "page_session": "SELECT expires_at FROM page_session WHERE matrix_user = $1",
    "matrix_token": "SELECT homeserver_url, given_at FROM matrix_token WHERE user_id = $1",
    "direct_account": "SELECT convert_from(head, 'UTF8') AS m_direct, refused, observed_at, observed_by "
    "FROM direct_account WHERE account = $1",
    "direct_dm": "SELECT room_id, ghost, state, opted_out, aliases, settled FROM direct_dm WHERE account = $1 "
    "ORDER BY room_id",
    "direct_version": "SELECT seq, to_timestamp(at) AS at, source, convert_from(detail, 'UTF8') AS detail "
    "FROM direct_version WHERE account = $1 ORDER BY seq DESC",
    "inbox": "SELECT login_id, chat_id, remote_id, state, event_id, reason, received_at FROM inbox "
    f"WHERE {_THEIRS} ORDER BY seq DESC",
    "outbox": "SELECT event_id, room_id, state, login_id, chat_id, remote_id, reason, received_at, attempted_at "
    f"FROM outbox WHERE sender = $1 OR ({_THEIRS}) ORDER BY seq DESC",
    "reaction": f"SELECT login_id, chat_id, target, from_self, emoji, event_id FROM reaction WHERE {_THEIRS} "
    "ORDER BY seq",
    "history_import": f"SELECT login_id, state, until, entries FROM history_import WHERE {_THEIRS}",
    "history_chat": "SELECT login_id, chat_id, state, messages, reason FROM history_chat "
    f"WHERE {_THEIRS} ORDER BY seq",
    "refused_stranger": "SELECT refused_at FROM refused_stranger WHERE user_id = $1",
    "stopped_user": "SELECT reason, at FROM stopped_user WHERE user_id = $1",
    "share": "SELECT since FROM share WHERE user_id = $1",
    "errand": "SELECT kind FROM errand WHERE for_whom = $1",
    "erasure": "SELECT door, asked_at FROM erasure WHERE user_id = $1",
    # who else acted is not theirs to know
    "audit_log": "SELECT at, CASE WHEN actor = $1 THEN actor ELSE 'the bridge, or an admin' END AS actor, act, "
    "CASE WHEN subject IS NULL OR subject = $1 THEN subject ELSE 'another user' END AS subject, door, "
    "CASE WHEN subject IS NULL OR subject = $1 THEN details ELSE '{}' END AS details "
    "FROM audit_log WHERE subject = $1 OR actor = $1 ORDER BY seq DESC",
}
"""What is told of which table. What people wrote is in their rooms, and not told again."""


class ExportStore:
    """Reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def export(self, user: UserId) -> AsyncIterator[bytes]:
        """The JSON document, in pieces: one for each table. Raises `StorageError`."""
        head = orjson.dumps({"format": FORMAT, "user_id": user})[:-1]
        yield head + b',"tables":{'
        left_out: list[str] = []
        separator = b"\n"
        for table, select in SECTIONS.items():
            async with self._database.connection() as connection:
                rows = await connection.fetch(f"{select} LIMIT {MOST + 1}", user)
            if len(rows) > MOST:
                left_out.append(table)
            told = [_plain(dict(row)) for row in rows[:MOST]]
            yield separator + orjson.dumps(table) + b":" + orjson.dumps(told)
            separator = b",\n"
        note = f"of these tables there are more than {MOST} rows; the latest are here"
        yield b"},\n" + orjson.dumps({"left_out": {"tables": left_out, "why": note}})[1:]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: _value(value) for key, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return value
