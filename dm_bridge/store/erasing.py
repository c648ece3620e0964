"""Rows of `erasure`, and how all that is stored about a user is removed.

The rule that must never break: `PLAN` and `KEPT` name every table there is (a test looks), and what several users
have in common stays for the others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.audit_log import Act, AuditEntry, AuditStore
from dm_bridge.store.database import Connection, Database

_THEIRS = "login_id IN (SELECT login_id FROM login WHERE owner = $1)"
AT_ONCE = 20_000
"""Rows of a queue that are removed in one statement."""

PLAN: dict[str, str] = {
    "reaction": _THEIRS,
    "contact_request": _THEIRS,
    "history_chat": _THEIRS,
    "history_import": _THEIRS,
    "inbox": _THEIRS,
    "outbox": f"(sender = $1 OR room_id = ANY($2::text[]) OR {_THEIRS})",
    "direct_dm": "(account = $1 OR ghost = $1 OR room_id = ANY($2::text[]))",
    "direct_version": "account = $1",
    "direct_account": "account = $1",
    "space": _THEIRS,
    "former_room": _THEIRS,
    "portal": _THEIRS,
    # A contact's name and picture stay while anybody else has a chat with them, or is them.
    "ghost": """user_id = ANY($3::text[])
        AND NOT EXISTS (SELECT FROM portal AS p WHERE p.ghost = g.user_id OR p.own_ghost = g.user_id)
        AND NOT EXISTS (
            SELECT FROM login AS l WHERE (l.network, l.remote) = (g.network, g.contact) AND owner <> $1
        )
        AND (source IS NULL OR source IN (SELECT login_id FROM login WHERE owner = $1))""",
    "login": "owner = $1",
    "matrix_token": "user_id = $1",
    "management_room": "user_id = $1",
    "refused_stranger": "user_id = $1",
    "page_link": "matrix_user = $1",
    "page_session": "matrix_user = $1",
    "errand": "for_whom = $1",
    "share": "user_id = $1",
    "audit_log": "(subject = $1 OR (actor = $1 AND subject IS NULL))",
    "erasure": "user_id = $1",
}
"""What is removed of which table, in this order. $1: the user; $2: their rooms; $3: ghosts that they met."""

KEPT: dict[str, str] = {
    "alembic_version": "the version of the schema",
    "instance": "the processes of the bridge",
    "login_failure": "digests, for an hour: else an erasure would be a way around the limit",
    "stopped_user": "else an erasure would be a way around an admin's decision",
}
"""The tables of which nothing is removed, and why."""

_BATCHED = ("inbox", "outbox")
_NAMED = """
    DELETE FROM outbox WHERE state IN ('handled', 'dropped')
        AND room_id IN (
            SELECT room_id FROM management_room UNION SELECT room_id FROM outbox WHERE sender = $1
        )
        AND position(convert_to($1, 'UTF8') IN event) > 0
"""
"""What names the user: commands of admins, and what others did in rooms where the user was."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A user whose data are to be erased. ``by``: who has asked for it, and by which ``door``."""

    user: UserId
    by: str
    door: str


class ErasureStore:
    """Records what is to be erased, and erases it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, user: UserId, by: str, door: str) -> None:
        """Record that a user's data are to be erased, and that this was asked for. Raises `StorageError`.

        Some process takes the user, if none has them.
        """
        async with self._database.transaction() as connection:
            new = await connection.fetchval(
                """
                INSERT INTO erasure (user_id, asked_by, door) VALUES ($1, $2, $3)
                ON CONFLICT DO NOTHING RETURNING true
                """,
                *(user, by, door),
            )
            await connection.execute(
                "INSERT INTO share (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user
            )
            if new:
                entry = AuditEntry(by, Act.ERASE_ASKED.value, user, door, {})
                await AuditStore(self._database).add(entry, connection)

    async def pending(self, users: Collection[UserId] | None = None) -> list[Erasure]:
        """The users, among ``users`` or all, whose data are to be erased."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT user_id, asked_by, door FROM erasure
                WHERE $1::text[] IS NULL OR user_id = ANY($1) ORDER BY asked_at
                """,
                None if users is None else list(users),
            )
        return [Erasure(UserId(user), by, door) for user, by, door in rows]

    async def knows(self, user: UserId) -> bool:
        """Whether anything is stored about a user, but that an admin asked for them."""
        async with self._database.connection() as connection:
            known = await connection.fetchval(
                """
                SELECT EXISTS (SELECT FROM share WHERE user_id = $1)
                    OR EXISTS (SELECT FROM login WHERE owner = $1)
                    OR EXISTS (SELECT FROM direct_account WHERE account = $1)
                    OR EXISTS (SELECT FROM refused_stranger WHERE user_id = $1)
                    OR EXISTS (SELECT FROM stopped_user WHERE user_id = $1)
                    OR EXISTS (
                        SELECT FROM audit_log WHERE (subject = $1 OR actor = $1) AND act <> 'admin'
                    )
                """,
                user,
            )
        return bool(known)

    async def collect(self, user: UserId) -> None:
        """Keep in mind which rooms and ghosts are the user's, while there are rows that tell."""
        async with self._database.connection() as connection:
            await connection.execute(
                f"""
                UPDATE erasure SET
                    rooms = ARRAY(
                        SELECT unnest(rooms)
                        UNION SELECT room_id FROM portal WHERE room_id IS NOT NULL AND {_THEIRS}
                        UNION SELECT successor FROM portal WHERE successor IS NOT NULL AND {_THEIRS}
                        UNION SELECT room_id FROM former_room WHERE {_THEIRS}
                        UNION SELECT room_id FROM space WHERE room_id IS NOT NULL AND {_THEIRS}
                        UNION SELECT room_id FROM management_room WHERE user_id = $1
                        UNION SELECT room_id FROM direct_dm WHERE account = $1
                    ),
                    ghosts = ARRAY(
                        SELECT unnest(ghosts)
                        UNION SELECT ghost FROM portal WHERE {_THEIRS}
                        UNION SELECT own_ghost FROM portal WHERE own_ghost IS NOT NULL AND {_THEIRS}
                        UNION SELECT ghost FROM direct_dm WHERE account = $1
                        UNION SELECT g.user_id FROM ghost AS g JOIN login AS l
                            ON (l.network, l.remote) = (g.network, g.contact) WHERE l.owner = $1
                        UNION SELECT user_id FROM ghost
                            WHERE source IN (SELECT login_id FROM login WHERE owner = $1)
                    )
                WHERE user_id = $1
                """,
                user,
            )

    async def unwritten(self, user: UserId) -> list[UserId]:
        """The accounts, the user's and those of ghosts, in whose m.direct something is still to be changed."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT account FROM direct_dm WHERE (account = $1 OR ghost = $1) AND NOT settled",
                user,
            )
        return [UserId(account) for (account,) in rows]

    async def erase(self, erasure: Erasure, subject: str) -> bool:
        """Remove all that is stored about the user, and record that. False when that was done before.

        ``subject``: how the audit log speaks of them from now on. Raises `StorageError`; can then be called again.
        """
        user = erasure.user
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                "SELECT rooms, ghosts FROM erasure WHERE user_id = $1", user
            )
        if row is None:
            return False
        async with self._database.connection() as connection:
            await connection.execute(_NAMED, user)  # first: their own rows tell in which rooms
        for table in _BATCHED:
            while await self._some(table, user, row["rooms"]):
                pass
        async with self._database.transaction() as connection:
            if not await connection.fetchval(
                "SELECT true FROM erasure WHERE user_id = $1 FOR UPDATE", user
            ):
                return False
            acts = await connection.fetch(
                f"SELECT act, count(*) FROM audit_log WHERE {PLAN['audit_log']} GROUP BY act", user
            )
            for table, condition in PLAN.items():
                values: list[object] = [user, row["rooms"], row["ghosts"]]
                needed = values[: 3 if "$3" in condition else 2 if "$2" in condition else 1]
                if table == "login":
                    await _give_up_faces(connection, user)
                if table == "ghost":  # numbered without a gap
                    condition, needed = condition.replace("$3", "$2"), [user, row["ghosts"]]
                await connection.execute(f"DELETE FROM {table} AS g WHERE {condition}", *needed)
            by = "themselves" if erasure.by == user else erasure.by
            counts = {act: number for act, number in acts}  # noqa: C416 (a record is no pair)
            entry = AuditEntry(by, Act.ERASED.value, subject, erasure.door, counts)
            await AuditStore(self._database).add(entry, connection)
        return True

    async def _some(self, table: str, user: UserId, rooms: list[RoomId]) -> bool:
        condition = PLAN[table]
        values = [user, rooms] if "$2" in condition else [user]
        async with self._database.connection() as connection:
            done = await connection.execute(
                f"""
                DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM {table} WHERE {condition} LIMIT {AT_ONCE}
                ))
                """,
                *values,
            )
        return bool(done == f"DELETE {AT_ONCE}")


async def _give_up_faces(connection: Connection, user: UserId) -> None:
    """Contacts look as they do, and whoever tells next what they look like decides."""
    await connection.execute(
        "UPDATE ghost SET source = NULL WHERE source IN (SELECT login_id FROM login WHERE owner = $1)",
        user,
    )
