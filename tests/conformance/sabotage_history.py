"""Connectors whose record is not what they promise.

The rule that must never break: all else about them is the honest connector.
"""

from __future__ import annotations

import dataclasses

from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import RemoteMessage
from dm_bridge.network.history import HistoryPage, RecordPart

from .pigeons import PigeonSession
from .sabotage import found_by


@found_by("what_was_written_before_can_be_read")
class ReadsForward(PigeonSession):
    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        page = await super().older(chat, place, messages)
        return dataclasses.replace(page, events=page.events[::-1])


@found_by("what_was_written_before_can_be_read")
class ForgetsWhatIsOlder(PigeonSession):
    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        return dataclasses.replace(await super().older(chat, place, messages), older=None)


@found_by("what_came_after_the_login_is_no_history")
class BeginsNow(PigeonSession):
    async def record(self, until: str | None, further: str | None) -> RecordPart:
        return await super().record(None, further)


@found_by("what_was_written_before_can_be_read")
class LeavesGaps(PigeonSession):
    async def record(self, until: str | None, further: str | None) -> RecordPart:
        part = await super().record(until, further)
        return dataclasses.replace(part, entries=part.entries[1:])


@found_by("history_is_known_by_its_ids")
class NumbersAnew(PigeonSession):
    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        page = await super().older(chat, place, messages)
        events = tuple(
            dataclasses.replace(event, id=RemoteId(f"record {event.id}"))
            if isinstance(event, RemoteMessage)
            else event
            for event in page.events
        )
        return dataclasses.replace(page, events=events)
