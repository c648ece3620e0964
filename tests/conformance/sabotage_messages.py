"""Connectors whose messages are not what they promise.

The rule that must never break: all else about them is the honest connector.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Sequence

from dm_bridge.errors import NetworkError, StorageError
from dm_bridge.ids import ContactId, RemoteId
from dm_bridge.network.api import Capabilities, EventSink, Login, Outgoing, OutgoingMessage
from dm_bridge.network.events import RemoteEvent, RemoteMessage, Text
from dm_bridge.network.login import LoginDone

from .loft import RETRY, Link, Note
from .pigeons import PigeonLogin, PigeonNetwork, PigeonSession
from .sabotage import found_by


@found_by("what_a_contact_writes_is_delivered_as_it_is")
class ReadsAscii(PigeonSession):
    def from_wire(self, text: str) -> Text:
        return super().from_wire(text.encode("ascii", "replace").decode())


@found_by("what_a_contact_writes_is_delivered_as_it_is")
class TakesContactsForTheUser(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteMessage):
            event = dataclasses.replace(event, from_self=True)
        return event


@found_by("what_is_sent_reaches_the_contact_as_it_is")
class EscapesTwice(PigeonSession):
    def to_wire(self, content: Text) -> str:
        return super().to_wire(content).replace("&", "&amp;")


@found_by("lines_stay_lines")
class JoinsLines(PigeonSession):
    def to_wire(self, content: Text) -> str:
        return super().to_wire(content).replace("\n", " ")


@found_by("lines_stay_lines")
class KeepsFirstLine(PigeonSession):
    capabilities = Capabilities(catches_up=True)

    def to_wire(self, content: Text) -> str:
        return super().to_wire(content).partition("\n")[0]


@found_by("a_long_text_arrives_whole")
class CutsLongTexts(PigeonSession):
    def to_wire(self, content: Text) -> str:
        return super().to_wire(dataclasses.replace(content, body=content.body[:500]))


@found_by("a_hostile_text_stays_a_text")
class ObeysTexts(PigeonSession):
    async def send(self, message: OutgoingMessage) -> RemoteId:
        for line in message.content.body.splitlines()[1:]:
            if line.startswith("TO "):
                _, to, text = line.split(" ", 2)
                self.loft.write(self.box.address, to, text)
        return await super().send(message)


@found_by("a_hostile_text_stays_a_text")
class FailsOnSurrogates(PigeonSession):
    def to_wire(self, content: Text) -> str:
        try:
            content.body.encode()
        except UnicodeError:
            self.unlink()
            raise NetworkError("The connection was lost.", retry_after=RETRY) from None
        return super().to_wire(content)


@found_by("an_empty_text_does_no_harm")
class WaitsWithNothing(PigeonSession):
    def to_wire(self, content: Text) -> str:
        if not content.body:
            raise NetworkError("Nothing to send.", retry_after=RETRY)
        return super().to_wire(content)


@found_by("formatting_is_carried")
class ReadsNoFormatting(PigeonSession):
    def from_wire(self, text: str) -> Text:
        return Text(text, emote=text.startswith("/me "))


@found_by("formatting_is_carried")
class SendsNoFormatting(PigeonSession):
    def to_wire(self, content: Text) -> str:
        return super().to_wire(dataclasses.replace(content, html=None))


@found_by("emotes_are_carried")
class KnowsNoEmotes(PigeonSession):
    def from_wire(self, text: str) -> Text:
        return dataclasses.replace(super().from_wire(text), emote=False)


# -- what arrives


@found_by("many_messages_arrive_in_order", "a_cut_while_receiving_loses_and_doubles_nothing")
class Drops(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return None if note.number % 7 == 0 else super().event(note)


@found_by("many_messages_arrive_in_order")
class Doubles(PigeonSession):
    async def store(self, events: list[RemoteEvent], position: int) -> None:
        await super().store(events, position)
        again = [
            dataclasses.replace(event, id=RemoteId(f"{event.id} again"))
            for event in events
            if isinstance(event, RemoteMessage)
        ]
        await super().store([*again], position)


@found_by("many_messages_arrive_in_order")
class Reorders(PigeonSession):
    async def store(self, events: list[RemoteEvent], position: int) -> None:
        await super().store(events[::-1], position)


@found_by("many_messages_arrive_in_order")
class DeliversAtTheSameTime(PigeonSession):
    async def store(self, events: list[RemoteEvent], position: int) -> None:
        await asyncio.gather(*(self.sink.deliver([event]) for event in events))


@found_by("what_cannot_be_stored_is_delivered_again")
class ForgetsWhatCouldNotBeStored(PigeonSession):
    async def store(self, events: list[RemoteEvent], position: int) -> None:
        try:
            await self.sink.deliver(events, str(position))
        except StorageError:
            return


@found_by("a_crash_before_the_commit_loses_nothing")
class MovesThePositionFirst(PigeonSession):
    async def store(self, events: list[RemoteEvent], position: int) -> None:
        await self.sink.deliver([], str(position))
        await super().store(events, position)


@found_by("a_crash_before_the_commit_loses_nothing", "a_cut_while_the_store_is_down_loses_nothing")
class AcknowledgesEarly(PigeonSession):
    """The server keeps what is not acknowledged, and nothing else."""

    async def fetch(self, link: Link) -> Sequence[Note]:
        notes = await super().fetch(link)
        self.position = notes[-1].number if notes else self.position
        self.box.log[:] = [
            dataclasses.replace(note, kind="sent") if note in notes else note
            for note in self.box.log
        ]
        return notes

    async def store(self, events: list[RemoteEvent], position: int) -> None:
        try:
            await self.sink.deliver(events, str(position))
        except StorageError:
            self.unlink()


@found_by("a_crash_after_the_commit_doubles_nothing")
class NewIdsEachTime(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteMessage):
            event = dataclasses.replace(event, id=RemoteId(secrets.token_hex(4)))
        return event

    async def store(self, events: list[RemoteEvent], position: int) -> None:
        await self.sink.deliver(events)


@found_by(
    "a_killed_bridge_goes_on",
    "what_was_written_meanwhile_is_delivered",
    "a_login_begins_where_it_was_made",
    "a_cut_while_receiving_loses_and_doubles_nothing",
)
class BeginsWithWhatIsNew(PigeonSession):
    async def follow(self, link: Link) -> None:
        self.position = len(self.box.log)
        await super().follow(link)


@found_by("a_login_begins_where_it_was_made")
class LogsInWithoutAPosition(PigeonLogin):
    def done(self, address: ContactId, password: str) -> LoginDone:
        done = super().done(address, password)
        return dataclasses.replace(done, position=str(10**6))


_places: dict[str, int] = {}


@found_by("a_position_leads_back_to_itself")
class RemembersThePositionItself(PigeonSession):
    def __init__(self, network: PigeonNetwork, login: Login, sink: EventSink) -> None:
        super().__init__(network, login, sink)
        self.position = _places.get(login.remote, self.position)

    async def store(self, events: list[RemoteEvent], position: int) -> None:
        await super().store(events, position)
        _places[self.login.remote] = position


@found_by("a_position_leads_back_to_itself")
class NamesMessagesAnew(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteMessage):
            return dataclasses.replace(event, id=RemoteId(f"{event.id} of {id(self)}"))
        return event


@found_by("what_the_bridge_sent_does_not_come_back")
class Echoes(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return super().event(dataclasses.replace(note, kind="own") if note.kind == "sent" else note)


@found_by("what_the_user_writes_elsewhere_is_theirs")
class TakesTheUserForAContact(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return super().event(dataclasses.replace(note, kind="text") if note.kind == "own" else note)


# -- what is sent


@found_by("many_messages_are_sent_in_order")
class SendsTwice(PigeonSession):
    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        await super().post(link, dataclasses.replace(message, id=RemoteId("")), wire, *deed)
        return await super().post(link, message, wire, *deed)


@found_by("many_messages_are_sent_in_order")
class SendsInPairs(PigeonSession):
    """The first of two waits for the second, and goes after it."""

    waiting: tuple[Outgoing, str] | None = None

    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        first, self.waiting = self.waiting, (message, wire)
        if first is None:
            return "later"
        self.waiting = None
        await super().post(link, message, wire, *deed)
        return await super().post(link, *first)


@found_by("chats_do_not_wait_for_each_other")
class SendsOneAtATime(PigeonSession):
    busy = False

    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        if self.busy:
            raise NetworkError("Another message is being sent.", retry_after=RETRY)
        self.busy = True
        try:
            return await super().post(link, message, wire, *deed)
        finally:
            self.busy = False


@found_by("sending_waits_for_the_network", "a_cut_while_sending_is_said_honestly")
class SaysSentAtOnce(PigeonSession):
    async def send(self, message: OutgoingMessage) -> RemoteId:
        if self.link is None or self.link.broken.is_set():
            return message.id
        asyncio.get_running_loop().call_later(0.01, self._later, self.link, message)
        return message.id

    def _later(self, link: Link, message: OutgoingMessage) -> None:
        if not link.broken.is_set():
            self.loft.post(self.box, message.chat, message.content.body, message.id)


@found_by("sending_waits_for_the_network")
class GivesUpWithoutAConnection(PigeonSession):
    async def send(self, message: OutgoingMessage) -> RemoteId:
        if self.link is None or self.link.broken.is_set():
            raise NetworkError("The loft is not connected.")
        return await super().send(message)


@found_by("before_it_connects_a_session_sends_nothing")
class KeepsWhatComesEarly(PigeonSession):
    async def send(self, message: OutgoingMessage) -> RemoteId:
        if self.task is None:
            self.loft.post(self.box, message.chat, message.content.body, message.id)
            raise NetworkError("The loft is not connected.", retry_after=RETRY)
        return await super().send(message)


@found_by("a_lost_answer_proves_nothing")
class IsAlwaysCertain(PigeonSession):
    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        try:
            return await super().post(link, message, wire, *deed)
        except NetworkError as error:
            raise NetworkError(str(error), retry_after=RETRY) from None


@found_by("a_message_is_looked_for_before_it_is_sent_again")
class SendsAgainBlindly(PigeonSession):
    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        return await super().post(link, dataclasses.replace(message, id=RemoteId("")), wire, *deed)


@found_by("a_message_is_looked_for_before_it_is_sent_again")
class ReturnsAnotherIdTheSecondTime(PigeonSession):
    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        sent = await super().post(link, message, wire, *deed)
        return sent if message.attempted is None else f"{sent} again"


@found_by("a_message_that_may_have_been_sent_is_not_sent_blindly")
class NeverKnows(PigeonSession):
    capabilities = Capabilities(catches_up=True, lines=True)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        if message.attempted is not None:
            raise NetworkError("It may have arrived.", certain=False, retry_after=RETRY)
        return await super().send(message)


@found_by("sending_while_the_server_sleeps_ends", "a_session_closes_while_the_server_sleeps")
class SendsWithoutADeadline(PigeonSession):
    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        await self.loft._flows.wait()
        return await super().post(link, message, wire, *deed)


@found_by("a_send_that_is_given_up_harms_no_other")
class LocksForEver(PigeonSession):
    busy = False

    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        if self.busy:
            raise NetworkError("Another message is being sent.", retry_after=RETRY)
        self.busy = True
        sent = await super().post(link, message, wire, *deed)
        self.busy = False
        return sent


@found_by("what_cannot_be_delivered_is_told")
class SwallowsBounces(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return None if note.kind == "bounce" else super().event(note)
