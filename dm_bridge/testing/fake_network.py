"""A foreign network in memory, with its connector: accounts, contacts, an archive, streams that can be resumed.

It is like XMPP: a message has the id that its sender gave it (``origin``) and, where the server keeps an
archive, a number there. What the user writes on another device comes as a copy without that number.

Of two sessions of one account the newer one stays: the server ends the older stream, as with XMPP where both use
the same resource.

The rule that must never break: the server keeps a live message until it was acknowledged, or can be asked for
in the archive; the session acknowledges only what the bridge has committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from dm_bridge.errors import CredentialsError, NetworkError, StorageError, UserError
from dm_bridge.ids import ChatId, ContactId, NetworkName, RemoteId
from dm_bridge.network.api import Capabilities, Contact, EventSink, Login, OutgoingMessage
from dm_bridge.network.events import RemoteMessage, SessionState, SessionStatus, Text
from dm_bridge.network.history import HistoryPage, RecordEntry, RecordPart
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginField, LoginStep

T = TypeVar("T")

FAKE = NetworkName("fake")
PAGE = 5
CONFLICT_PAUSE = 60.0
"""Seconds until a session comes back whose stream was ended for a newer one."""
POISON = "☠"
"""The connector cannot send a message with this in it."""


@dataclass(frozen=True, slots=True)
class Stanza:
    """A message as the server has it. ``number``: its place in the account's archive, from 1 on."""

    number: int
    chat: ChatId
    origin: str
    body: str
    from_self: bool
    at: float


@dataclass(slots=True)
class Account:
    """One account on the server. ``unacknowledged``: what its stream has not acknowledged."""

    address: ContactId
    password: str
    archive: list[Stanza] = field(default_factory=list)
    unacknowledged: list[Stanza] = field(default_factory=list)
    stream: FakeSession | None = None
    broken: FakeSession | None = None
    """The session whose stream broke, and may be resumed."""


class Line(Protocol):
    """How one process reaches the network. Raises `NetworkError`."""

    async def call(self, what: str, work: Callable[[], T]) -> T:
        """Have ``work`` done on the server."""
        ...


class NoDistance:
    """A line without delay and without faults."""

    async def call(self, what: str, work: Callable[[], T]) -> T:
        return work()


class FakeNetworkServer:
    """``archives``: whether it keeps archives; else what was not acknowledged is delivered again.

    ``down``: nobody can connect. ``resumes``: whether a stream that broke can be resumed. ``refuses``: chats
    that it accepts no messages for.
    """

    def __init__(self, clock: Callable[[], float], *, archives: bool = True) -> None:
        self._clock = clock
        self.archives = archives
        self.accounts: dict[ContactId, Account] = {}
        self.down = False
        self.resumes = True
        self.refuses: set[ChatId] = set()
        self.on_store: list[Callable[[Account, Stanza], None]] = []
        """Told of each message, whoever wrote it."""
        self.on_take: list[Callable[[Account, OutgoingMessage], None]] = []
        """Told of each message that came through the bridge."""

    def account(self, address: str, password: str = "sesame") -> Account:  # noqa: S107
        """A new account."""
        account = Account(ContactId(address), password)
        self.accounts[account.address] = account
        return account

    def say(self, account: Account, contact: str, body: str, origin: str) -> None:
        """A contact writes to an account."""
        self._live(account, self._store(account, ChatId(contact), origin, body, from_self=False))

    def say_elsewhere(self, account: Account, contact: str, body: str, origin: str) -> None:
        """The account's owner writes on another device."""
        self._live(account, self._store(account, ChatId(contact), origin, body, from_self=True))

    def take(self, account: Account, message: OutgoingMessage) -> None:
        """The account's owner writes through the bridge."""
        body = message.content.body
        for tell in self.on_take:
            tell(account, message)
        self._store(account, message.chat, message.id, body, from_self=True)

    def refuse(self, contact: str) -> None:
        """A contact takes no messages from now on."""
        self.refuses.add(ChatId(contact))

    def accept(self, contact: str) -> None:
        """A contact takes messages again."""
        self.refuses.discard(ChatId(contact))

    def _store(
        self, account: Account, chat: ChatId, origin: str, body: str, *, from_self: bool
    ) -> Stanza:
        number = len(account.archive) + 1
        stanza = Stanza(number, chat, origin, body, from_self, self._clock())
        account.archive.append(stanza)
        for tell in self.on_store:
            tell(account, stanza)
        return stanza

    def _live(self, account: Account, stanza: Stanza) -> None:
        if account.stream or account.broken or not self.archives:
            account.unacknowledged.append(stanza)
        if account.stream is not None:
            account.stream.arrived()


class FakeSession:
    """A `Session`, of a ``network`` in one process."""

    def __init__(self, network: FakeNetwork, login: Login, sink: EventSink) -> None:
        self.network = network
        self._login = login
        self._sink = sink
        self._position = int(login.position or 0)
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._online = False
        self._caught_up = False
        self._replaced = False
        self._read: set[str] = set()
        """What was read from the archive, and may come live as well: a copy has no number to tell it by."""

    @property
    def _account(self) -> Account:
        return self.network.server.accounts[self._login.remote]

    async def connect(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"fake session {self._login.id}")

    async def disconnect(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.drop()

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact, name=contact.title())

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        server, account = self.network.server, self._account
        if not self._online:
            raise NetworkError("The network is not connected.", retry_after=1.0)
        if message.attempted is not None:
            if not server.archives:
                raise NetworkError("The connection broke while it was sent.", certain=False)
            found = await self.network.line.call(
                "look for", lambda: any(one.origin == message.id for one in account.archive)
            )
            if found:
                return message.id
        if POISON in message.content.body:
            raise ValueError("a bug of the connector")
        if message.chat in server.refuses:
            raise NetworkError("The contact does not take messages.")

        def work() -> None:
            if self._replaced:
                raise NetworkError("The connection broke.", certain=False, retry_after=1.0)
            server.take(account, message)

        await self.network.line.call("send", work)
        return message.id

    @property
    def capabilities(self) -> Capabilities:
        """It can read its server's archive backwards; what else it does is not declared."""
        return Capabilities(history=self.network.server.archives)

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        """See `History`. Places are numbers of the archive, of the message after."""

        def part() -> list[Stanza]:
            archive = self._account.archive
            end = len(archive) if until is None else int(until)
            end = end if further is None else int(further) - 1
            return archive[max(0, end - PAGE) : end]

        stanzas = await self._call("archive", part)
        entries = tuple(RecordEntry(archived(each), str(each.number)) for each in stanzas)
        more = bool(stanzas) and stanzas[0].number > 1
        return RecordPart(entries, str(stanzas[0].number) if more else None, len(stanzas))

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        """See `History`."""

        def page() -> list[Stanza]:
            archive = self._account.archive
            end = len(archive) if place is None else int(place) - 1
            return [stanza for stanza in archive[:end] if stanza.chat == chat]

        found = await self._call("archive", page)
        cut = found[-messages:]
        older = str(cut[0].number) if len(found) > len(cut) else None
        return HistoryPage(tuple(map(archived, cut)), older)

    async def _call(self, what: str, work: Callable[[], T]) -> T:
        if not self._online:
            raise NetworkError("The network is not connected.", retry_after=1.0)
        return await self.network.line.call(what, work)

    @property
    def behind(self) -> bool:
        """Whether something was not read, or not acknowledged, yet."""
        return not self._online or not self._caught_up or bool(self._account.unacknowledged)

    # -- the stream

    def arrived(self) -> None:
        """The server has something for this stream."""
        self._news.set()

    def drop(self) -> None:
        """The stream breaks; the server keeps what was not acknowledged for as long as it may be resumed."""
        self._online = False
        if self._account.stream is self:
            self._account.stream, self._account.broken = None, self
        self._news.set()

    def replaced(self) -> None:
        """The server ends the stream: there is a newer one of the same account."""
        self._online, self._replaced = False, True
        self._news.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                self._report(SessionStatus.CONNECTING)
                if not await self._begin():
                    return
                failures = 0
                await self._listen()
            except NetworkError as error:
                failures += 1
                self._report(SessionStatus.TRANSIENT_DISCONNECT, str(error))
            self.drop()
            await asyncio.sleep(
                CONFLICT_PAUSE if self._replaced else min(30.0, 0.5 * 2.0**failures)
            )

    async def _begin(self) -> bool:
        """Open a stream, or resume the one before. False when the credentials are refused."""
        server, account = self.network.server, self._account

        def work() -> bool:
            if server.down:
                raise NetworkError("The network cannot be reached.", retry_after=1.0)
            if account.password != self._login.credentials.get("password"):
                return False
            resumed = account.broken is self and server.resumes
            if not resumed and server.archives:
                account.unacknowledged.clear()
            if account.stream is not None and account.stream is not self:
                account.stream.replaced()
            account.stream, account.broken = self, None
            self._online, self._replaced = True, False
            self._caught_up = (resumed and self._caught_up) or not server.archives
            return True

        if not await self.network.line.call("connect", work):
            self._report(SessionStatus.BAD_CREDENTIALS, "The password was refused.")
            return False
        return True

    async def _listen(self) -> None:
        self._report(SessionStatus.CONNECTED)
        if not self._caught_up:
            await self._catch_up()
        while self._online:
            waiting = self._account.unacknowledged
            if not waiting:
                self._news.clear()
                await self._news.wait()
                continue
            await self._live(waiting[0])
        raise NetworkError("The connection broke.")

    async def _catch_up(self) -> None:
        account = self._account

        def page() -> list[Stanza]:
            return account.archive[self._position : self._position + PAGE]

        while stanzas := await self.network.line.call("archive", page):
            if not self._online:
                raise NetworkError("The connection broke.")
            self._read.update(stanza.origin for stanza in stanzas)
            await self._deliver([archived(stanza) for stanza in stanzas], stanzas[-1].number)
        self._caught_up = True

    async def _live(self, stanza: Stanza) -> None:
        server = self.network.server
        copy = stanza.from_self or not server.archives
        event = live(stanza, archives=server.archives)
        if stanza.origin not in self._read:
            await self._deliver([event], None if copy else stanza.number)
        if self._online:
            acknowledged = self._account.unacknowledged
            await self.network.line.call(
                "acknowledge",
                lambda: (
                    acknowledged.remove(stanza)
                    if stanza in acknowledged and not self._replaced
                    else None
                ),
            )

    async def _deliver(self, events: list[RemoteMessage], position: int | None) -> None:
        while True:
            try:
                await self._sink.deliver(events, None if position is None else str(position))
                break
            except StorageError:
                await asyncio.sleep(1.0)
        if position is not None:
            self._position = position

    def _report(self, status: SessionStatus, reason: str = "") -> None:
        self._sink.report(SessionState(status, reason))


def live(stanza: Stanza, *, archives: bool) -> RemoteMessage:
    """A message as it comes down a stream: a copy of the user's own has no number."""
    numbered = archives and not stanza.from_self
    identifier = f"n{stanza.number}" if numbered else f"o{stanza.origin}"
    return _message(stanza, RemoteId(identifier))


def archived(stanza: Stanza) -> RemoteMessage:
    """A message as it is read from the archive, which may be one that came live, or one of the bridge's."""
    if not stanza.from_self:
        return _message(stanza, RemoteId(f"n{stanza.number}"))
    other, sent = RemoteId(f"o{stanza.origin}"), RemoteId(stanza.origin)
    return _message(stanza, RemoteId(f"n{stanza.number}"), other, sent)


def _message(
    stanza: Stanza,
    identifier: RemoteId,
    other: RemoteId | None = None,
    sent: RemoteId | None = None,
) -> RemoteMessage:
    return RemoteMessage(
        stanza.chat,
        identifier,
        ContactId(stanza.chat),
        stanza.from_self,
        Text(stanza.body),
        stanza.at,
        None,
        other,
        sent,
    )


class FakeLoginProcess:
    """Asks for an address and a password, which the server knows."""

    def __init__(self, network: FakeNetwork) -> None:
        self._network = network

    def start(self) -> AskStep:
        return AskStep(
            (
                LoginField("address", "address"),
                LoginField("password", "password", FieldKind.SECRET),
            )
        )

    def check(self, field: str, value: str) -> None:
        if field == "address":
            self._network.parse_contact(value)

    async def submit(self, values: Mapping[str, str]) -> LoginStep:
        address = self._network.parse_contact(values["address"])
        account = self._network.server.accounts.get(address)
        if account is None or account.password != values["password"]:
            raise CredentialsError("The network does not know this address and password.")
        return self._network.login_of(account)

    async def cancel(self) -> None: ...


class FakeNetwork:
    """The connector's `Network`, in one process, which reaches the ``server`` by ``line``."""

    name = FAKE
    title = "Fake Network"

    def __init__(self, server: FakeNetworkServer, line: Line | None = None) -> None:
        self.server = server
        self.line: Line = line or NoDistance()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def login_of(self, account: Account) -> LoginDone:
        """What a login as ``account`` yields; it begins at the newest message."""
        position = str(len(account.archive)) if self.server.archives else None
        credentials = {"password": account.password}
        return LoginDone(account.address, account.address, credentials, position)

    def start_login(self) -> FakeLoginProcess:
        return FakeLoginProcess(self)

    def open_session(self, login: Login, sink: EventSink) -> FakeSession:
        return FakeSession(self, login, sink)

    def parse_contact(self, text: str) -> ContactId:
        if "@" not in text:
            raise UserError("That is no address. One looks like `romeo@example.net`.")
        return ContactId(text.lower())

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return f"fake:{contact}"
