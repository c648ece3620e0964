"""The outbox: what the homeserver pushed, in order per room, until it has been dealt with.

The rule that must never break: an event is written once, by event id, whatever the homeserver
pushes again, and it leaves the state ``waiting`` exactly once; but an admin may put back what was put aside,
what was delivered while an admin dropped it is recorded as delivered, and what the network sends back as failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import orjson

from dm_bridge.ids import ChatId, EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.groups import Groups
from dm_bridge.store.instances import CHANNEL, Errand, errand_columns
from dm_bridge.store.reasons import storable

READ_AT_ONCE = 20
"""Rooms whose rows are read together: all of them are in memory then."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One pushed event. ``event``: the raw event as the homeserver sent it.

    ``received_at``: when it was committed, or put back by an admin, in seconds since the epoch; 0 before it was.
    ``attempted_at``: when it was first about to be handed to the network, if it was. ``notice``: the event that
    says in Matrix that it is not delivered yet, while it does; ``verdict``: the one that says that it was not
    delivered, or may not have been.
    """

    id: EventId
    room: RoomId
    sender: UserId
    event: dict[str, Any]
    received_at: float = 0.0
    attempted_at: float | None = None
    notice: EventId | None = None
    verdict: EventId | None = None


class OutboxStore:
    """Reads and writes the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = Groups(self._read, READ_AT_ONCE)
        self._outcomes = Groups(self._record)

    async def add(
        self, rows: Sequence[OutboxRow], errands: Sequence[Errand] = ()
    ) -> list[OutboxRow]:
        """Commit events, in order, and with them word of them for other processes. Returns those that are new."""
        values = (
            [row.id for row in rows],
            [row.room for row in rows],
            [row.sender for row in rows],
            [_encode(row.event) for row in rows],
        )
        async with self._database.connection() as connection:
            if errands:
                found = await connection.fetch(_ADD_WITH_ERRANDS, *values, *errand_columns(errands))
            else:
                found = await connection.fetch(_ADD, *values)
        received = {record["event_id"]: record["at"] for record in found}
        return [
            replace(row, received_at=received.pop(row.id)) for row in rows if row.id in received
        ]

    def waiting(self, room: RoomId, limit: int) -> Awaitable[list[OutboxRow]]:
        """The first ``limit`` events of one room that wait, in order. Read for many rooms at once (`Groups`)."""
        return self._reads.add((room, limit))

    async def _read(self, wanted: Sequence[tuple[RoomId, int]]) -> Sequence[list[OutboxRow]]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                SELECT o.*, n
                FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS k (room, most, n)
                CROSS JOIN LATERAL (
                    SELECT {_COLUMNS}, seq
                    FROM outbox WHERE room_id = k.room AND state = 'waiting' ORDER BY seq LIMIT k.most
                ) AS o
                """,
                [room for room, _ in wanted],
                [limit for _, limit in wanted],
            )
        found: list[list[OutboxRow]] = [[] for _ in wanted]
        for row in sorted(rows, key=_place):
            found[row["n"] - 1].append(_row(row))
        return found

    def attempt(self, row: OutboxRow) -> Awaitable[bool]:
        """Record that ``row`` is about to be handed to its network, unless that is recorded already.

        Written together with what is asked for at the same time (`Groups`); so is `finish`.
        """
        return self._outcomes.add((row.id, None))

    async def not_attempted(self, row: OutboxRow) -> None:
        """Take `attempt` back: the network surely does not have the message."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE outbox SET attempted_at = NULL WHERE event_id = $1", row.id
            )

    async def set_notices(
        self, row: OutboxRow, *, notice: EventId | None, verdict: EventId | None
    ) -> None:
        """Record which notices speak of ``row`` in Matrix from now on."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE outbox SET notice = $2, verdict = $3 WHERE event_id = $1",
                row.id,
                notice,
                verdict,
            )

    async def forget_notices(self, row: OutboxRow, *, verdict: bool) -> None:
        """The notice of ``row`` says no more that it waits; with ``verdict``, none says that it was not delivered.

        What was recorded since ``row`` was read stays.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE outbox SET notice = nullif(notice, $2),
                    verdict = CASE WHEN $4 THEN nullif(verdict, $3) ELSE verdict END
                WHERE event_id = $1
                """,
                row.id,
                row.notice,
                row.verdict,
                verdict,
            )

    async def unsettled_notices(self, limit: int) -> list[tuple[OutboxRow, bool]]:
        """Rows of whose state a notice says the wrong thing; and which of them were delivered."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                {_UNSETTLED} notice IS NOT NULL AND state <> 'waiting'
                UNION {_UNSETTLED} verdict IS NOT NULL AND state = 'delivered' LIMIT $1
                """,
                limit,
            )
        return [
            (
                OutboxRow(
                    EventId(event_id),
                    RoomId(room),
                    UserId(sender),
                    {},
                    received,
                    notice=None if notice is None else EventId(notice),
                    verdict=None if verdict is None else EventId(verdict),
                ),
                delivered,
            )
            for event_id, room, sender, received, notice, verdict, delivered in rows
        ]

    async def rooms_waiting(self) -> list[RoomId]:
        """Every room in which something waits."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT room_id FROM outbox WHERE state = 'waiting'"
            )
        return [RoomId(room) for (room,) in rows]

    def finish(
        self,
        row: OutboxRow,
        state: str,
        *,
        portal: PortalKey | None = None,
        remote: RemoteId | None = None,
        reason: str = "",
    ) -> Awaitable[bool]:
        """Record what became of a row: delivered, failed, uncertain, dropped or parked.

        Returns whether that is what became of it: not when the network has sent it back before that.
        ``remote``: the id under which the network knows the message. What is asked for before it is awaited is
        committed not later than what is asked for afterwards.
        """
        login, chat = (None, None) if portal is None else (portal.login, portal.chat)
        return self._outcomes.add((row.id, (state, login, chat, remote, storable(reason))))

    async def _record(self, changes: Sequence[_Change]) -> Sequence[bool]:
        """Commit attempts and outcomes. No row has both: nothing is sent before its attempt is recorded."""
        attempts = [event for event, outcome in changes if outcome is None]
        outcomes = [(event, *outcome) for event, outcome in changes if outcome is not None]
        async with self._database.connection() as connection:
            if not outcomes:
                await connection.execute(_ATTEMPT, attempts)
                return [True] * len(changes)
            rows = await connection.fetch(_RECORD, attempts, *zip(*outcomes, strict=True))
        recorded = {event for (event,) in rows}
        return [outcome is None or event in recorded for event, outcome in changes]

    async def sent_as(self, portal: PortalKey, remote: RemoteId) -> OutboxRow | None:
        """The event that was sent to the network as ``remote``, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM outbox WHERE login_id = $1 AND chat_id = $2 AND remote_id = $3",
                portal.login,
                portal.chat,
                remote,
            )
        return None if row is None else _row(row)

    async def sent_back(
        self, row: OutboxRow, portal: PortalKey, remote: RemoteId, reason: str
    ) -> None:
        """The network took the message as ``remote``, and did not deliver it: it can be tried again.

        A later attempt is a first one: what the user's archive has of this one does not count. The verdict of
        ``row`` is recorded with it: beside "delivered", it would be taken for one that is out of date.
        """
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE outbox SET state = 'failed', reason = $2, attempted_at = NULL,
                    login_id = $3, chat_id = $4, remote_id = $5, verdict = $6
                WHERE event_id = $1 AND state IN ('waiting', 'delivered', 'failed')
                """,
                row.id,
                storable(reason),
                portal.login,
                portal.chat,
                remote,
                row.verdict,
            )


_COLUMNS = """
    event_id, room_id, sender, event, notice, verdict,
    extract(epoch FROM coalesce(requeued_at, received_at))::float8 AS received,
    extract(epoch FROM attempted_at)::float8 AS attempted
"""
_UNSETTLED = """
    SELECT event_id, room_id, sender, extract(epoch FROM coalesce(requeued_at, received_at))::float8,
        notice, verdict, state = 'delivered'
    FROM outbox WHERE
"""
_Outcome = tuple[str, LoginId | None, ChatId | None, RemoteId | None, str]
_Change = tuple[EventId, _Outcome | None]
"""A row, and its outcome; None: it is attempted."""

_ATTEMPT = """
    UPDATE outbox SET attempted_at = now()
    WHERE event_id = ANY($1::text[]) AND attempted_at IS NULL
"""
_RECORD = f"""
    WITH attempted AS ({_ATTEMPT})
    UPDATE outbox AS x SET state = o.state, login_id = o.login, chat_id = o.chat, remote_id = o.remote,
        reason = o.reason
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
        AS o (event, state, login, chat, remote, reason)
    WHERE x.event_id = o.event
        AND (x.state = 'waiting' OR x.state = 'dropped' AND o.state = 'delivered')
    RETURNING x.event_id
"""
_ADD = """
    INSERT INTO outbox (event_id, room_id, sender, event)
    SELECT i, r, s, e
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY AS t(i,r,s,e,n)
    ORDER BY n
    ON CONFLICT DO NOTHING
    RETURNING event_id, extract(epoch FROM received_at)::float8 AS at
"""
_ADD_WITH_ERRANDS = f"""
    WITH added AS ({_ADD}), left_word AS (
        INSERT INTO errand (for_whom, kind, subject) SELECT * FROM unnest($5::text[], $6::text[], $7::text[])
        RETURNING seq
    )
    SELECT event_id, at FROM added, (SELECT pg_notify('{CHANNEL}', '') FROM left_word LIMIT 1) AS told
"""


def _row(row: asyncpg.Record) -> OutboxRow:
    """A row of `_COLUMNS`."""
    notice, verdict = row["notice"], row["verdict"]
    return OutboxRow(
        EventId(row["event_id"]),
        RoomId(row["room_id"]),
        UserId(row["sender"]),
        orjson.loads(row["event"]),
        row["received"],
        row["attempted"],
        None if notice is None else EventId(notice),
        None if verdict is None else EventId(verdict),
    )


def _place(row: asyncpg.Record) -> int:
    """The database gives them in this order anyway, but does not promise to."""
    seq: int = row["seq"]
    return seq


def _encode(event: dict[str, Any]) -> bytes:
    """The event as JSON; without what a hostile one cannot be stored with (254 levels, 64-bit integers)."""
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        kept = ("event_id", "room_id", "sender", "type", "state_key")
        return orjson.dumps({"content": {}} | {key: event[key] for key in kept if key in event})
