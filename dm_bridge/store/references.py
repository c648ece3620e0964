"""Which message of a network an event in Matrix is, the other way round, and who reacted with what.

The rule that must never break: what a chat's message is, is looked for in that chat only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from dm_bridge.ids import EventId, PortalKey, RemoteId
from dm_bridge.network.events import RemoteEdit, RemoteMessage
from dm_bridge.network.media import Media, Place
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import _decode, stored_id


@dataclass(frozen=True, slots=True)
class Known:
    """A message on both sides.

    ``event``: in Matrix; None while it is on its way. ``reference``: by which the network speaks of it; None
    when the network never had it. ``from_self``: the user wrote it, here or elsewhere. ``text``: what it says,
    as far as it is known. ``edits``: the message that it is an edit of, on the network;
    of what the user edited here, ``event`` is the message already. ``media``: it has a file. ``id``:
    `RemoteMessage.id` of what came from the network. ``apart``: it is older than what the chat began with, and
    stands in a thread behind that. ``threaded``: the user has written it in a thread.
    """

    event: EventId | None
    reference: RemoteId | None
    from_self: bool
    text: str = ""
    edits: RemoteId | None = None
    media: bool = False
    id: RemoteId | None = None
    apart: bool = False
    threaded: bool = False


@dataclass(frozen=True, slots=True)
class Reaction:
    """One emoji. ``target``: the event that it is a reaction to; ``event``: the reaction itself."""

    target: EventId
    from_self: bool
    emoji: str
    event: EventId


class ReferenceStore:
    """Reads both queues, and reads and writes reactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def named(self, key: PortalKey, reference: RemoteId) -> list[Known]:
        """The messages of a chat that have this reference, the newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT * FROM (
                    SELECT seq, event_id, NULL AS sent_as, event, false AS here FROM inbox
                    WHERE login_id = $1 AND chat_id = $2 AND remote_id = $3
                    UNION ALL
                    SELECT seq, event_id, NULL, event, false FROM inbox
                    WHERE login_id = $1 AND chat_id = $2 AND reference = $3
                    UNION ALL
                    SELECT seq, event_id, remote_id, event, true FROM outbox
                    WHERE login_id = $1 AND chat_id = $2 AND remote_id = $3
                ) AS found ORDER BY here, seq DESC LIMIT 10
                """,
                key.login,
                key.chat,
                stored_id(reference),
            )
        return [_known(*row[1:]) for row in rows]

    async def of_event(self, key: PortalKey, event: EventId) -> Known | None:
        """The message of a chat that an event is, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT event_id, NULL, event, false, thread IS NOT NULL FROM inbox
                WHERE event_id = $3 AND login_id = $1 AND chat_id = $2
                UNION ALL
                SELECT event_id, remote_id, event, true, false FROM outbox
                WHERE event_id = $3 AND login_id = $1 AND chat_id = $2
                LIMIT 1
                """,
                key.login,
                key.chat,
                event,
            )
        return None if row is None else replace(_known(*row[:4]), apart=row[4])

    async def is_up_to(self, key: PortalKey, one: RemoteId, other: RemoteId) -> bool:
        """Whether a message from the network is ``other``, or came before it. By `RemoteMessage.id`."""
        if one == other:
            return True
        async with self._database.connection() as connection:
            return bool(
                await connection.fetchval(
                    """
                    SELECT one.seq < other.seq FROM inbox AS one, inbox AS other
                    WHERE one.login_id = $1 AND one.chat_id = $2 AND one.remote_id = $3
                    AND other.login_id = $1 AND other.chat_id = $2 AND other.remote_id = $4
                    """,
                    key.login,
                    key.chat,
                    stored_id(one),
                    stored_id(other),
                )
            )

    async def reactions(
        self, key: PortalKey, target: EventId, *, from_self: bool
    ) -> list[Reaction]:
        """What one side reacted to an event with, the oldest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT emoji, event_id FROM reaction
                WHERE login_id = $1 AND chat_id = $2 AND target = $3 AND from_self = $4 ORDER BY seq
                """,
                key.login,
                key.chat,
                target,
                from_self,
            )
        return [Reaction(target, from_self, emoji, EventId(event)) for emoji, event in rows]

    async def reaction_of(self, key: PortalKey, event: EventId) -> Reaction | None:
        """The reaction that an event is, or None."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT target, from_self, emoji FROM reaction
                WHERE event_id = $3 AND login_id = $1 AND chat_id = $2
                """,
                key.login,
                key.chat,
                event,
            )
        return None if row is None else Reaction(EventId(row[0]), row[1], row[2], event)

    async def add_reaction(self, key: PortalKey, reaction: Reaction) -> None:
        """Record a reaction; the same emoji of the same side takes the place of the one before."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO reaction (login_id, chat_id, target, from_self, emoji, event_id)
                VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (login_id, chat_id, target, from_self, emoji)
                DO UPDATE SET event_id = EXCLUDED.event_id
                """,
                key.login,
                key.chat,
                reaction.target,
                reaction.from_self,
                reaction.emoji,
                reaction.event,
            )

    async def remove_reaction(self, key: PortalKey, event: EventId) -> None:
        """Forget a reaction."""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM reaction WHERE event_id = $3 AND login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
                event,
            )


def _known(event: str | None, sent_as: str | None, raw: bytes, here: bool) -> Known:
    """From a row of the outbox (``here``), or of the inbox."""
    if here:
        content = orjson.loads(raw).get("content", {})
        relation, said = content.get("m.relates_to"), content
        if isinstance(relation, dict) and relation.get("rel_type") == "m.replace":
            event, said = relation.get("event_id"), content.get("m.new_content", {})
        threaded = isinstance(relation, dict) and relation.get("rel_type") == "m.thread"
        reference = None if sent_as is None else RemoteId(sent_as)
        media = "url" in content or "file" in content
        at, body = None if event is None else EventId(event), said.get("body")
        text = body if isinstance(body, str) else ""
        return Known(at, reference, True, text, media=media, threaded=threaded)
    at = None if event is None else EventId(event)
    match _decode(raw):
        case RemoteMessage() as said:
            media = isinstance(said.attachment, Media)
            named = said.reference or said.id
            return Known(at, named, said.from_self, _words(said), media=media, id=said.id)
        case RemoteEdit() as said:
            named = said.reference or said.id
            return Known(at, named, said.from_self, _words(said), said.target, id=said.id)
        case other:
            return Known(at, None, getattr(other, "from_self", False))


def _words(said: RemoteMessage | RemoteEdit) -> str:
    """What a message says, or the name of what it is about."""
    match said.attachment:
        case Media() as file if not said.content.body:
            return file.name or file.kind.value
        case Place() as place if not said.content.body:
            return place.uri
        case _:
            return said.content.body
