"""Connectors that tell wrongly who types, who has read, and who is there.

The rule that must never break: all else about them is the honest connector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.abilities import OutgoingRead
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import RemoteEvent, RemoteRead, RemoteReceived
from dm_bridge.network.signals import Availability, RemotePresence, RemoteTyping

from .loft import Link, Note, Shown
from .pigeons import PigeonSession
from .sabotage import found_by


@found_by("typing_is_carried")
class TellsNobodyThatTheUserTypes(PigeonSession):
    async def typing(self, chat: ChatId, typing: bool) -> None: ...


@found_by("typing_is_carried")
class NeverStopsTyping(PigeonSession):
    async def typing(self, chat: ChatId, typing: bool) -> None:
        if typing:
            await super().typing(chat, typing)


@found_by("typing_is_carried")
class DoesNotHearWhoStops(PigeonSession):
    def hears(self, who: str, what: bool | Shown) -> None:
        if what is not False:
            super().hears(who, what)


@found_by("typing_is_carried")
class TakesTheEchoForTheContact(PigeonSession):
    async def tell(self, link: Link, chat: ChatId, typing: bool) -> None:
        await super().tell(link, chat, typing)
        self.hears(chat, typing)


@found_by("typing_is_carried")
class SaysThatTheUserTypes(PigeonSession):
    def hears(self, who: str, what: bool | Shown) -> None:
        if isinstance(what, bool):
            self.sink.signal(RemoteTyping(ChatId(who), self.login.remote, what))


@found_by("typing_is_carried")
class WritesThatTheUserTypes(PigeonSession):
    async def tell(self, link: Link, chat: ChatId, typing: bool) -> None:
        await super().tell(link, chat, typing)
        if typing:
            self.loft.write(self.box.address, chat, "(types)")
            self.loft.tell(self.box.address, chat, typing)


@found_by("typing_is_carried")
class TypesForTooLong(PigeonSession):
    """It refuses to do what it declares."""

    async def typing(self, chat: ChatId, typing: bool) -> None:
        await self.loft.call(Link(), lambda: None)
        self.unlink()
        self.linked()


@found_by("typing_is_carried")
class DeclaresTyping(PigeonSession):
    typing = None  # type: ignore[assignment]


@found_by("typing_lasts_and_a_message_ends_it")
class SaysItOnce(PigeonSession):
    async def go_on_typing(self, link: Link, chat: ChatId) -> None:
        await self.tell(link, chat, True)


@found_by("typing_lasts_and_a_message_ends_it")
class TypesOnAfterAMessage(PigeonSession):
    async def send(self, message: OutgoingMessage) -> RemoteId:
        under_way, self.typing_in = self.typing_in, {}
        try:
            return await super().send(message)
        finally:
            self.typing_in = under_way


@found_by("typing_lasts_and_a_message_ends_it")
class TellsEverybodyThatTheUserTypes(PigeonSession):
    async def tell(self, link: Link, chat: ChatId, typing: bool) -> None:
        for person in self.loft.people:
            await super().tell(link, ChatId(person), typing)


@found_by("what_is_read_is_told")
class TellsNobodyWhatTheUserRead(PigeonSession):
    async def read(self, read: OutgoingRead) -> None: ...


@found_by("what_is_read_is_told")
class SaysThatItReadWhatArrives(PigeonSession):
    def acknowledge(self, notes: Sequence[Note]) -> None:
        for note in notes:
            self.loft.reads(self.box, note.chat, str(note.number), "seen")


@found_by("what_is_read_is_told")
class ReadsTheWrongMessage(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteRead):
            return replace(event, target=RemoteId(f"{int(event.target) - 1}"))
        return event


@found_by("what_is_read_is_told")
class WritesThatItHasRead(PigeonSession):
    async def read(self, read: OutgoingRead) -> None:
        await super().read(read)
        self.loft.write(self.box.address, read.chat, f"I have read {read.target.text}")


@found_by("what_the_user_reads_elsewhere_is_theirs")
class TakesTheUsersReadingForTheContacts(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        return replace(event, from_self=False) if isinstance(event, RemoteRead) else event


@found_by("what_the_user_reads_elsewhere_is_theirs")
class PassesOverWhatTheUserReads(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return None if note.kind == "own read" else super().event(note)


@found_by("what_arrives_is_acknowledged_once_it_is_committed")
class AcknowledgesBeforeTheCommit(PigeonSession):
    async def fetch(self, link: Link) -> Sequence[Note]:
        notes = await super().fetch(link)
        self.acknowledge(notes)
        return notes


@found_by("what_arrives_is_acknowledged_once_it_is_committed")
class AcknowledgesNothing(PigeonSession):
    def acknowledge(self, notes: Sequence[Note]) -> None: ...


@found_by("what_arrives_is_acknowledged_once_it_is_committed")
class TakesReceiptsForReading(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteReceived):
            return RemoteRead(event.chat, event.id, event.target, from_self=False)
        return event


@found_by("who_is_there_is_shown")
class ShowsNobody(PigeonSession):
    async def show(self, link: Link) -> None: ...


@found_by("who_is_there_is_shown")
class ShowsOnlyThatTheUserIsThere(PigeonSession):
    async def appear(self, availability: Availability, text: str) -> None:
        await super().appear(Availability.ONLINE, text)


@found_by("who_is_there_is_shown")
class ForgetsHowTheUserAppears(PigeonSession):
    def listen(self) -> None:
        super().listen()
        self.shows = Availability.ONLINE, ""


@found_by("who_is_there_is_shown")
class LosesWhatContactsSay(PigeonSession):
    def hears(self, who: str, what: bool | Shown) -> None:
        if isinstance(what, tuple):
            self.sink.signal(RemotePresence(ChatId(who), ContactId(who), what[0]))


@found_by("who_is_there_is_shown")
class SeesNobodyLeave(PigeonSession):
    def hears(self, who: str, what: bool | Shown) -> None:
        if what != (Availability.OFFLINE, ""):
            super().hears(who, what)


@found_by("what_is_shown_without_a_connection_does_no_harm")
class BreaksWithoutAConnection(PigeonSession):
    def linked(self) -> Link:
        if self.link is None:
            raise RuntimeError("there is no connection")
        return self.link


@found_by("what_is_shown_without_a_connection_does_no_harm")
class WaitsForAConnection(PigeonSession):
    async def appear(self, availability: Availability, text: str) -> None:
        if self.link is None:
            await asyncio.Event().wait()
