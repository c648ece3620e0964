"""Connectors whose answers, edits, retractions and reactions are not what they promise.

The rule that must never break: all else about them is the honest connector.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from dm_bridge.errors import NetworkError
from dm_bridge.ids import RemoteId
from dm_bridge.network.abilities import OutgoingEdit, OutgoingReactions, OutgoingRetraction
from dm_bridge.network.api import Capabilities, Outgoing, OutgoingMessage
from dm_bridge.network.events import (
    ReactionChange,
    RemoteEdit,
    RemoteEvent,
    RemoteMessage,
    RemoteReactions,
    RemoteRetraction,
    Text,
)

from .loft import RETRY, Link, Note
from .pigeons import PigeonSession
from .sabotage import found_by


@found_by("answers_are_carried")
class ReadsNoAnswers(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        return replace(event, reply_to=None) if isinstance(event, RemoteMessage) else event


@found_by("answers_are_carried")
class QuotesWhatIsAnswered(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteMessage) and event.reply_to:
            return replace(event, content=Text(f"> theirs\n{event.content.body}"))
        return event


@found_by("answers_are_carried")
class AnswersTheNewest(PigeonSession):
    async def send(self, message: OutgoingMessage) -> RemoteId:
        if message.reply_to is not None:
            newest = RemoteId(str(len(self.box.log)))
            message = replace(message, reply_to=replace(message.reply_to, id=newest))
        return await super().send(message)


@found_by("edits_are_carried")
class ReadsEditsAsMessages(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return super().event(replace(note, deed="") if note.deed == "edit" else note)


@found_by("edits_are_carried")
class GivesEditsTheIdOfTheMessage(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        return replace(event, id=event.target) if isinstance(event, RemoteEdit) else event


@found_by("edits_are_carried")
class EditsWithTheOldText(PigeonSession):
    async def edit(self, edit: OutgoingEdit) -> RemoteId:
        return await super().edit(replace(edit, content=Text(edit.target.text)))


@found_by("edits_are_carried")
class ReturnsTheIdOfTheMessage(PigeonSession):
    async def edit(self, edit: OutgoingEdit) -> RemoteId:
        await super().edit(edit)
        return edit.target.id


@found_by("edits_are_carried")
class DeclaresWhatItHasNot(PigeonSession):
    edit = None  # type: ignore[assignment]


@found_by("retractions_are_carried")
class TakesBackSomethingElse(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteRetraction):
            return replace(event, target=RemoteId(f"{int(event.target) + 1}"))
        return event


@found_by("retractions_are_carried")
class SaysThatItTookBack(PigeonSession):
    async def retract(self, retraction: OutgoingRetraction) -> RemoteId:
        return await self.does(retraction, "I took a message back.", "", "")


@found_by("reactions_are_carried")
class OnlyAddsReactions(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteReactions) and event.emojis:
            return replace(event, change=ReactionChange.ADDED)
        return event


@found_by("reactions_are_carried")
class ReactsWithTheNewestOnly(PigeonSession):
    async def react(self, reactions: OutgoingReactions) -> RemoteId:
        return await super().react(replace(reactions, emojis=reactions.emojis[-1:]))


@found_by("what_is_done_to_messages_meanwhile_is_delivered")
class ReadsOnlyMessagesOfTheRecord(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return None if note.deed in ("edit", "retraction") else super().event(note)


@found_by("what_is_done_to_messages_meanwhile_is_delivered")
class GivesReactionsNewIds(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteReactions):
            return replace(event, id=RemoteId(secrets.token_hex(4)))
        return event


@found_by("what_the_bridge_does_to_messages_does_not_come_back")
class EchoesWhatItDoes(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        if note.kind == "sent" and note.deed == "reactions":
            note = replace(note, kind="own")
        return super().event(note)


@found_by("what_is_done_to_messages_is_done_once")
class DoesItAgainBlindly(PigeonSession):
    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        if not isinstance(message, OutgoingMessage):
            message = replace(message, id=RemoteId(""))
        return await super().post(link, message, wire, *deed)


@found_by("what_is_done_to_messages_is_done_once")
class GivesUpWhatItBegan(PigeonSession):
    async def retract(self, retraction: OutgoingRetraction) -> RemoteId:
        if retraction.attempted is not None:
            raise NetworkError("It may have been taken back.", certain=False)
        return await super().retract(retraction)


@found_by("what_the_user_does_elsewhere_to_messages_is_theirs")
class TakesTheUsersDeedsForTheContacts(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return super().event(replace(note, kind="text") if note.deed else note)


@found_by("what_the_user_does_elsewhere_to_messages_is_theirs")
class PassesOverTheUsersDeeds(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return None if note.deed and note.kind == "own" else super().event(note)


@found_by("who_is_not_the_author_is_not_taken_for_them")
class BelievesThatItIsTheAuthor(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteEdit | RemoteRetraction):
            written = next(n for n in self.box.log if str(n.number) == event.target)
            if written.kind in ("own", "sent"):
                return replace(event, from_self=True, sender=self.login.remote)
        return event


@found_by("hostile_references_do_no_harm")
class ObeysReferences(PigeonSession):
    async def does(self, what: Outgoing, wire: str, deed: str, about: str) -> RemoteId:
        for line in about.splitlines()[1:]:
            if line.startswith("TO "):
                _, to, text = line.split(" ", 2)
                self.loft.write(self.box.address, to, text)
        return await super().does(what, wire, deed, about)


@found_by("hostile_references_do_no_harm")
class BreaksOnReferences(PigeonSession):
    async def does(self, what: Outgoing, wire: str, deed: str, about: str) -> RemoteId:
        try:
            about.encode()
        except UnicodeError:
            self.unlink()
            raise NetworkError("The connection was lost.", retry_after=RETRY) from None
        return await super().does(what, wire, deed, about)


@found_by("hostile_references_do_no_harm")
class LooksForWhatIsReferredTo(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        if note.deed:
            assert self.box.log[int(note.about) - 1]
        return super().event(note)


@found_by("what_is_not_declared_does_no_harm")
class WantsNoAnswers(PigeonSession):
    capabilities = Capabilities(catches_up=True, lines=True)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        if message.reply_to is not None:
            raise NetworkError("Pigeons do not know answers.")
        return await super().send(message)


@found_by("what_is_not_declared_does_no_harm")
class ReadsRetractionsAsEmptyMessages(PigeonSession):
    capabilities = Capabilities(catches_up=True, lines=True, replies=True)

    def event(self, note: Note) -> RemoteEvent | None:
        return super().event(replace(note, deed="") if note.deed == "retraction" else note)


@found_by("what_is_done_to_messages_is_seen_on_both_sides")
class KeepsNoReferences(PigeonSession):
    """What `send` returns is not by what others speak of a message."""

    async def does(self, what: Outgoing, wire: str, deed: str, about: str) -> RemoteId:
        about = about.removeprefix("sent:")
        return RemoteId(f"sent:{await super().does(what, wire, deed, about)}")


@found_by("what_is_done_to_messages_is_seen_on_both_sides")
class SpeaksForTheUser(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteEdit | RemoteRetraction):
            return replace(event, from_self=True, sender=self.login.remote)
        return event
