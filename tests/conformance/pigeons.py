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
from dm_bridge.network.abilities import (
    OutgoingEdit,
    OutgoingReactions,
    OutgoingRead,
    OutgoingRetraction,
)
from dm_bridge.network.api import (
    Capabilities,
    Contact,
    EventSink,
    Login,
    Outgoing,
    OutgoingMessage,
)
from dm_bridge.network.events import (
    ContactMoved,
    RemoteEdit,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    RemoteReactions,
    RemoteRead,
    RemoteReceived,
    RemoteRetraction,
    SessionState,
    SessionStatus,
    Text,
)
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField
from dm_bridge.network.media import Media, OutgoingMedia, kind_of
from dm_bridge.network.signals import Availability, RemotePresence, RemoteTyping
from dm_bridge.testing.conformance import Shared

from .loft import AWAY_FOR_GOOD, FORGETS, RETRY, Box, Link, Loft, Note, Shown
from .pigeon_history import PigeonHistory

LARGEST = 2000
LARGEST_FILE = 400_000
QUIET = 0.1
"""Seconds after which the loft is asked for a sign of life."""
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


class PigeonSession(PigeonHistory):
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
        replies=True,
        edits=True,
        retractions=True,
        reactions=True,
        reads=True,
        typing=True,
        presence=True,
        media=True,
        largest_media=LARGEST_FILE,
        history=True,
    )

    def __init__(self, network: PigeonNetwork, login: Login, sink: EventSink) -> None:
        self.network, self.login, self.sink = network, login, sink
        self.loft = network.loft
        self.position = int(login.position or 0)
        self.link: Link | None = None
        self.refused = False
        self.task: asyncio.Task[None] | None = None
        self.shows: Shown = (Availability.ONLINE, "")
        self.typing_in: dict[ChatId, asyncio.Task[None]] = {}

    @property
    def box(self) -> Box:
        return self.loft.boxes[self.login.remote]

    async def connect(self) -> None:
        self.task = asyncio.create_task(self.run())

    async def disconnect(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        for chat in list(self.typing_in):
            await self.stop_typing(chat)
        self.unlink()

    def unlink(self) -> None:
        if self.link is not None:
            self.link.broken.set()
            self.link = None
            self.box.listens = None
            self.box.shows = AWAY_FOR_GOOD

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact, name=contact.title())

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    # -- sending

    async def send(self, message: OutgoingMessage) -> RemoteId:
        about = "" if message.reply_to is None else message.reply_to.id
        if isinstance(message.attachment, OutgoingMedia):
            return await self.send_file(message, message.attachment)
        await self.stop_typing(message.chat)
        return await self.does(
            message, self.to_wire(message.content), "reply" if about else "", about
        )

    async def edit(self, edit: OutgoingEdit) -> RemoteId:
        return await self.does(edit, self.to_wire(edit.content), "edit", edit.target.id)

    async def retract(self, retraction: OutgoingRetraction) -> RemoteId:
        return await self.does(retraction, "", "retraction", retraction.target.id)

    async def react(self, reactions: OutgoingReactions) -> RemoteId:
        emojis = "\n".join(" ".join(emoji.split()) for emoji in reactions.emojis)
        return await self.does(reactions, emojis, "reactions", reactions.target.id)

    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        link = self.linked()
        content = b""
        async with file.source.open() as opened:
            if opened.size > LARGEST_FILE:
                raise NetworkError(
                    f"A pigeon carries at most {LARGEST_FILE // 1000} kB. Send a link."
                )
            async for chunk in opened.chunks:
                content += chunk
        text = self.to_wire(message.content) if message.content.body else ""
        shared = Shared(self.box.address, file.name, file.mimetype, content, text)
        return RemoteId(await self.post_file(link, message, text, shared))

    async def post_file(self, link: Link, message: Outgoing, text: str, file: Shared) -> str:
        return await self.loft.call(
            link,
            lambda: self.loft.post(self.box, message.chat, text, message.id, file=file),
        )

    # -- what the user shows

    async def typing(self, chat: ChatId, typing: bool) -> None:
        link = self.linked()
        await self.stop_typing(chat)
        if typing:
            self.typing_in[chat] = asyncio.create_task(self.go_on_typing(link, chat))
        else:
            await self.tell(link, chat, False)

    async def go_on_typing(self, link: Link, chat: ChatId) -> None:
        with contextlib.suppress(NetworkError):
            while True:
                await self.tell(link, chat, True)
                await asyncio.sleep(FORGETS / 4)

    async def stop_typing(self, chat: ChatId) -> None:
        if (task := self.typing_in.pop(chat, None)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def tell(self, link: Link, chat: ChatId, typing: bool) -> None:
        await self.loft.call(link, lambda: self.loft.tell(self.box.address, chat, typing))

    async def read(self, read: OutgoingRead) -> None:
        await self.loft.call(
            self.linked(), lambda: self.loft.reads(self.box, read.chat, read.target.id, "seen")
        )

    async def appear(self, availability: Availability, text: str) -> None:
        self.shows = availability, text
        await self.show(self.linked())

    async def show(self, link: Link) -> None:
        def shows() -> None:
            self.box.shows = self.shows

        await self.loft.call(link, shows)

    def linked(self) -> Link:
        if self.refused:
            raise CredentialsError("The loft does not accept this login any more.")
        if self.link is None or self.link.broken.is_set():
            raise NetworkError("The loft is not connected.", retry_after=RETRY)
        return self.link

    async def does(self, what: Outgoing, wire: str, deed: str, about: str) -> RemoteId:
        return RemoteId(await self.post(self.linked(), what, wire, deed, about))

    async def post(self, link: Link, message: Outgoing, wire: str, *deed: str) -> str:
        return await self.loft.call(
            link, lambda: self.loft.post(self.box, message.chat, wire, message.id, "sent", *deed)
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
                self.listen()
                await self.show(self.link)
                await self.follow(self.link)
            except CredentialsError as error:
                self.refused = True
                self.report(SessionStatus.BAD_CREDENTIALS, str(error))
                return
            except NetworkError as error:
                self.report(SessionStatus.TRANSIENT_DISCONNECT, str(error))
            self.unlink()
            await asyncio.sleep(RETRY)

    def listen(self) -> None:
        """Hear of what is gone a moment later, from now on."""
        self.box.listens = self.hears
        for friend in self.box.friends:
            self.hears(friend, self.loft.people[friend].shows)

    def hears(self, who: str, what: bool | Shown) -> None:
        chat, contact = ChatId(who), ContactId(who)
        if isinstance(what, bool):
            self.sink.signal(RemoteTyping(chat, contact, what))
        else:
            self.sink.signal(RemotePresence(chat, contact, *what))

    async def follow(self, link: Link) -> None:
        while True:
            notes = await self.fetch(link)
            if notes:
                events = [self.event(note) for note in notes]
                await self.store([event for event in events if event], notes[-1].number)
                self.acknowledge(notes)
                self.position = notes[-1].number

    async def fetch(self, link: Link) -> Sequence[Note]:
        """The next notes of the log, as soon as there are any."""
        while len(self.box.log) <= self.position:
            self.box.news.clear()
            waiting = [asyncio.create_task(event.wait()) for event in (self.box.news, link.broken)]
            try:
                done, _ = await asyncio.wait(
                    waiting, timeout=QUIET, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
            if link.broken.is_set():
                break
            if not done:
                await self.ask(link)
        return await self.loft.call(link, lambda: self.box.log[self.position : self.position + 3])

    async def ask(self, link: Link) -> None:
        """Ask for a sign of life."""
        await self.loft.call(link, lambda: None)

    def acknowledge(self, notes: Sequence[Note]) -> None:
        for note in notes:
            if note.kind == "text" and not note.deed:
                self.loft.reads(self.box, note.chat, str(note.number), "received")

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
            case "read" | "own read":
                target = RemoteId(note.about)
                return RemoteRead(chat, identifier, target, from_self=note.kind != "read")
            case "received":
                return RemoteReceived(chat, identifier, RemoteId(note.about))
        own = note.kind == "own"
        sender = self.login.remote if own else ContactId(note.chat)
        target = RemoteId(note.about.replace("\0", "") or "nothing")
        match note.deed:
            case "edit":
                content = self.from_wire(note.text)
                return RemoteEdit(chat, identifier, target, sender, own, content)
            case "retraction":
                return RemoteRetraction(chat, identifier, target, sender, own)
            case "reactions":
                emojis = tuple(note.text.splitlines())
                return RemoteReactions(chat, identifier, target, sender, own, emojis)
        content = self.from_wire(note.text)
        answered = target if note.deed else None
        media = None if note.file is None else self.media(note.file)
        return RemoteMessage(
            chat, identifier, sender, own, content, reply_to=answered, attachment=media
        )

    def media(self, file: Shared) -> Media:
        return Media(
            kind=kind_of(file.mimetype),
            name=file.name,
            mimetype=file.mimetype,
            size=len(file.content),
            url=self.loft.keep(file.content),
        )

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
