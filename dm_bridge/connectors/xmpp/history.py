"""The user's archive read backwards, for what was written before the login (`dm_bridge.network.history`).

A place is the id of an entry: what is older comes before it.

The rule that must never break: what came after the login's first position is not part of its history.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from dm_bridge.connectors.xmpp.archive import PAGE, Archive, Entry, Page
from dm_bridge.connectors.xmpp.catch_up import MAX_ID, Position
from dm_bridge.connectors.xmpp.failures import PASSING, RejectedError
from dm_bridge.connectors.xmpp.stanzas import Account, Ignored, read_archived
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import RemoteEvent, RemoteMessage, RemoteRead, Written
from dm_bridge.network.history import HistoryPage, RecordEntry, RecordPart
from dm_bridge.texts import phrase

SPARE = 10
"""Entries asked for beyond the messages wanted: receipts and markers are in archives, too."""
MOST_PAGES = 5
"""Pages that are read for the messages of one chat at once."""


class HistoryReader:
    """Reads ``archive``, of ``account``. ``displayed``: up to which message the user has read each chat."""

    def __init__(
        self, archive: Archive, account: Account, displayed: dict[ChatId, RemoteId], log: Any
    ) -> None:
        self._archive = archive
        self._account = account
        self._displayed = displayed
        self._log = log

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        """See `History`. Raises `NetworkError`."""
        begin = Position.parse(until)
        if further is None and begin is not None and not begin.id:
            return RecordPart((), None, 0)  # the archive was empty then
        try:
            page = await self._newest(begin, further)
        except RejectedError as error:
            raise _explained(error) from error
        found = [
            RecordEntry(event, entry.id)
            for entry in page.entries
            if len(entry.id) <= MAX_ID
            and isinstance(event := self._event(entry), Written | RemoteRead)
        ]
        kept = set(map(id, _without_old_reads([entry.event for entry in found])))
        entries = tuple(entry for entry in found if id(entry.event) in kept)
        chats = {entry.event.chat for entry in entries}
        displayed = {chat: self._displayed[chat] for chat in chats & self._displayed.keys()}
        return RecordPart(entries, page.last, len(page.entries), displayed)

    async def _newest(self, begin: Position | None, further: str | None) -> Page:
        if further is not None:
            return await self._archive.before(further)
        if begin is None:
            return await self._archive.before(None)
        try:
            return await self._up_to(begin.id)
        except RejectedError as error:
            if error.condition != "item-not-found":
                raise
        page = await self._archive.before(None)  # the entry is not there any more: go by time
        early = [e for e in page.entries if e.stored_at is None or e.stored_at <= begin.at]
        return Page(tuple(early), page.last)

    async def _up_to(self, identifier: str) -> Page:
        """The newest entries up to and with one, which mostly is among the newest. Raises `RejectedError`.

        A page that ends before an id does not hold it (XEP-0059, section 2.3): the entry after it is asked for.
        """
        page = await self._archive.before(None)
        if identifier not in [entry.id for entry in page.entries]:
            after = await self._archive.page(identifier, entries=1)
            page = await self._archive.before(after.entries[0].id if after.entries else None)
        ids = [entry.id for entry in page.entries]
        kept = ids.index(identifier) + 1 if identifier in ids else len(ids)
        return Page(page.entries[:kept], page.last)

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        """See `History`. Raises `NetworkError`."""
        events: list[Written | RemoteRead] = []
        wanted, end = messages, place
        try:
            for _ in range(MOST_PAGES):
                page = await self._archive.before(end, chat, min(PAGE, wanted + SPARE))
                found, used = self._cut(page.entries, chat, wanted)
                events[:0] = found
                wanted -= sum(isinstance(event, RemoteMessage) for event in found)
                end = page.last if used == len(page.entries) else page.entries[-used].id
                if wanted <= 0 or end is None:
                    break
        except RejectedError as error:
            raise _explained(error) from error
        return HistoryPage(_without_old_reads(events), end)

    def _cut(
        self, entries: Sequence[Entry], chat: ChatId, messages: int
    ) -> tuple[list[Written | RemoteRead], int]:
        """The newest entries that hold so many messages: what they mean, and how many they are."""
        events: list[Written | RemoteRead] = []
        used = count = 0
        for entry in reversed(entries):
            if count >= messages:
                break
            used += 1
            event = self._event(entry)
            if event is not None and event.chat == chat and isinstance(event, Written | RemoteRead):
                events.insert(0, event)
                count += isinstance(event, RemoteMessage)
        return events, used

    def _event(self, entry: Entry) -> RemoteEvent | None:
        nonce = secrets.token_hex(8)
        event = read_archived(entry.forwarded, entry.id, self._account, nonce, time.time())
        if isinstance(event, Ignored):
            if event.suspicious:
                self._log.warning("an archived stanza was dropped", why=event.why)
            return None
        return event


def _without_old_reads(
    events: Sequence[Written | RemoteRead],
) -> tuple[Written | RemoteRead, ...]:
    """Of what each contact has read, the last counts; what the user has read, the account itself knows."""
    newest = {e.chat: e for e in events if isinstance(e, RemoteRead) and not e.from_self}
    return tuple(e for e in events if not isinstance(e, RemoteRead) or e is newest.get(e.chat))


def _explained(error: RejectedError) -> NetworkError:
    return NetworkError(
        phrase("xmpp-archive-refused", why=str(error)),
        retry_after=30.0 if error.condition in PASSING else None,
    )
