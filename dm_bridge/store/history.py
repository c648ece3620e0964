"""What was written before a login: which chats are brought over, how far that is, and the messages themselves.

The messages go into the inbox, before all that is there already: numbers of rows grow upwards for what comes, and
downwards for what is older.

The rule that must never break: of one chat, what is older is added before anything of it is shown, or else apart,
in a thread; and together with the place from which on there is more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from dm_bridge.ids import ChatId, EventId, LoginId, PortalKey, UserId
from dm_bridge.network.events import RemoteEvent, RemoteMessage
from dm_bridge.network.history import Conversation
from dm_bridge.store.database import Connection, Database
from dm_bridge.store.inbox import _NEW, _columns
from dm_bridge.store.reasons import storable

SEARCHING, FOUND, ENDED = "searching", "found", "ended"


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What a login brings over once. ``until``: `LoginDone.position`. ``state``: ``searching`` for conversations,
    ``found`` when their messages are brought over, ``ended``.

    ``further``: where the search goes on; ``entries``: how many of the record it has looked at.
    """

    login: LoginId
    state: str
    until: str | None
    further: str | None
    entries: int


@dataclass(frozen=True, slots=True)
class ImportChat:
    """``state``: ``found``, ``taken`` into the inbox, ``shown``, ``passed`` over because it goes on already, or
    ``failed``. ``place``: what is older begins there; None: nothing is.
    """

    chat: ChatId
    state: str
    place: str | None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import. ``reasons``: of chats that could not be read, each once."""

    chats: int
    messages: int
    failed: int
    reasons: tuple[str, ...]


_GOES_ON = """(
    EXISTS (SELECT FROM inbox AS i WHERE i.login_id = $1 AND i.chat_id = $2 AND i.state <> 'waiting')
    OR EXISTS (SELECT FROM outbox AS o WHERE o.login_id = $1 AND o.chat_id = $2 AND o.remote_id IS NOT NULL)
)"""
"""Whether something of a chat has been shown, or was written there."""


class HistoryStore:
    """Reads and writes `history_import` and `history_chat`, and adds to the inbox what is older.

    A row of `history_import` is made with its login (`LoginStore.activate`).
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unfinished(self, owners: Collection[UserId] | None = None) -> list[ImportRow]:
        """The imports that have not ended, of these users or of all."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT login_id, h.state, until, further, entries
                FROM history_import AS h JOIN login USING (login_id)
                WHERE h.state <> 'ended' AND ($1::text[] IS NULL OR owner = ANY($1))
                """,
                None if owners is None else list(owners),
            )
        return [ImportRow(LoginId(login), *rest) for login, *rest in rows]

    async def of(self, login: LoginId) -> ImportRow | None:
        """The import of a login, if it has not ended."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                "SELECT login_id, state, until, further, entries FROM history_import "
                "WHERE login_id = $1 AND state <> 'ended'",
                login,
            )
        return None if row is None else ImportRow(LoginId(row[0]), *row[1:])

    async def chats(self, login: LoginId) -> list[ImportChat]:
        """The chats of an import, those with the newest messages first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                "SELECT chat_id, state, place FROM history_chat WHERE login_id = $1 ORDER BY seq",
                login,
            )
        return [ImportChat(ChatId(chat), state, place) for chat, state, place in rows]

    async def found(
        self,
        login: LoginId,
        chats: Sequence[Conversation],
        further: str | None,
        entries: int,
        *,
        all_: bool,
    ) -> None:
        """Record conversations, and where the search goes on. ``all_``: it does not."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                WITH moved AS (
                    UPDATE history_import SET further = $4, entries = $5,
                        state = CASE WHEN $6 THEN 'found' ELSE state END
                    WHERE login_id = $1 AND state = 'searching' RETURNING login_id
                )
                INSERT INTO history_chat (login_id, chat_id, state, place)
                SELECT login_id, c, 'found', p
                FROM moved, unnest($2::text[], $3::text[]) WITH ORDINALITY AS t(c, p, n) ORDER BY n
                ON CONFLICT DO NOTHING
                """,
                login,
                [each.chat for each in chats],
                [each.place for each in chats],
                further,
                entries,
                all_,
            )

    async def take(self, key: PortalKey, events: Sequence[RemoteEvent], older: str | None) -> bool:
        """Add a chat's messages to the inbox, before all others; whether they were.

        Not when something of the chat has been shown, or was written there, by then: it is passed over.
        """
        async with self._database.transaction() as connection:
            state = await connection.fetchval(
                f"""
                UPDATE history_chat SET
                    state = CASE WHEN {_GOES_ON} THEN 'passed' ELSE 'taken' END
                WHERE login_id = $1 AND chat_id = $2 AND state = 'found' RETURNING state
                """,
                key.login,
                key.chat,
            )
            if state is None:  # the answer to an earlier attempt may have been lost
                return await _is_taken(connection, key)
            if state != "taken":
                return False
            added = await _add(connection, key, events, None)
            await connection.execute(
                "UPDATE history_chat SET place = $3, messages = $4 WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
                older,
                _messages(events, added),
            )
        return True

    async def settle(self, key: PortalKey, state: str, reason: str = "") -> None:
        """What became of a chat: ``shown``, ``passed`` or ``failed``; also of one that was not found before."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO history_chat (login_id, chat_id, state, reason) VALUES ($1, $2, $3, $4)
                ON CONFLICT (login_id, chat_id) DO UPDATE SET state = EXCLUDED.state, reason = EXCLUDED.reason
                """,
                key.login,
                key.chat,
                state,
                storable(reason),
            )

    async def end(self, login: LoginId) -> None:
        """The import of a login is over."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE history_import SET state = 'ended' WHERE login_id = $1", login
            )

    async def imported(self, login: LoginId) -> Imported:
        """What became of the chats of a login."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT count(*) FILTER (WHERE state = 'shown' AND messages > 0) AS shown,
                    coalesce(sum(messages) FILTER (WHERE state = 'shown'), 0)::bigint AS messages,
                    count(*) FILTER (WHERE state = 'failed') AS failed,
                    array_agg(DISTINCT reason ORDER BY reason)
                        FILTER (WHERE state = 'failed' AND reason <> '') AS reasons
                FROM history_chat WHERE login_id = $1
                """,
                login,
            )
        assert row is not None
        return Imported(row["shown"], row["messages"], row["failed"], tuple(row["reasons"] or ()))

    async def chat(self, key: PortalKey) -> ImportChat | None:
        """What is known of a chat's history."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                "SELECT state, place FROM history_chat WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
            )
        return None if row is None else ImportChat(key.chat, *row)

    async def goes_on(self, key: PortalKey) -> bool:
        """Whether something of a chat has been shown, or was written there."""
        async with self._database.connection() as connection:
            return bool(await connection.fetchval(f"SELECT {_GOES_ON}", key.login, key.chat))

    async def unknown(self, key: PortalKey, events: Sequence[RemoteEvent]) -> list[RemoteEvent]:
        """Those of ``events``, all of one chat, that have never come, nor were sent, in order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"SELECT n FROM ({_NEW}) AS new "
                "WHERE NOT EXISTS (SELECT FROM inbox AS i "
                "WHERE i.login_id = l AND i.chat_id = c AND i.remote_id = r) ORDER BY n",
                *_columns([(key.login, event) for event in events]),
            )
        return [events[row["n"] - 1] for row in rows]

    async def add(
        self,
        key: PortalKey,
        events: Sequence[RemoteEvent],
        older: str | None,
        thread: EventId | None,
    ) -> int:
        """Add older messages to a chat that goes on already, and to no import. ``thread``: to be shown in there.

        Returns how many messages are new.
        """
        async with self._database.transaction() as connection:
            added = await _add(connection, key, events, thread)
            new = _messages(events, added)
            await connection.execute(
                """
                INSERT INTO history_chat (login_id, chat_id, state, place, messages)
                VALUES ($1, $2, 'shown', $3, $4)
                ON CONFLICT (login_id, chat_id) DO UPDATE SET state = 'shown', place = EXCLUDED.place,
                    messages = history_chat.messages + EXCLUDED.messages
                """,
                key.login,
                key.chat,
                older,
                new,
            )
        return new


async def _is_taken(connection: Connection, key: PortalKey) -> bool:
    state = await connection.fetchval(
        "SELECT state FROM history_chat WHERE login_id = $1 AND chat_id = $2", key.login, key.chat
    )
    return bool(state == "taken")


async def _add(
    connection: Connection, key: PortalKey, events: Sequence[RemoteEvent], thread: EventId | None
) -> set[str]:
    """Add events of one chat before all others; the ids of those that are new."""
    rows = await connection.fetch(
        f"""
        INSERT INTO inbox (login_id, chat_id, remote_id, seq, event, reference, other_id, thread)
        OVERRIDING SYSTEM VALUE
        SELECT l, c, r, nextval('inbox_older'), e, f, o, $8
        FROM ({_NEW} ORDER BY n DESC) AS new
        ON CONFLICT DO NOTHING RETURNING remote_id
        """,
        *_columns([(key.login, event) for event in events]),
        thread,
    )
    return {row["remote_id"] for row in rows}


def _messages(events: Sequence[RemoteEvent], added: Collection[str]) -> int:
    """How many of the events that were added are messages."""
    columns: tuple[list[Any], ...] = _columns([(LoginId(""), event) for event in events])
    return sum(
        isinstance(event, RemoteMessage) and row in added
        for event, row in zip(events, columns[2], strict=True)
    )
