"""Reading what the session missed: forward through the archive from the last committed position.

A position is the archive's id (XEP-0359) of the newest message that is committed, and when that was.
It moves with every page, and with what arrives live once everything before has been read. So whatever
was not committed is read again, by this process or the next one; the inbox knows what it has.

An archive may get an entry later than a newer one: ejabberd numbers a message when it is routed and archives it
when a session takes it, and a session that is being replaced hands on what it has not taken. Such a message is
on the stream when the archive is read without it; so the last page is asked for again until it is there.

The rule that must never break: the position never passes a message that is not committed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from dm_bridge.connectors.xmpp.archive import CLOCK_SKEW, Archive, Entry, Page
from dm_bridge.connectors.xmpp.failures import RejectedError
from dm_bridge.connectors.xmpp.intake import MAX_HELD, Intake
from dm_bridge.connectors.xmpp.stanzas import (
    CLIENT,
    Account,
    Ignored,
    id_of_archived,
    read_archived,
)
from dm_bridge.ids import RemoteId
from dm_bridge.network.events import RemoteEvent, RemoteFailure

MAX_ID = 400
"""Characters of an archive id; longer ones are no positions."""
SETTLING_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses before an archive is asked again that lacks what the stream has brought out of it."""


@dataclass(frozen=True, slots=True)
class Position:
    """``id``: of an entry; "" for the begin of what the archive has since ``at``, the epoch's seconds."""

    id: str
    at: float

    def text(self) -> str:
        """As `Login.position`."""
        return json.dumps({"id": self.id, "at": self.at}, ensure_ascii=False)

    @staticmethod
    def parse(text: str | None) -> Position | None:
        """From `Login.position`; None when there is none that we wrote."""
        try:
            fields = json.loads(text or "null")
            return Position(str(fields["id"]), float(fields["at"]))
        except (ValueError, TypeError, KeyError):
            return None


async def first_position(archive: Archive) -> Position:
    """Where a login begins: at the newest entry. Raises like `Archive`."""
    newest = await archive.newest()
    return Position(newest if newest and len(newest) <= MAX_ID else "", time.time())


class CatchUp:
    """What one login's session has read of its archive. ``done``: nothing is left to read for now.

    ``sent_back``: told of messages that the archive says were not delivered; ``came``: of every event, with its
    stanza.
    """

    def __init__(
        self,
        intake: Intake,
        position: str | None,
        log: Any,
        sent_back: Callable[[RemoteId], None],
        came: Callable[[Element, RemoteEvent], None] = lambda stanza, event: None,
    ) -> None:
        self._came = came
        self._sent_back = sent_back
        self._intake = intake
        self._position = Position.parse(position)
        self._log = log
        self._tracking = False
        self.done = True

    def begin(self) -> None:
        """A stream begins that continues no other: what it brings waits until `run` has read."""
        self.done = False
        self._tracking = False
        self._intake.hold()

    def without_archive(self) -> None:
        """A stream begins on a server that has no archive."""
        self._tracking = False
        self._end()

    def live(self, archive_id: str | None) -> str | None:
        """The position after a live message, if it moves the position."""
        if archive_id is None or not self._tracking or len(archive_id) > MAX_ID:
            return None
        self._position = Position(archive_id, time.time())
        return self._position.text()

    async def run(self, archive: Archive, account: Account) -> None:
        """Read until nothing is left. Raises `NetworkError` when the server does not answer."""
        await self._intake.drained()
        try:
            if self._position is None:
                self._move(Position("", time.time()), [])
                await (
                    self._intake.drained()
                )  # a server may leave to us what a reader of archives missed
                first = await first_position(archive)
                self._end()
                self._move(first, [])
            else:
                await self._read(archive, account)
                self._end()
            self._tracking = True
        except RejectedError as error:
            self._log.warning(
                "the archive could not be read; it will be next time", error=str(error)
            )
            self._end()

    def _end(self) -> None:
        self.done = True
        self._intake.release()

    async def _read(self, archive: Archive, account: Account) -> None:
        assert self._position is not None
        start = None if self._position.id else self._position.at - CLOCK_SKEW
        after = self._position.id or None
        count = 0
        pauses = iter(SETTLING_SECONDS)
        read: deque[RemoteId] = deque(maxlen=MAX_HELD)
        while True:
            self._intake.skipped = False
            try:
                page = await archive.page(after, start)
            except RejectedError as error:
                if error.condition != "item-not-found" or start is not None:
                    raise
                start, after = self._position.at - CLOCK_SKEW, None
                self._log.warning(
                    "the archive does not know the last position any more; reading by time",
                    since=start,
                )
                continue
            ids = [id_of_archived(entry.id) for entry in page.entries]
            unread = page.last is None and self._intake.archived_ids().difference(read, ids)
            if unread and (pause := next(pauses, None)) is not None:
                await asyncio.sleep(pause)
                continue
            read.extend(ids)
            count += await self._take(page, account)
            if page.entries:
                after = page.entries[-1].id
            if page.last is not None:
                after = page.last
            elif not self._intake.skipped:
                break
        if count:
            self._log.info("missed messages were read from the archive", count=count)

    async def _take(self, page: Page, account: Account) -> int:
        """Commit a page; returns the number of events in it."""
        events = [event for entry in page.entries if (event := self._event(entry, account))]
        if page.entries:
            newest = page.entries[-1]
            at = time.time() if newest.stored_at is None else newest.stored_at
            self._move(Position(newest.id, at), events)
            await self._intake.drained()
        return len(events)

    def _move(self, position: Position, events: list[RemoteEvent]) -> None:
        moves = len(position.id) <= MAX_ID
        if moves:
            self._position = position
        self._intake.put_archived(events, position.text() if moves else None)

    def _event(self, entry: Entry, account: Account) -> RemoteEvent | None:
        event = read_archived(entry.forwarded, entry.id, account, secrets.token_hex(8), time.time())
        if isinstance(event, Ignored):
            if event.suspicious:
                self._log.warning("an archived stanza was dropped", why=event.why)
            return None
        if isinstance(event, RemoteFailure):
            self._sent_back(event.message)
        stanza = entry.forwarded.find(f"{CLIENT}message")
        if stanza is not None:
            self._came(stanza, event)
        return event
