"""Older messages of one chat, when its user asks for them.

Matrix puts nothing before what is in a room already. So they come in a thread at its end, with their true senders
and times: in order among themselves, apart from what is going on, and messages like all others, with files and
answers. Where nothing has been written in the chat yet, they are simply its first messages.

The rule that must never break: what is in the chat already comes no second time, however often somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Collection, Sequence

from dm_bridge.bridge.import_state import Door
from dm_bridge.bridge.importing import Importer
from dm_bridge.bridge.imports import Imports
from dm_bridge.bridge.silence import HISTORY, OLD, Silence
from dm_bridge.errors import NetworkError, UserError
from dm_bridge.ids import EventId, PortalKey, UserId, digest_id
from dm_bridge.matrix.formatting import notice
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.network.events import RemoteEvent, RemoteMessage, RemoteRead
from dm_bridge.network.history import HISTORY_SECONDS, History, HistoryPage
from dm_bridge.store.history import HistoryStore
from dm_bridge.store.portals import PortalRow, PortalStore
from dm_bridge.texts import phrase

MOST = 200
"""Messages that can be asked for at once."""
MOST_PAGES = 5
SHOWN_WITHIN = 60.0


class Older:
    """``wake``: has the lanes of chats look again."""

    def __init__(
        self,
        homeserver: Homeserver,
        store: HistoryStore,
        portals: PortalStore,
        imports: Imports,
        importer: Importer,
        silence: Silence,
        wake: Callable[[Collection[PortalKey]], None],
    ) -> None:
        self._homeserver = homeserver
        self._store = store
        self._portals = portals
        self._imports = imports
        self._importer = importer
        self._silence = silence
        self._wake = wake

    async def bring(
        self, user: UserId, key: PortalKey, session: History, messages: int
    ) -> tuple[int, bool]:
        """Show up to so many messages that are older than all in the chat.

        Returns how many there are, and whether there may be more. Raises `BridgeError`.
        """
        if self._imports.door(key) is not Door.OPEN:
            raise UserError(phrase("older-not-yet"))
        async with self._importer.alone_with(user):
            known = await self._store.chat(key)
            if known is not None and known.state == "shown" and known.place is None:
                return 0, False
            place = None if known is None else known.place
            events, place = await self._look(key, session, place, messages)
            thread = await self._thread(key, place, events)
            await self._silence.begin(user, invites=False)
            try:
                with self._importer.watching(key) as shown:
                    new = await self._store.add(key, events, place, thread)
                    if new:
                        self._wake([key])
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(SHOWN_WITHIN):
                                await shown.wait()
            finally:
                await self._silence.end(user)
            return new, place is not None

    async def _look(
        self, key: PortalKey, session: History, place: str | None, messages: int
    ) -> tuple[list[RemoteEvent], str | None]:
        """What the network has before a place and is not known, and the place before it."""
        events: list[RemoteEvent] = []
        for _ in range(MOST_PAGES):
            wanted = messages - sum(isinstance(event, RemoteMessage) for event in events)
            page = await _older(session, key, place, wanted)
            written = [event for event in page.events if not isinstance(event, RemoteRead)]
            events[:0] = await self._store.unknown(key, written)
            place = page.older
            if place is None or sum(isinstance(e, RemoteMessage) for e in events) >= messages:
                break
        return events, place

    async def _thread(
        self, key: PortalKey, place: str | None, events: Sequence[RemoteEvent]
    ) -> EventId | None:
        """The thread for them; None where they can be the chat's first messages."""
        row = await self._portals.get(key)
        if row is None or row.room is None or not events or not await self._store.goes_on(key):
            return None
        return await self._begin_thread(row, place, events)

    async def _begin_thread(
        self, row: PortalRow, place: str | None, events: Sequence[RemoteEvent]
    ) -> EventId:
        assert row.room is not None
        content = {**notice(phrase("older-in-thread", messages=said_of(events))), HISTORY: OLD}
        transaction = digest_id("thread", row.key.login, row.key.chat, row.room, place or "")
        return await self._homeserver.send(
            row.room, "m.room.message", content, transaction, user=row.ghost
        )


async def _older(session: History, key: PortalKey, place: str | None, messages: int) -> HistoryPage:
    try:
        async with asyncio.timeout(HISTORY_SECONDS):
            return await session.older(key.chat, place, messages)
    except TimeoutError as error:
        raise NetworkError(phrase("older-no-answer")) from error


def said_of(events: Sequence[RemoteEvent]) -> str:
    """What stands above older messages: from when they are."""
    times = [at for event in events if (at := getattr(event, "sent_at", None)) is not None]
    if not times:
        return phrase("older-messages")
    first, last = (_day(at) for at in (min(times), max(times)))
    if first == last:
        return phrase("older-messages-of-day", day=first)
    return phrase("older-messages-of-days", first=first, last=last)


def _day(at: float) -> str:
    day = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return phrase("older-day", day=day.day, month=day.month, year=str(day.year))
