"""Looks for conversations, and for what known ones lack, in a network's record, from its newest part backwards.

The rule that must never break: where the search stands is recorded with what it found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from dm_bridge.bridge.import_asking import Asking, Import, ImportSettings
from dm_bridge.bridge.import_plan import pick
from dm_bridge.bridge.import_state import Door
from dm_bridge.errors import NotYet
from dm_bridge.ids import PortalKey
from dm_bridge.network.history import History, RecordPart
from dm_bridge.store.history import FOUND, SEARCHING, HistoryStore
from dm_bridge.texts import phrase

MOST_ENTRIES = 50_000
"""Entries of a network's record in which conversations are looked for."""
BARREN = 5_000
"""Entries in a row that bring nothing, after which no more conversations are looked for."""
UNEVENTFUL = 10
"""Parts of a record in a row without a new conversation, after which those that are known do not wait for more."""
SAVING = 4
"""Requests for single chats that one for a part of the record has to save."""
SEARCHES = 4
"""Records that are searched at once."""


class Search:
    """``wake``: has the lanes of chats look again."""

    def __init__(
        self,
        store: HistoryStore,
        asking: Asking,
        wake: Callable[[Collection[PortalKey]], None],
        settings: ImportSettings,
    ) -> None:
        self._store = store
        self._asking = asking
        self._wake = wake
        self._settings = settings
        self._searches = asyncio.Semaphore(SEARCHES)

    async def search(self, one: Import) -> None:
        """Look until nothing more is wanted, or is there."""
        try:
            while one.state.searching:
                await self.go_on(one)
        finally:
            one.changed.set()
        free = [chat for chat in one.knocked if one.state.door(chat) is Door.OPEN]
        for chat in free:  # what is no part of the import need not wait
            one.knocked.discard(chat)
            one.wait_no_more(chat)
            one.state.drop(chat)
        self._wake([PortalKey(one.row.login, chat) for chat in free])

    async def go_on(self, one: Import) -> None:
        """Look at one more part of the record: for conversations, and for what known ones lack."""
        row, most = one.row, self._settings
        async with self._searches:
            part = await self._asking.ask(one, _record(row.until, row.further))
        left = most.conversations - one.state.total
        picks = pick(part, one.state.wants, left, most.messages)
        found = sum(each.new for each in picks)
        entries = row.entries + part.looked_at
        brought = sum(each.messages for each in picks)
        one.barren = 0 if picks else one.barren + part.looked_at
        one.uneventful = 0 if found else one.uneventful + 1
        endless = entries >= MOST_ENTRIES or one.barren >= BARREN
        poor = found >= left and self._is_poor(one, found, brought)
        over = part.further is None or endless or poor
        state = FOUND if over else SEARCHING
        added = await self._store.found(
            row, picks, part.further, part.looked_at, state, most.messages
        )
        if (
            picks
            and not added
            and await self._store.of(row.login)
            != replace(row, further=part.further, entries=entries, state=state)
        ):
            raise NotYet(phrase("import-elsewhere"), 1.0)
        one.row = replace(row, further=part.further, entries=entries, state=state)
        for each in picks:
            if each.chat in added:
                one.state.add(each.chat, each.before, each.messages)
            elif each.new:
                one.state.leave_out(each.chat)
        if part.further is None:
            one.state.add_no_more()
        one.state.searching = not over
        one.state.finding = not over and one.state.total < most.conversations
        if one.uneventful >= UNEVENTFUL and one.state.close_batch():
            one.uneventful = 0
        one.changed.set()

    def _is_poor(self, one: Import, found: int, brought: int) -> bool:
        """Whether more parts like the last save too little over asking for what each chat lacks, one by one: then
        chats are complete early.
        """
        chats, messages = one.state.lacking
        chats, messages = chats + found, messages + found * self._settings.messages - brought
        return messages * SAVING >= brought * chats


def _record(until: str | None, further: str | None) -> Callable[[History], Awaitable[RecordPart]]:
    return lambda session: session.record(until, further)
