"""Rows of `instance`, `share` and `errand`: which processes there are, and which users each has.

A *share* is a Matrix user with all that is theirs: logins, chats, management room, m.direct. One process at a time
has it. What another process takes in for that user is left here as an *errand* for whoever has the share.

The rule that must never break: a share is taken only when nobody has it, and a process loses its shares against
its will only together with its row in `instance`; from then on nothing that it does reaches the database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Buried, Connection, Database

log = structlog.get_logger(__name__)

CHANNEL = "dm_bridge_errand"
"""What is notified when there is an errand, or a share that nobody has."""
BURIAL_PATIENCE_MS = 2000
ERRANDS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Instance:
    """A process. ``lease``: for how many seconds it may be silent. ``beat``: negative while it is being buried.

    ``place``, ``process``: see `dm_bridge.bridge.vital_signs`.
    """

    id: str
    lease: float
    place: str
    process: str
    beat: int


@dataclass(frozen=True, slots=True)
class Loads:
    """How many logins that count the users of each process have; and of those whom nobody has, if any."""

    of: Mapping[str, int]
    free: int | None


@dataclass(frozen=True, slots=True)
class Errand:
    """Something for whoever has the share of a user. ``kind`` and ``subject``: see `dm_bridge.app.tenancy`."""

    for_whom: str
    kind: str
    subject: str


class InstanceStore:
    """Reads and writes them, as the process that ``database`` is the connection of."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.id = database.instance

    # -- being there

    async def join(
        self, identity: str, lease: float, place: str, process: str, version: str
    ) -> str | None:
        """Be there. Returns the identity of another bridge that uses this database; then we are not there."""
        async with self._database.transaction() as connection:
            other: str | None = await connection.fetchval(
                "SELECT identity FROM instance WHERE identity <> $1 LIMIT 1", identity
            )
            if other is not None:
                return other
            await connection.execute(
                """
                INSERT INTO instance (instance_id, identity, lease, place, process, version)
                VALUES ($1, $2, $3, $4, $5, $6)
                """,
                *(self.id, identity, lease, place, process, version),
            )
        self._database.fence()
        return None

    async def beat(self) -> list[Instance]:
        """Show that we live, and see who is there, the oldest first. Raises `Buried`, `StorageError`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                WITH beaten AS (
                    UPDATE instance SET beat = beat + 1 WHERE instance_id = $1 AND beat >= 0
                    RETURNING instance_id
                )
                SELECT instance_id, lease, place, process, beat, instance_id IN (TABLE beaten)
                FROM instance ORDER BY joined
                """,
                self.id,
            )
        if not any(alive for *_, alive in rows):
            raise Buried
        return [Instance(*row) for *row, _ in rows]

    async def loads(self) -> Loads:
        """What each process has. One that has nothing is left out."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT s.holder, count(l.login_id) FROM share AS s
                LEFT JOIN login AS l ON l.owner = s.user_id AND l.state <> 'logged_out' GROUP BY s.holder
                """
            )
        loads = {holder: logins for holder, logins in rows}  # noqa: C416 (a record is no pair)
        free = loads.pop(None, None)
        return Loads(loads, free)

    async def leave(self) -> None:
        """Be gone, and let others have our shares. What was left for this very process is for nobody."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                WITH gone AS (DELETE FROM instance WHERE instance_id = $1)
                DELETE FROM errand WHERE for_whom = $1
                """,
                self.id,
            )
            await _notify(connection)

    async def bury(self, instance: Instance) -> bool:
        """Take a process for dead, if its beat is still the one that was seen. Whether it is gone now.

        From the first step on nothing that it begins has an effect (`Database.fence`). Then its connections are
        ended, and what it had under way with them; only then are its shares free.
        """
        async with self._database.connection() as connection:
            silent = await connection.fetchval(
                """
                UPDATE instance SET beat = -1 WHERE instance_id = $1 AND (beat = $2 OR beat < 0) RETURNING true
                """,
                instance.id,
                instance.beat,
            )
            if not silent:
                return False
            ended = await connection.fetch(
                """
                SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity
                WHERE application_name = $1 AND pid <> pg_backend_pid() AND datname = current_database()
                """,
                *(instance.id, BURIAL_PATIENCE_MS),
            )
        if ended:
            log.info(
                "connections of a silent process were ended", process=instance.id, n=len(ended)
            )
        return await self._forget(instance)

    async def _forget(self, instance: Instance) -> bool:
        """Delete a process's row, after what it has under way by way of a pooler. False: that takes longer."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(f"SET LOCAL lock_timeout = {BURIAL_PATIENCE_MS}")
                await connection.execute(
                    """
                    WITH gone AS (
                        DELETE FROM instance WHERE instance_id = $1 AND beat < 0 RETURNING instance_id
                    )
                    DELETE FROM errand WHERE for_whom IN (TABLE gone)
                    """,
                    instance.id,
                )
                await _notify(connection)
        except asyncpg.LockNotAvailableError:
            return False
        return True

    # -- shares

    async def take(self, most: int, users: int, *, at_least_one: bool) -> dict[UserId, int]:
        """Take shares that nobody has: of ``users`` users at most, with ``most`` logins at most.

        ``at_least_one``: also when the first of them has more. Users without logins are always taken. Returns
        whose they are, with their epochs.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                WITH free AS (
                    SELECT user_id FROM share WHERE holder IS NULL ORDER BY user_id LIMIT $3
                    FOR UPDATE SKIP LOCKED
                ), weighed AS (
                    SELECT user_id, (
                        SELECT count(*) FROM login WHERE owner = user_id AND state <> 'logged_out'
                    ) AS logins FROM free
                ), counted AS (
                    SELECT user_id, logins, sum(logins) OVER (ORDER BY logins DESC, user_id) AS so_far
                    FROM weighed
                )
                UPDATE share AS s SET holder = $1, epoch = epoch + 1, since = now()
                FROM counted AS c
                WHERE s.user_id = c.user_id AND s.holder IS NULL
                    AND (c.so_far <= $2 OR c.logins = 0 OR ($4 AND c.so_far = c.logins))
                RETURNING s.user_id, s.epoch
                """,
                *(self.id, most, users, at_least_one),
            )
        return {UserId(user): epoch for user, epoch in rows}

    async def take_new(self, users: Collection[UserId]) -> dict[UserId, int]:
        """Take the shares of users with whom the bridge never had to do. Returns those, with their epochs."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                INSERT INTO share (user_id, holder, epoch) SELECT unnest($2::text[]), $1, 1
                ON CONFLICT DO NOTHING RETURNING user_id, epoch
                """,
                self.id,
                list(users),
            )
        return {UserId(user): epoch for user, epoch in rows}

    async def give(self, users: Collection[UserId]) -> None:
        """Let others have these shares of ours."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE share SET holder = NULL, since = now() WHERE holder = $1 AND user_id = ANY($2::text[])",
                self.id,
                list(users),
            )
            await _notify(connection)

    async def held(self) -> list[UserId]:
        """Whose shares are recorded as ours."""
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT user_id FROM share WHERE holder = $1", self.id)
        return [UserId(user) for (user,) in rows]

    async def weights(self, users: Collection[UserId]) -> dict[UserId, int]:
        """How many logins each of these users has that count."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT u, (SELECT count(*) FROM login WHERE owner = u AND state <> 'logged_out')
                FROM unnest($1::text[]) AS u
                """,
                list(users),
            )
        return {UserId(user): logins for user, logins in rows}

    # -- whose a room is

    async def users_of(
        self, rooms: Collection[RoomId]
    ) -> tuple[dict[RoomId, UserId], dict[RoomId, UserId]]:
        """Whose share a room belongs to: of chats and spaces, and of rooms of the bot, which may change hands."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT r, coalesce(
                    (SELECT login_id FROM portal WHERE room_id = r),
                    (SELECT login_id FROM former_room WHERE room_id = r),
                    (SELECT login_id FROM portal WHERE successor = r LIMIT 1),
                    (SELECT login_id FROM space WHERE room_id = r)
                ) AS login, (SELECT user_id FROM management_room WHERE room_id = r) AS manager
                FROM unnest($1::text[]) AS r
                """,
                list(rooms),
            )
            logins = {row["login"] for row in rows} - {None}
            found = await connection.fetch(
                "SELECT login_id, owner FROM login WHERE login_id = ANY($1::text[])", list(logins)
            )
        owners: dict[str, str] = {row["login_id"]: row["owner"] for row in found}
        chats = {RoomId(r): UserId(owners[login]) for r, login, _ in rows if login in owners}
        managed = {RoomId(r): UserId(user) for r, _, user in rows if user is not None}
        return chats, managed

    async def first_senders(self, rooms: Collection[RoomId]) -> dict[RoomId, UserId]:
        """Who sent the first event that waits in each of these rooms."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT DISTINCT ON (room_id) room_id, sender FROM outbox
                WHERE state = 'waiting' AND room_id = ANY($1::text[]) ORDER BY room_id, seq
                """,
                list(rooms),
            )
        return {RoomId(room): UserId(sender) for room, sender in rows}

    # -- errands

    async def leave_errands(self, errands: Sequence[Errand]) -> None:
        """Leave something for others; what is for nobody that we know of is left out.

        `OutboxStore.add` does that together with what it is about.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO errand (for_whom, kind, subject)
                SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS e (for_whom, kind, subject)
                WHERE EXISTS (SELECT FROM share WHERE user_id = e.for_whom)
                    OR EXISTS (SELECT FROM instance WHERE instance_id = e.for_whom)
                """,
                *errand_columns(errands),
            )
            await _notify(connection)

    async def take_errands(self) -> list[Errand]:
        """What was left for us, and for users whose shares we have; it is ours to do now."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                DELETE FROM errand WHERE seq IN (
                    SELECT seq FROM errand
                    WHERE for_whom = $1 OR for_whom IN (SELECT user_id FROM share WHERE holder = $1)
                    ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED
                ) RETURNING seq, for_whom, kind, subject
                """,
                self.id,
                ERRANDS_AT_ONCE,
            )
        return [Errand(*row[1:]) for row in sorted(rows, key=lambda row: int(row["seq"]))]


def errand_columns(errands: Sequence[Errand]) -> tuple[list[str], list[str], list[str]]:
    """Errands as the columns of a statement that inserts them."""
    return (
        [errand.for_whom for errand in errands],
        [errand.kind for errand in errands],
        [errand.subject for errand in errands],
    )


async def _notify(connection: Connection) -> None:
    await connection.execute(f"NOTIFY {CHANNEL}")
