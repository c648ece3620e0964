"""The inbox: what networks brought, in order, until it is in Matrix.

The rule that must never break: a row is written once per (login, chat, remote id), whatever the
network delivers again, also under the other id of a message, and it leaves the state ``waiting`` exactly once; but
an admin may put back what was parked, what was delivered while an admin dropped it is recorded as delivered, and
what was about no message that was known waits again when that comes (`HistoryStore.add`).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import asyncpg
import orjson

from dm_bridge.ids import (
    ChatId,
    EventId,
    LoginId,
    PortalKey,
    RemoteId,
    UserId,
    digest_id,
    message_id,
)
from dm_bridge.network.events import (
    ContactMoved,
    ReactionChange,
    RemoteEdit,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    RemoteReactions,
    RemoteRead,
    RemoteReceived,
    RemoteRetraction,
    Text,
)
from dm_bridge.network.media import Media, MediaKind, Place
from dm_bridge.store.database import Connection, Database
from dm_bridge.store.groups import Groups
from dm_bridge.store.reasons import storable

MAX_KEY_BYTES = 255
ABOUT_NOTHING = "it is about no message that is known"
"""Why a row is dropped."""
ADD_AT_ONCE = 50
READ_AT_ONCE = 20
"""Chats whose rows are read together: all of them are in memory then."""


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One event that waits. ``id``: unique in its chat; a message's remote id.

    ``received_at``: when it was committed, or put back by an admin, in seconds since the epoch. ``older``: it was
    written before the login was made (`HistoryStore`). ``thread``: the event of a thread to show it in.
    """

    key: PortalKey
    id: RemoteId
    event: RemoteEvent
    received_at: float
    older: bool = False
    thread: EventId | None = None


@dataclass(frozen=True, slots=True)
class InboxOutcome:
    """What became of a row: ``state`` is ``delivered``, ``dropped`` or ``parked``."""

    id: RemoteId
    state: str
    event: EventId | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of an earlier message. ``event``: None while it is on its way."""

    event: EventId | None
    waiting: bool
    from_self: bool


class InboxStore:
    """Reads and writes the inbox."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._adds = Groups(self._add, ADD_AT_ONCE)
        self._reads = Groups(self._read, READ_AT_ONCE)
        self._outcomes = Groups(self._record)

    async def add(self, items: Sequence[tuple[LoginId, RemoteEvent]]) -> set[PortalKey]:
        """Commit events, in order. Returns the chats that now have something new waiting.

        What several ask for at the same time is one commit (`Groups`).
        """
        return await self._adds.add(items)

    async def settled(self) -> None:
        """Return once no `add` that was begun can have an effect any more, also one that was cancelled."""
        await self._adds.settled()

    async def _add(
        self, groups: Sequence[Sequence[tuple[LoginId, RemoteEvent]]]
    ) -> Sequence[set[PortalKey]]:
        items = [item for group in groups for item in group]
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"{_ADD} RETURNING login_id, chat_id, remote_id", *_columns(items)
            )
        new = {tuple(row) for row in rows}
        answers: list[set[PortalKey]] = []
        for group in groups:
            added = [(login, event.chat, _row_id(event)) for login, event in group]
            answers.append({PortalKey(login, chat) for login, chat, _ in new.intersection(added)})
            new.difference_update(added)  # what two bring is new for the first of them
        return answers

    async def add_at(
        self, login: LoginId, events: Sequence[RemoteEvent], before: str | None, position: str
    ) -> tuple[set[PortalKey], bool]:
        """The same for one login, whose position moves from ``before`` in the same transaction.

        Also returns whether it moved: not when it is elsewhere, because somebody else has moved it.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                WITH moved AS (
                    UPDATE login SET position = $9
                    WHERE login_id = $10 AND (position IS NOT DISTINCT FROM $8 OR position = $9)
                    RETURNING login_id
                ), added AS ({_ADD} RETURNING login_id, chat_id)
                SELECT login_id, chat_id FROM added UNION ALL SELECT login_id, NULL FROM moved
                """,
                *_columns([(login, event) for event in events]),
                before,
                position,
                login,
            )
        chats = {PortalKey(login, ChatId(chat)) for _, chat in rows if chat is not None}
        return chats, any(chat is None for _, chat in rows)

    def waiting(self, key: PortalKey, limit: int) -> Awaitable[list[InboxRow]]:
        """The first ``limit`` events of one chat that wait, in order. Read for many chats at once (`Groups`)."""
        return self._reads.add((key, limit))

    async def _read(self, wanted: Sequence[tuple[PortalKey, int]]) -> Sequence[list[InboxRow]]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT seq, n, remote_id, event, at, thread
                FROM unnest($1::text[], $2::text[], $3::int[]) WITH ORDINALITY AS k (login, chat, most, n)
                CROSS JOIN LATERAL (
                    SELECT seq, remote_id, event, thread,
                        extract(epoch FROM coalesce(requeued_at, received_at))::float8 AS at
                    FROM inbox
                    WHERE login_id = k.login AND chat_id = k.chat AND state = 'waiting'
                    ORDER BY seq LIMIT k.most
                ) AS i
                """,
                [key.login for key, _ in wanted],
                [key.chat for key, _ in wanted],
                [limit for _, limit in wanted],
            )
        found: list[list[InboxRow]] = [[] for _ in wanted]
        for seq, n, remote, event, received, thread in sorted(rows, key=_place):
            key, _ = wanted[n - 1]
            row = InboxRow(key, RemoteId(remote), _decode(event), received, seq < 0, thread)
            found[n - 1].append(row)
        return found

    async def chats_waiting(self, owners: Collection[UserId] | None = None) -> list[PortalKey]:
        """Every chat in which something waits, or those of ``owners``."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT DISTINCT login_id, chat_id FROM inbox WHERE state = 'waiting' AND (
                    $1::text[] IS NULL OR login_id IN (SELECT login_id FROM login WHERE owner = ANY($1))
                )
                """,
                None if owners is None else list(owners),
            )
        return [PortalKey(LoginId(login), ChatId(chat)) for login, chat in rows]

    async def moves_before(self, key: PortalKey, id_: RemoteId) -> list[ContactMoved]:
        """The moves of contacts of the same login that came before the event ``id_``, and still wait."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT event FROM inbox
                WHERE login_id = $1 AND state = 'waiting' AND starts_with(remote_id, 'moved:')
                    AND seq < (
                        SELECT seq FROM inbox WHERE login_id = $1 AND chat_id = $2 AND remote_id = $3
                    )
                ORDER BY seq
                """,
                key.login,
                key.chat,
                id_,
            )
        return _moves(row["event"] for row in rows)

    async def moves_waiting(self, login: LoginId) -> list[ContactMoved]:
        """The moves of contacts of a login that still wait, in order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT event FROM inbox
                WHERE login_id = $1 AND state = 'waiting' AND starts_with(remote_id, 'moved:')
                ORDER BY seq
                """,
                login,
            )
        return _moves(row["event"] for row in rows)

    def finish(self, key: PortalKey, outcomes: Sequence[InboxOutcome]) -> Awaitable[None]:
        """Record what became of rows of one chat, all of them or none; together with others' (`Groups`)."""
        return self._outcomes.add((key, outcomes))

    async def _record(
        self, changes: Sequence[tuple[PortalKey, Sequence[InboxOutcome]]]
    ) -> Sequence[None]:
        flat = [(key, outcome) for key, outcomes in changes for outcome in outcomes]
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE inbox AS i SET state = o.state, event_id = o.event_id, reason = o.reason
                FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                    AS o (login, chat, remote_id, state, event_id, reason)
                WHERE i.login_id = o.login AND i.chat_id = o.chat AND i.remote_id = o.remote_id
                    AND (i.state = 'waiting' OR i.state = 'dropped' AND o.state = 'delivered')
                """,
                [key.login for key, _ in flat],
                [key.chat for key, _ in flat],
                [outcome.id for _, outcome in flat],
                [outcome.state for _, outcome in flat],
                [outcome.event for _, outcome in flat],
                [storable(outcome.reason) for _, outcome in flat],
            )
        return [None] * len(changes)

    async def delivered(self, key: PortalKey, message: RemoteId) -> Delivered | None:
        """What became of a message from the network, or None when there was no such message."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT event_id, state, event FROM inbox
                WHERE login_id = $1 AND chat_id = $2 AND remote_id = $3
                """,
                key.login,
                key.chat,
                message,
            )
        if row is None:
            return None
        event = _decode(row["event"])
        return Delivered(
            None if row["event_id"] is None else EventId(row["event_id"]),
            row["state"] == "waiting",
            getattr(event, "from_self", False),
        )


def _place(row: asyncpg.Record) -> int:
    """The database gives them in this order anyway, but does not promise to."""
    seq: int = row["seq"]
    return seq


def stored_id(remote: str) -> str:
    """``remote`` as a key: itself, or a digest where a database index could not hold it."""
    try:
        fits = "\0" not in remote and len(remote.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        fits = False
    return remote if fits else "digest:" + digest_id(remote)


_NEW = """
    SELECT l, c, r, e, o, s, f, n
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[])
        WITH ORDINALITY AS t(l,c,r,e,o,s,f,n)
    WHERE (o IS NULL OR NOT EXISTS (
            SELECT FROM inbox AS i WHERE i.login_id = l AND i.chat_id = c AND i.remote_id = o))
        AND NOT EXISTS (
            SELECT FROM inbox AS i WHERE i.login_id = l AND i.chat_id = c AND i.other_id = r)
        AND (s IS NULL OR NOT EXISTS (
            SELECT FROM outbox AS x WHERE x.login_id = l AND x.chat_id = c AND x.remote_id = s))
"""
"""Those of the events that are no copies, under another id, of what is known."""

_ADD = f"""
    INSERT INTO inbox (login_id, chat_id, remote_id, event, reference, other_id)
    SELECT l, c, r, e, f, o FROM ({_NEW}) AS new ORDER BY n
    ON CONFLICT DO NOTHING
"""


def _columns(items: Sequence[tuple[LoginId, RemoteEvent]]) -> tuple[list[Any], ...]:
    """The parameters of `_NEW`."""
    return (
        [login for login, _ in items],
        [event.chat for _, event in items],
        [_row_id(event) for _, event in items],
        [_encode(event) for _, event in items],
        [_stored_or_none(getattr(event, "other_id", None)) for _, event in items],
        [_stored_or_none(getattr(event, "sent_id", None)) for _, event in items],
        [_stored_or_none(getattr(event, "reference", None)) for _, event in items],
    )


def _stored_or_none(remote: RemoteId | None) -> str | None:
    return None if remote is None else stored_id(remote)


def _row_id(event: RemoteEvent) -> str:
    match event:
        case RemoteFailure():
            return failure_row_id(event.message)
        case ContactMoved():
            return "moved:" + digest_id(event.id)
        case _:
            return stored_id(event.id)


def failure_row_id(message: RemoteId) -> str:
    """As which the failure of a message that we sent is recorded."""
    return "failure:" + digest_id(message)


async def forget_failures(connection: Connection, sent: Iterable[asyncpg.Record]) -> None:
    """What is sent again may fail again. ``sent``: rows of the outbox.

    Of one whose outcome was not known, the network may have spoken under the id with which it was sent.
    """
    rows = [row for row in sent if row["login_id"] is not None]
    await connection.execute(
        """
        DELETE FROM inbox USING unnest($1::text[], $2::text[], $3::text[]) AS f (login, chat, failure)
        WHERE login_id = f.login AND chat_id = f.chat AND remote_id = f.failure
        """,
        [row["login_id"] for row in rows],
        [row["chat_id"] for row in rows],
        [failure_row_id(row["remote_id"] or message_id(row["event_id"])) for row in rows],
    )


def _moves(raw: Iterable[bytes]) -> list[ContactMoved]:
    return [event for event in map(_decode, raw) if isinstance(event, ContactMoved)]


_KINDS: dict[type[RemoteEvent], str] = {
    RemoteMessage: "message",
    RemoteFailure: "failure",
    ContactMoved: "moved",
    RemoteEdit: "edit",
    RemoteRetraction: "retraction",
    RemoteReactions: "reactions",
    RemoteRead: "read",
    RemoteReceived: "received",
}


def _encode(event: RemoteEvent) -> bytes:
    fields = {"kind": _KINDS[type(event)], **asdict(event)}
    for name in ("attachment", "unreadable", "quote"):  # an earlier version knows of none
        if not fields.get(name, True):
            del fields[name]
    if not fields.get("content", {}).get("mention", True):
        del fields["content"]["mention"]
    if (fields.get("attachment") or {}).get("spoiler", "") is None:
        del fields["attachment"]["spoiler"]
    try:
        return orjson.dumps(fields)
    except TypeError:  # lone surrogates, which are no text
        text = json.dumps(fields, ensure_ascii=False, default=_value)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _decode(raw: bytes) -> RemoteEvent:
    fields: dict[str, Any] = orjson.loads(raw)
    match fields.pop("kind"):
        case "failure":
            return RemoteFailure(**fields)
        case "moved":
            return ContactMoved(**fields)
        case "read":
            return RemoteRead(**fields)
        case "received":
            return RemoteReceived(**fields)
        case "retraction":
            return RemoteRetraction(**fields)
        case "reactions":
            fields["emojis"] = tuple(fields["emojis"])
            return RemoteReactions(**{**fields, "change": ReactionChange(fields["change"])})
        case "edit":
            return RemoteEdit(**{**fields, **_said(fields)})
        case _:
            return RemoteMessage(**{**fields, **_said(fields)})


def _value(member: object) -> Any:
    assert isinstance(member, Enum)
    return member.value


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    attached = fields.get("attachment")
    attachment: Media | Place | None = None
    if attached is not None:
        if "url" in attached:
            attachment = Media(**{**attached, "kind": MediaKind(attached["kind"])})
        else:
            attachment = Place(**attached)
    return {"content": Text(**fields["content"]), "attachment": attachment}
