"""A connector with everything that can be declared, for a network in memory; it keeps all promises.

An account has a log on the server, of numbered notes: what contacts wrote, what its owner wrote elsewhere, what
could not be delivered, who moved. A session reads it from its position on.

The rule that must never break: the connector here is honest; `sabotage` makes it break one promise each.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from dm_bridge.errors import CredentialsError, NetworkError, StorageError, UserError
from dm_bridge.ids import ChatId, ContactId, NetworkName, RemoteId
from dm_bridge.network.api import Capabilities, Contact, EventSink, Login, OutgoingMessage
from dm_bridge.network.events import (
    ContactMoved,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    SessionState,
    SessionStatus,
    Text,
)
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField

from .loft import RETRY, Box, Link, Loft, Note

LARGEST = 2000
_BOLD = re.compile(r"\*(\w+)\*")


class PigeonLogin:
    """A `LoginProcess`."""

    kind = FieldKind.SECRET

    def __init__(self, network: PigeonNetwork) -> None:
        self.network = network
        self.working: asyncio.Task[Link] | None = None

    def start(self) -> AskStep:
        return AskStep(
            (LoginField("address", "address"), LoginField("password", "password", self.kind))
        )

    def check(self, field: str, value: str) -> None:
        if field == "address":
            self.network.parse_contact(value)
        elif not value or not value.isprintable():
            raise UserError("That is no password.")

    async def submit(self, values: Mapping[str, str]) -> LoginDone:
        for name, value in values.items():
            self.check(name, value)
        address, password = self.network.parse_contact(values["address"]), values["password"]
        self.working = asyncio.create_task(self.network.loft.link(address, password))
        try:
            await self.working
        except asyncio.CancelledError:
            raise NetworkError("The login was given up.") from None
        return self.done(address, password)

    def done(self, address: ContactId, password: str) -> LoginDone:
        position = str(len(self.network.loft.boxes[address].log))
        return LoginDone(address, address, {"password": password}, position)

    async def cancel(self) -> None:
        if self.working is not None:
            self.working.cancel()
            await asyncio.gather(self.working, return_exceptions=True)


class PigeonSession:
    """A `Session`."""

    capabilities = Capabilities(
        catches_up=True,
        own_messages=True,
        sends_once=True,
        formatting=True,
        late_failures=True,
        moves=True,
        lines=True,
        largest_text=LARGEST,
    )

    def __init__(self, network: PigeonNetwork, login: Login, sink: EventSink) -> None:
        self.network, self.login, self.sink = network, login, sink
        self.loft = network.loft
        self.position = int(login.position or 0)
        self.link: Link | None = None
        self.refused = False
        self.task: asyncio.Task[None] | None = None

    @property
    def box(self) -> Box:
        return self.loft.boxes[self.login.remote]

    async def connect(self) -> None:
        self.task = asyncio.create_task(self.run())

    async def disconnect(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.unlink()

    def unlink(self) -> None:
        if self.link is not None:
            self.link.broken.set()
            self.link = None

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact, name=contact.title())

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    # -- sending

    async def send(self, message: OutgoingMessage) -> RemoteId:
        if self.refused:
            raise CredentialsError("The loft does not accept this login any more.")
        wire = self.to_wire(message.content)
        link = self.link
        if link is None or link.broken.is_set():
            raise NetworkError("The loft is not connected.", retry_after=RETRY)
        return RemoteId(await self.post(link, message, wire))

    async def post(self, link: Link, message: OutgoingMessage, wire: str) -> str:
        return await self.loft.call(
            link, lambda: self.loft.post(self.box, message.chat, wire, message.id)
        )

    def to_wire(self, content: Text) -> str:
        text = content.body
        if content.html is not None:
            text = re.sub(r"<strong>(\w+)</strong>", r"*\1*", content.html)
        if not text.strip():
            raise NetworkError("An empty text cannot be sent.")
        if len(text.encode(errors="replace")) > LARGEST:
            raise NetworkError("The text is too long for a pigeon.")
        return f"/me {text}" if content.emote else text

    # -- reading

    async def run(self) -> None:
        while True:
            try:
                self.report(SessionStatus.CONNECTING)
                password = self.login.credentials["password"]
                self.link = await self.loft.link(self.login.remote, password)
                self.report(SessionStatus.CONNECTED)
                await self.read(self.link)
            except CredentialsError as error:
                self.refused = True
                self.report(SessionStatus.BAD_CREDENTIALS, str(error))
                return
            except NetworkError as error:
                self.report(SessionStatus.TRANSIENT_DISCONNECT, str(error))
            self.unlink()
            await asyncio.sleep(RETRY)

    async def read(self, link: Link) -> None:
        while True:
            notes = await self.fetch(link)
            if notes:
                events = [self.event(note) for note in notes]
                await self.store([event for event in events if event], notes[-1].number)
                self.position = notes[-1].number

    async def fetch(self, link: Link) -> Sequence[Note]:
        """The next notes of the log, as soon as there are any."""
        while len(self.box.log) <= self.position:
            self.box.news.clear()
            waiting = [asyncio.create_task(event.wait()) for event in (self.box.news, link.broken)]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
            if link.broken.is_set():
                break
        return await self.loft.call(link, lambda: self.box.log[self.position : self.position + 3])

    async def store(self, events: list[RemoteEvent], position: int) -> None:
        while True:
            try:
                await self.sink.deliver(events, str(position))
                return
            except StorageError:
                await asyncio.sleep(RETRY)

    def event(self, note: Note) -> RemoteEvent | None:
        chat, identifier = ChatId(note.chat), RemoteId(str(note.number))
        match note.kind:
            case "sent":
                return None
            case "bounce":
                return RemoteFailure(chat, RemoteId(note.text), "There is nobody of that name.")
            case "move":
                new = ContactId(note.text)
                return ContactMoved(chat, identifier, ContactId(chat), new, ChatId(new))
        own = note.kind == "own"
        sender = self.login.remote if own else ContactId(note.chat)
        return RemoteMessage(chat, identifier, sender, own, self.from_wire(note.text))

    def from_wire(self, text: str) -> Text:
        emote = text.startswith("/me ")
        body = text.removeprefix("/me ")
        html = _BOLD.sub(r"<strong>\1</strong>", body)
        return Text(_BOLD.sub(r"\1", body), html if html != body else None, emote)

    def report(self, status: SessionStatus, reason: str = "") -> None:
        self.sink.report(SessionState(status, reason))


class PigeonNetwork:
    """A `Network`."""

    name = NetworkName("pigeons")
    title = "Pigeons"
    login: type[PigeonLogin] = PigeonLogin
    session: type[PigeonSession] = PigeonSession

    def __init__(self, loft: Loft) -> None:
        self.loft = loft

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def start_login(self) -> PigeonLogin:
        return self.login(self)

    def open_session(self, login: Login, sink: EventSink) -> PigeonSession:
        return self.session(self, login, sink)

    def parse_contact(self, text: str) -> ContactId:
        address = text.strip()
        with contextlib.suppress(UnicodeError):
            if 0 < len(address.encode()) <= 300 and address.isprintable():
                return ContactId(address)
        raise UserError("That is no address. One looks like this: hedwig")

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return f"pigeons:{quote(contact, safe='')}"
