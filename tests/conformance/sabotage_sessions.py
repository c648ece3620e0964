"""Connectors whose connections, logins and contacts are not what they promise.

The rule that must never break: all else about them is the honest connector.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Mapping

from dm_bridge.errors import BridgeError, CredentialsError, NetworkError, UserError
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.api import Contact, EventSink, Login, OutgoingMessage
from dm_bridge.network.events import ContactMoved, RemoteEvent, RemoteMessage, SessionStatus
from dm_bridge.network.login import FieldKind, LoginDone

from .loft import RETRY, Link, Note
from .pigeons import PigeonLogin, PigeonNetwork, PigeonSession
from .sabotage import found_by


@found_by("states_tell_the_truth", "sending_waits_for_the_network")
class ReportsNoLoss(PigeonSession):
    def report(self, status: SessionStatus, reason: str = "") -> None:
        if status not in (SessionStatus.TRANSIENT_DISCONNECT, SessionStatus.CONNECTING):
            super().report(status, reason)


@found_by("states_tell_the_truth")
class ReportsTwice(PigeonSession):
    def report(self, status: SessionStatus, reason: str = "") -> None:
        super().report(status, reason)
        super().report(status, reason)


@found_by("a_cut_connection_is_made_anew", "a_cut_while_receiving_loses_and_doubles_nothing")
class NeverReconnects(PigeonSession):
    def report(self, status: SessionStatus, reason: str = "") -> None:
        super().report(status, reason)
        if status is SessionStatus.TRANSIENT_DISCONNECT and self.task is not None:
            self.task.cancel()


@found_by("a_server_that_falls_silent_is_noticed")
class NeverAsks(PigeonSession):
    async def ask(self, link: Link) -> None: ...


@found_by("a_server_that_is_away_is_waited_for")
class GivesNoReason(PigeonSession):
    def report(self, status: SessionStatus, reason: str = "") -> None:
        super().report(status)


@found_by("a_server_that_is_away_is_waited_for")
class ConnectsAtOnceOrNever(PigeonSession):
    async def connect(self) -> None:
        if self.loft._refuses:
            self.report(SessionStatus.TRANSIENT_DISCONNECT, "The loft cannot be reached.")
        else:
            await super().connect()


@found_by("a_session_closes_at_once_and_for_good")
class LeavesATask(PigeonSession):
    async def connect(self) -> None:
        await super().connect()
        self.forgotten = asyncio.create_task(asyncio.Event().wait())


@found_by("a_session_closes_at_once_and_for_good")
class ClosesOnce(PigeonSession):
    async def disconnect(self) -> None:
        assert self.task is not None
        await super().disconnect()
        self.task = None


@found_by("a_session_closes_at_once_and_for_good")
class HangsOnClose(PigeonSession):
    async def disconnect(self) -> None:
        if self.task is not None:
            await self.task


@found_by("a_session_that_never_connected_closes")
class ClosesOnlyWhatConnected(PigeonSession):
    async def disconnect(self) -> None:
        while self.task is None:  # noqa: ASYNC110 - it is no good
            await asyncio.sleep(0.01)
        await super().disconnect()


@found_by("a_session_closes_while_it_tries_to_connect")
class ClosesOnlyWhenConnected(PigeonSession):
    async def disconnect(self) -> None:
        while self.link is None and self.task is not None:  # noqa: ASYNC110 - it is no good
            await asyncio.sleep(0.01)
        await super().disconnect()


@found_by("a_session_closes_while_nothing_can_be_stored")
class WaitsForTheStore(PigeonSession):
    storing = False

    async def store(self, events: list[RemoteEvent], position: int) -> None:
        self.storing = True
        await super().store(events, position)
        self.storing = False

    async def disconnect(self) -> None:
        while self.storing:  # noqa: ASYNC110 - it is no good
            await asyncio.sleep(0.01)
        await super().disconnect()


@found_by("a_session_closes_while_the_server_sleeps")
class SaysGoodbyeForEver(PigeonSession):
    async def disconnect(self) -> None:
        await self.loft._flows.wait()
        await super().disconnect()


@found_by("logins_do_not_mix")
class SendsAsTheFirstLogin(PigeonNetwork):
    sessions: list[PigeonSession]

    def open_session(self, login: Login, sink: EventSink) -> PigeonSession:
        session = super().open_session(login, sink)
        self.sessions = [*getattr(self, "sessions", []), session]
        first = self.sessions[0]
        session.send = lambda message: PigeonSession.send(first, message)  # type: ignore[method-assign]
        return session


@found_by("revoked_credentials_end_the_session", "refused_credentials_are_not_tried_again")
class Hammers(PigeonSession):
    async def run(self) -> None:
        while True:
            await super().run()
            await asyncio.sleep(RETRY)


@found_by("refused_credentials_are_not_tried_again")
class TriesThreeTimes(PigeonSession):
    async def run(self) -> None:
        for _ in range(3):
            try:
                self.link = await self.loft.link(self.login.remote, "guess")
            except BridgeError:
                continue
        await super().run()


@found_by("revoked_credentials_end_the_session")
class WaitsForBetterCredentials(PigeonSession):
    async def send(self, message: OutgoingMessage) -> RemoteId:
        self.refused = False
        return await super().send(message)


# -- logins


@found_by("the_right_answers_log_in")
class IsSomebodyElseEachTime(PigeonLogin):
    numbers = itertools.count()

    def done(self, address: ContactId, password: str) -> LoginDone:
        done = super().done(address, password)
        return dataclasses.replace(done, remote=ContactId(f"{address}{next(self.numbers)}"))


@found_by("the_right_answers_log_in")
class KeepsNoCredentials(PigeonLogin):
    def done(self, address: ContactId, password: str) -> LoginDone:
        return dataclasses.replace(super().done(address, password), credentials={"password": ""})


@found_by("fields_are_asked_for_as_what_they_are")
class AsksForAPasswordOpenly(PigeonLogin):
    kind = FieldKind.TEXT


@found_by("a_wrong_password_is_refused_with_a_sentence")
class ShowsThePassword(PigeonLogin):
    async def submit(self, values: Mapping[str, str]) -> LoginDone:
        try:
            return await super().submit(values)
        except CredentialsError:
            raise CredentialsError(f"The password {values['password']} is wrong.") from None


@found_by("a_wrong_password_is_refused_with_a_sentence")
class TakesEveryPassword(PigeonLogin):
    async def submit(self, values: Mapping[str, str]) -> LoginDone:
        address = self.network.parse_contact(values["address"])
        return self.done(address, values["password"])


@found_by("malformed_answers_are_a_matter_of_the_user")
class ChecksWithAValueError(PigeonLogin):
    def check(self, field: str, value: str) -> None:
        if not value.isprintable():
            raise ValueError("not printable")


@found_by("a_login_can_be_given_up")
class CannotBeGivenUp(PigeonLogin):
    async def cancel(self) -> None:
        await self.network.loft._flows.wait()


@found_by("a_login_can_be_given_up")
class GoesOnInSecret(PigeonLogin):
    async def submit(self, values: Mapping[str, str]) -> LoginDone:
        self.secret = asyncio.create_task(asyncio.Event().wait())
        return await super().submit(values)


@found_by("nobody_to_ask_is_a_matter_of_the_network")
class BlamesThePassword(PigeonLogin):
    async def submit(self, values: Mapping[str, str]) -> LoginDone:
        try:
            return await super().submit(values)
        except NetworkError as error:
            raise CredentialsError(str(error)) from None


# -- contacts


@found_by("strange_addresses_are_contacts_like_others")
class FoldsCase(PigeonNetwork):
    def parse_contact(self, text: str) -> ContactId:
        return ContactId(super().parse_contact(text).lower())


@found_by("strange_addresses_are_contacts_like_others")
class CutsChatsAtAnAt(PigeonNetwork):
    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat.partition("@")[0])


@found_by("spellings_of_an_address_are_one_contact")
class KeepsBlanks(PigeonNetwork):
    def parse_contact(self, text: str) -> ContactId:
        super().parse_contact(text)
        return ContactId(text.replace("\n", ""))


@found_by("no_address_is_a_bug")
class FailsOnGarbage(PigeonNetwork):
    def parse_contact(self, text: str) -> ContactId:
        text.encode()
        return super().parse_contact(text)


@found_by("no_address_is_a_bug")
class TakesAnything(PigeonNetwork):
    def parse_contact(self, text: str) -> ContactId:
        try:
            return super().parse_contact(text)
        except UserError:
            return ContactId(text)


@found_by("no_address_is_a_bug")
class MakesNoUris(PigeonNetwork):
    def contact_uri(self, contact: ContactId) -> str:
        return f"pigeons:{contact}"


@found_by("a_user_begins_a_chat", "what_a_contact_writes_is_delivered_as_it_is")
class NamesChatsInTwoWays(PigeonSession):
    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(f" {contact}")


@found_by("a_chat_is_a_direct_message")
class PutsEverybodyIntoOneChat(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteMessage):
            event = dataclasses.replace(event, chat=ChatId("everybody"))
        return event


@found_by("everybody_can_be_looked_up")
class KnowsNoStrangers(PigeonSession):
    async def contact(self, contact: ContactId) -> Contact:
        return Contact(ContactId(self.loft.people[contact].address))


@found_by("a_contact_who_moves_is_followed")
class FollowsNobody(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return None if note.kind == "move" else super().event(note)


@found_by("a_contact_who_moves_is_followed")
class MovesWithoutANewChat(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, ContactMoved):
            event = dataclasses.replace(event, new_chat=event.chat)
        return event
