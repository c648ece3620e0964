"""What was written before a login: which chats are brought over, how far that is, and the messages themselves.

The messages go into the inbox, before all that is there already: numbers of rows grow upwards for what comes, and
downwards for what is older.

The rule that must never break: of one chat, what is older is added before anything of it is shown, or else apart,
in a thread; and together with the place from which on there is more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dm_bridge.ids import ChatId, EventId, LoginId, PortalKey, RemoteId, UserId
from dm_bridge.network.events import RemoteEvent, RemoteMessage, RemoteRead
from dm_bridge.store.database import Connection, Database
from dm_bridge.store.inbox import _NEW, _columns, _decode
from dm_bridge.store.reasons import storable
from dm_bridge.store.reopening import reopen

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
    ``failed``. ``place``: what is older begins there; None: nothing is. ``messages``: how many there are so far.
    """

    chat: ChatId
    state: str
    place: str | None
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import. ``reasons``: of chats that could not be read, each once."""

    chats: int
    messages: int
    failed: int
    reasons: tuple[str, ...]


_GOES_ON = """(
    EXISTS (SELECT FROM inbox AS i WHERE i.login_id = {login} AND i.chat_id = {chat} AND i.state <> 'waiting')
    OR EXISTS (
        SELECT FROM outbox AS o
        WHERE o.login_id = {login} AND o.chat_id = {chat} AND o.remote_id IS NOT NULL
    )
)"""
"""Whether something of a chat has been shown, or was written there."""


class Found(Protocol):
    """What was found of a chat in a part of a record (`dm_bridge.bridge.import_plan.Pick`)."""

    @property
    def chat(self) -> ChatId: ...
    @property
    def new(self) -> bool: ...
    @property
    def displayed(self) -> RemoteId | None: ...
    @property
    def before(self) -> str: ...
    @property
    def events(self) -> Sequence[RemoteEvent]: ...
    @property
    def messages(self) -> int: ...


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
                "SELECT chat_id, state, place, messages FROM history_chat WHERE login_id = $1 ORDER BY seq",
                login,
            )
        return [ImportChat(ChatId(chat), *rest) for chat, *rest in rows]

    async def found(
        self,
        row: ImportRow,
        picks: Sequence[Found],
        further: str | None,
        looked_at: int,
        state: str,
        wanted: int,
    ) -> list[ChatId]:
        """Add what was found in a part of the record, and move on from ``row`` to where the next one begins.

        ``state``: of the import from now on. Returns the chats to which it was added; none when ``row`` is not
        where the search is. When the record is at its end (``further`` is None), chats with less than the
        ``wanted`` messages have no more.
        """
        login = row.login
        async with self._database.transaction() as connection:
            moved = await connection.fetchval(
                """
                UPDATE history_import SET further = $3, entries = entries + $4, state = $5
                WHERE login_id = $1 AND state = 'searching' AND further IS NOT DISTINCT FROM $2
                RETURNING login_id
                """,
                login,
                row.further,
                further,
                looked_at,
                state,
            )
            if moved is None:
                return []
            await connection.execute(
                f"""
                INSERT INTO history_chat (login_id, chat_id, state, displayed, mark)
                SELECT $1, c, CASE WHEN {_GOES_ON.format(login="$1", chat="c")} THEN 'passed' ELSE 'found' END,
                    d, nextval('inbox_older')
                FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS t(c, d, n) ORDER BY n
                ON CONFLICT DO NOTHING
                """,
                login,
                [each.chat for each in picks if each.new],
                [each.displayed for each in picks if each.new],
            )
            rows = await connection.fetch(
                """
                UPDATE history_chat AS h SET place = p, messages = messages + m
                FROM unnest($2::text[], $3::text[], $4::int[]) AS t(c, p, m)
                WHERE login_id = $1 AND chat_id = c AND state = 'found' RETURNING chat_id
                """,
                login,
                [each.chat for each in picks],
                [each.before for each in picks],
                [each.messages for each in picks],
            )
            added = {row["chat_id"] for row in rows}
            events = [event for each in picks if each.chat in added for event in each.events]
            await _add(connection, login, events, None)
            if further is None:
                await connection.execute(
                    """
                    UPDATE history_chat SET place = NULL
                    WHERE login_id = $1 AND state = 'found' AND messages < $2
                    """,
                    login,
                    wanted,
                )
        return [each.chat for each in picks if each.chat in added]

    async def take(
        self,
        key: PortalKey,
        events: Sequence[RemoteEvent],
        older: str | None,
        mark: Callable[[ChatId, Sequence[RemoteEvent], RemoteId | None], RemoteRead | None],
    ) -> bool:
        """Add the last of what is wanted of a chat, and with ``mark`` what of all of it the user has read.

        Returns whether there is something to show. Not when something of the chat has been shown, or was written
        there, by then: it is passed over.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                f"""
                UPDATE history_chat SET place = $3, state =
                    CASE WHEN {_GOES_ON.format(login="$1", chat="$2")} THEN 'passed' ELSE 'taken' END
                WHERE login_id = $1 AND chat_id = $2 AND state = 'found' RETURNING state, mark, displayed
                """,
                key.login,
                key.chat,
                older,
            )
            if row is None:  # the answer to an earlier attempt may have been lost
                return await _is_taken(connection, key)
            if row["state"] == "taken":
                await _add(connection, key.login, events, None)
                there = await _older_waiting(connection, key)
                messages = sum(isinstance(event, RemoteMessage) for event in there)
                if messages:
                    read = mark(key.chat, there, row["displayed"])
                    if read is not None:
                        await _add(connection, key.login, [read], None, row["mark"])
                    await connection.execute(
                        "UPDATE history_chat SET messages = $3 WHERE login_id = $1 AND chat_id = $2",
                        key.login,
                        key.chat,
                        messages,
                    )
                    return True
            await _pass_over(connection, key)
        return False

    async def show(self, key: PortalKey) -> None:
        """All of a chat that was brought over has been shown."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE history_chat SET state = 'shown' WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
            )

    async def give_up(self, key: PortalKey, reason: str = "") -> None:
        """A chat goes on without its history, also one that was not found yet. ``reason``: why it failed."""
        async with self._database.transaction() as connection:
            await _pass_over(connection, key, "failed" if reason else "passed", storable(reason))

    async def end(self, login: LoginId) -> None:
        """The import of a login is over."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE history_import SET state = 'ended' WHERE login_id = $1", login
            )

    async def break_off(self, login: LoginId) -> None:
        """The import of a login is over, and what has not been shown of it is given up."""
        async with self._database.transaction() as connection:
            await connection.execute(
                """
                DELETE FROM inbox AS i USING history_chat AS h
                WHERE h.login_id = $1 AND h.state IN ('found', 'taken')
                    AND i.login_id = h.login_id AND i.chat_id = h.chat_id AND i.state = 'waiting' AND i.seq < 0
                """,
                login,
            )
            await connection.execute(
                """
                UPDATE history_chat SET state = 'passed', place = NULL
                WHERE login_id = $1 AND state IN ('found', 'taken')
                """,
                login,
            )
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
                "SELECT state, place, messages FROM history_chat WHERE login_id = $1 AND chat_id = $2",
                key.login,
                key.chat,
            )
        return None if row is None else ImportChat(key.chat, *row)

    async def goes_on(self, key: PortalKey) -> bool:
        """Whether something of a chat has been shown, or was written there."""
        async with self._database.connection() as connection:
            asked = _GOES_ON.format(login="$1", chat="$2")
            return bool(await connection.fetchval(f"SELECT {asked}", key.login, key.chat))

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

        What was done to them, and was about nothing that was known, waits again (`dm_bridge.store.reopening`).
        Returns how many messages are new.
        """
        async with self._database.transaction() as connection:
            added = await _add(connection, key.login, events, thread)
            await reopen(connection, key, events, added)
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


async def _older_waiting(connection: Connection, key: PortalKey) -> list[RemoteEvent]:
    rows = await connection.fetch(
        """
        SELECT event FROM inbox
        WHERE login_id = $1 AND chat_id = $2 AND state = 'waiting' AND seq < 0 ORDER BY seq
        """,
        key.login,
        key.chat,
    )
    return [_decode(row["event"]) for row in rows]


async def _pass_over(
    connection: Connection, key: PortalKey, state: str = "passed", reason: str = ""
) -> None:
    """What is older of a chat is given up, as far as it has not been shown."""
    await connection.execute(
        """
        INSERT INTO history_chat (login_id, chat_id, state, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT (login_id, chat_id)
        DO UPDATE SET state = EXCLUDED.state, reason = EXCLUDED.reason, place = NULL
        """,
        key.login,
        key.chat,
        state,
        reason,
    )
    await connection.execute(
        "DELETE FROM inbox WHERE login_id = $1 AND chat_id = $2 AND state = 'waiting' AND seq < 0",
        key.login,
        key.chat,
    )


async def _add(
    connection: Connection,
    login: LoginId,
    events: Sequence[RemoteEvent],
    thread: EventId | None,
    number: int | None = None,
) -> set[str]:
    """Add events before all others; the ids of those that are new. ``number``: of the row, if it is kept free."""
    rows = await connection.fetch(
        f"""
        INSERT INTO inbox (login_id, chat_id, remote_id, seq, event, reference, other_id, thread)
        OVERRIDING SYSTEM VALUE
        SELECT l, c, r, coalesce($9, nextval('inbox_older')), e, f, o, $8
        FROM ({_NEW} ORDER BY n DESC) AS new
        ON CONFLICT DO NOTHING RETURNING remote_id
        """,
        *_columns([(login, event) for event in events]),
        thread,
        number,
    )
    return {row["remote_id"] for row in rows}


def _messages(events: Sequence[RemoteEvent], added: Collection[str]) -> int:
    """How many of the events that were added are messages."""
    columns: tuple[list[Any], ...] = _columns([(LoginId(""), event) for event in events])
    return sum(
        isinstance(event, RemoteMessage) and row in added
        for event, row in zip(events, columns[2], strict=True)
    )
