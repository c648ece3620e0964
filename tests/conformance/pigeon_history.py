"""What pigeons brought before: the log, read backwards. Places are numbers of notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dm_bridge.ids import ChatId
from dm_bridge.network.events import RemoteEvent, RemoteMessage, RemoteRead, Written
from dm_bridge.network.history import HistoryPage, RecordEntry, RecordPart

from .loft import Box, Note

PART = 4


class PigeonHistory:
    """The methods of `History`."""

    if TYPE_CHECKING:

        @property
        def box(self) -> Box: ...

        def event(self, note: Note) -> RemoteEvent | None: ...

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        log = self.box.log if until is None else self.box.log[: int(until)]
        notes = [note for note in log if further is None or note.number < int(further)][-PART:]
        found = [(note, self.event(note)) for note in notes]
        entries = tuple(
            RecordEntry(event, str(note.number))
            for note, event in found
            if isinstance(event, Written | RemoteRead)
        )
        more = str(notes[0].number) if notes and notes[0].number > 1 else None
        return RecordPart(entries, more, len(notes))

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        events: list[Written | RemoteRead] = []
        count, begin = 0, place
        for note in reversed(self.box.log):
            event = self.event(note)
            late = place is not None and note.number >= int(place)
            if late or event is None or event.chat != chat or not isinstance(event, Written):
                continue
            if count == messages:
                return HistoryPage(tuple(events), begin)
            events.insert(0, event)
            begin = str(note.number)
            count += isinstance(event, RemoteMessage)
        return HistoryPage(tuple(events), None)
