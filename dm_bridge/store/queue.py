"""The two queues as an admin sees them: how much waits, what was put aside, and putting it back.

The rule that must never break: what is put back keeps its place in its chat, and nothing is put back or dropped
that was delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from dm_bridge.ids import ChatId, LoginId, PortalKey, RoomId
from dm_bridge.store.inbox import forget_failures
from dm_bridge.store.reasons import storable

if TYPE_CHECKING:  # commands name our types before they need a database
    from dm_bridge.store.database import Database

BEGINNING = -(2**63)
"""Before every row; what was written before a login has numbers below 0."""
DROPPED = "dropped by an admin"
ASIDE = ("parked", "failed", "uncertain")
"""The states out of which a row can be put back."""


class Direction(Enum):
    """A queue. The value is what metrics call it; ``letter`` begins its rows' ids."""

    TO_MATRIX = "to_matrix"
    TO_REMOTE = "to_remote"

    @property
    def letter(self) -> str:
        """``in``: from the network, to Matrix; ``out``: from Matrix, to the network."""
        return "in" if self is Direction.TO_MATRIX else "out"

    @property
    def states(self) -> tuple[str, ...]:
        """The states in which a row may still need somebody."""
        return ("waiting", "parked") if self is Direction.TO_MATRIX else ("waiting", *ASIDE)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One row. ``seq``: its place; lower is earlier. Times are in seconds since the epoch.

    ``remote``, ``event``: what the network and Matrix call it, as far as is known. ``raw``: the stored event,
    which holds what people wrote, and passwords sent to the bot. ``before``: how many wait before it in its chat;
    only `find` counts them.
    """

    direction: Direction
    seq: int
    state: str
    reason: str
    received_at: float
    requeued_at: float | None
    age: float
    login: str | None
    chat: str | None
    room: str | None
    remote: str | None
    event: str | None
    sender: str | None
    raw: bytes
    before: int

    @property
    def id(self) -> str:
        """What commands call it."""
        return f"{self.direction.letter}:{self.seq}"


@dataclass(frozen=True, slots=True)
class Depth:
    """How many rows are in a state, and how long the oldest of them has been there, in seconds; 0 for none."""

    direction: Direction
    state: str
    rows: int
    oldest: float


_AGE = "extract(epoch FROM now() - coalesce(q.requeued_at, q.received_at))::float8"
_TIMES = f"""
    extract(epoch FROM q.received_at)::float8 AS received_at,
    extract(epoch FROM q.requeued_at)::float8 AS requeued_at, {_AGE} AS age
"""
_SELECT = {  # with a place for ``before``
    Direction.TO_MATRIX: f"""
        SELECT q.seq, q.state, q.reason, {_TIMES}, q.login_id, q.chat_id, p.room_id, q.remote_id, q.event_id,
            NULL AS sender, q.event,
            {{before}}
        FROM inbox AS q LEFT JOIN portal AS p ON p.login_id = q.login_id AND p.chat_id = q.chat_id
    """,
    Direction.TO_REMOTE: f"""
        SELECT q.seq, q.state, q.reason, {_TIMES}, coalesce(q.login_id, p.login_id) AS login_id,
            coalesce(q.chat_id, p.chat_id) AS chat_id, q.room_id, q.remote_id, q.event_id, q.sender, q.event,
            {{before}}
        FROM outbox AS q LEFT JOIN portal AS p ON p.room_id = q.room_id
    """,
}
_BEFORE = {
    Direction.TO_MATRIX: """
        (SELECT count(*) FROM inbox AS w WHERE w.state = 'waiting' AND w.login_id = q.login_id
            AND w.chat_id = q.chat_id AND w.seq < q.seq) AS before
    """,
    Direction.TO_REMOTE: """
        (SELECT count(*) FROM outbox AS w WHERE w.state = 'waiting' AND w.room_id = q.room_id
            AND w.seq < q.seq) AS before
    """,
}
_TABLE = {Direction.TO_MATRIX: "inbox", Direction.TO_REMOTE: "outbox"}


class QueueStore:
    """Reads both queues, and changes the state of single rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def depths(self) -> list[Depth]:
        """How much waits and how much is parked, in both directions. Reads what waits once, and no history."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                SELECT 'to_matrix' AS direction, q.state, count(*) AS rows, max({_AGE}) AS oldest
                    FROM inbox AS q WHERE q.state = 'waiting' GROUP BY q.state
                UNION ALL SELECT 'to_matrix', q.state, count(*), max({_AGE})
                    FROM inbox AS q WHERE q.state = 'parked' GROUP BY q.state
                UNION ALL SELECT 'to_remote', q.state, count(*), max({_AGE})
                    FROM outbox AS q WHERE q.state = 'waiting' GROUP BY q.state
                UNION ALL SELECT 'to_remote', q.state, count(*), max({_AGE})
                    FROM outbox AS q WHERE q.state = 'parked' GROUP BY q.state
                """
            )
        found = {(row["direction"], row["state"]): row for row in rows}
        depths = []
        for direction in Direction:
            for state in ("waiting", "parked"):
                row = found.get((direction.value, state))
                rows_, oldest = (0, 0.0) if row is None else (row["rows"], max(0.0, row["oldest"]))
                depths.append(Depth(direction, state, rows_, oldest))
        return depths

    async def rows(
        self,
        direction: Direction,
        state: str,
        limit: int,
        *,
        after: int = BEGINNING,
        latest_first: bool = False,
    ) -> list[QueueRow]:
        """The first rows in a state that needs somebody, by their place, from behind ``after`` on."""
        assert state in direction.states
        select = _SELECT[direction].format(before="0::bigint AS before")
        order = "DESC" if latest_first else "ASC"
        async with self._database.connection() as connection:
            found = await connection.fetch(
                f"{select} WHERE q.state = '{state}' AND q.seq > $1 ORDER BY q.seq {order} LIMIT $2",
                after,
                limit,
            )
        return [QueueRow(direction, *row) for row in found]

    async def find(self, direction: Direction, seq: int) -> QueueRow | None:
        """One row, whatever became of it; looked for first among those that need somebody."""
        states = ", ".join(f"'{state}'" for state in direction.states if state != "waiting")
        select = _SELECT[direction].format(before=_BEFORE[direction])
        async with self._database.connection() as connection:
            for condition in (f"q.state IN ({states})", "q.state = 'waiting'", "true"):
                row = await connection.fetchrow(f"{select} WHERE q.seq = $1 AND {condition}", seq)
                if row is not None:
                    return QueueRow(direction, *row)
        return None

    async def requeue(self, direction: Direction, seqs: Sequence[int]) -> set[int]:
        """Put rows back that were put aside. Returns which; the others are in another state now."""
        return await self._change(
            direction,
            seqs,
            "SET state = 'waiting', reason = '', requeued_at = clock_timestamp()",
            "state IN ('parked', 'failed', 'uncertain')",
        )

    async def drop(
        self, direction: Direction, seqs: Sequence[int], reason: str, *, waiting: bool
    ) -> set[int]:
        """Give rows up that were put aside; with ``waiting``, rows that wait instead. Returns which."""
        return await self._change(
            direction,
            seqs,
            "SET state = 'dropped', reason = $2",
            "state = 'waiting'" if waiting else "state IN ('parked', 'failed', 'uncertain')",
            storable(f"{DROPPED}: {reason}" if reason else DROPPED),
        )

    async def _change(
        self, direction: Direction, seqs: Sequence[int], change: str, states: str, *values: str
    ) -> set[int]:
        if direction is Direction.TO_MATRIX:  # only parked rows are aside there
            states = states.replace("IN ('parked', 'failed', 'uncertain')", "= 'parked'")
        async with self._database.transaction() as connection:
            rows = await connection.fetch(
                f"UPDATE {_TABLE[direction]} {change} WHERE {states} AND seq = ANY($1::bigint[]) "
                "RETURNING seq, login_id, chat_id, remote_id, event_id",
                list(seqs),
                *values,
            )
            if direction is Direction.TO_REMOTE:
                await forget_failures(connection, rows)
        return {row["seq"] for row in rows}

    async def note_chat(self, key: PortalKey, reason: str) -> None:
        """Say with the first row that waits in a chat why it does; until it has an outcome."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE inbox SET reason = $3 WHERE reason <> $3 AND state = 'waiting' AND seq = (
                    SELECT seq FROM inbox WHERE login_id = $1 AND chat_id = $2 AND state = 'waiting'
                    ORDER BY seq LIMIT 1
                ) AND login_id = $1 AND chat_id = $2
                """,
                key.login,
                key.chat,
                storable(reason),
            )

    async def note_room(self, room: RoomId, reason: str) -> None:
        """Say with the first row that waits in a room why it does; until it has an outcome."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE outbox SET reason = $2 WHERE reason <> $2 AND state = 'waiting' AND seq = (
                    SELECT seq FROM outbox WHERE room_id = $1 AND state = 'waiting' ORDER BY seq LIMIT 1
                ) AND room_id = $1
                """,
                room,
                storable(reason),
            )

    async def requeued_chats(self) -> dict[PortalKey, float]:
        """The chats in which something waits that was put back, and when the last of it was."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT login_id, chat_id, extract(epoch FROM max(requeued_at))::float8 FROM inbox
                WHERE state = 'waiting' AND requeued_at IS NOT NULL GROUP BY login_id, chat_id
                """
            )
        return {PortalKey(LoginId(login), ChatId(chat)): at for login, chat, at in rows}

    async def requeued_rooms(self) -> dict[RoomId, float]:
        """The rooms in which something waits that was put back, and when the last of it was."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT room_id, extract(epoch FROM max(requeued_at))::float8 FROM outbox
                WHERE state = 'waiting' AND requeued_at IS NOT NULL GROUP BY room_id
                """
            )
        return {RoomId(room): at for room, at in rows}
