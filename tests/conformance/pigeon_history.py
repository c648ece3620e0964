"""What pigeons brought before: the log, read backwards. Places are numbers of notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dm_bridge.ids import ChatId
from dm_bridge.network.events import RemoteEvent, RemoteMessage, RemoteRead, Written
from dm_bridge.network.history import Conversation, Conversations, HistoryPage

from .loft import Box, Note

PART = 4


class PigeonHistory:
    """The methods of `History`."""

    if TYPE_CHECKING:

        @property
        def box(self) -> Box: ...

        def event(self, note: Note) -> RemoteEvent | None: ...

    def before(self, place: str | None) -> Sequence[Note]:
        return [note for note in self.box.log if place is None or note.number <= int(place)]

    async def conversations(self, until: str | None, further: str | None) -> Conversations:
        notes = self.before(further or until)[-PART:]
        newest = {note.chat: note.number for note in notes if isinstance(self.event(note), Written)}
        found = sorted(newest.items(), key=lambda each: -each[1])
        more = str(notes[0].number - 1) if notes and notes[0].number > 1 else None
        some = tuple(Conversation(ChatId(chat), str(number)) for chat, number in found)
        return Conversations(some, more, len(notes))

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        events: list[Written | RemoteRead] = []
        count = 0
        for note in reversed(self.before(place)):
            event = self.event(note)
            if event is None or event.chat != chat or not isinstance(event, Written):
                continue
            if count == messages:
                return HistoryPage(tuple(events), str(note.number))
            events.insert(0, event)
            count += isinstance(event, RemoteMessage)
        return HistoryPage(tuple(events), None)
