"""A network that does as it is told, and a homeserver that remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mautrix.api import PathBuilder

from dm_bridge.errors import HomeserverError, UserError
from dm_bridge.ids import ChatId, ContactId, EventId, NetworkName, RemoteId, RoomId, UserId
from dm_bridge.network.api import Contact, EventSink, Login, OutgoingMessage
from dm_bridge.network.events import SessionState, SessionStatus
from dm_bridge.network.login import (
    AskStep,
    FieldKind,
    LoginDone,
    LoginField,
    LoginStep,
    WaitStep,
)

FAKE = NetworkName("fake")
NO_ADDRESS = "nonsense"
FIELDS = (
    LoginField("address", "address"),
    LoginField("password", "password", FieldKind.SECRET),
)


async def until(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds; fail after five seconds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


class FakeSession:
    """``sent``: what it was asked to send. ``report`` and ``sink`` let a test speak for the network."""

    def __init__(self, login: Login, sink: EventSink) -> None:
        self.login = login
        self.sink = sink
        self.connected = False
        self.closed = False
        self.sent: list[OutgoingMessage] = []
        self.closing: Callable[[], Awaitable[None]] | None = None

    def report(self, status: SessionStatus, reason: str = "") -> None:
        self.sink.report(SessionState(status, reason))

    async def connect(self) -> None:
        if self.login.remote.startswith("raises-in-connect"):
            raise RuntimeError("a bug in connect")
        self.connected = True
        self.report(SessionStatus.CONNECTED)

    async def disconnect(self) -> None:
        if self.closing is not None:
            await self.closing()
        self.closed = True

    async def contact(self, contact: ContactId) -> Contact:
        return Contact(contact, name=contact.title())

    def chat_with(self, contact: ContactId) -> ChatId:
        return ChatId(contact)

    async def send(self, message: OutgoingMessage) -> RemoteId:
        self.sent.append(message)
        return RemoteId(f"sent-{len(self.sent)}")


class FakeLoginProcess:
    """Accepts any password; ``trouble`` is raised instead, when there is one, and ``shows`` is shown before."""

    def __init__(self, network: FakeNetwork) -> None:
        self._network = network
        self._values: dict[str, str] = {}

    def start(self) -> AskStep:
        return AskStep(FIELDS)

    def check(self, field: str, value: str) -> None:
        if field == "address" and value == NO_ADDRESS:
            raise UserError("That is no address.")

    async def submit(self, values: Mapping[str, str]) -> LoginStep:
        self._network.log.append("asked")
        self._network.submitted.append(dict(values))
        if self._network.trouble is not None:
            raise self._network.trouble
        self._values |= values
        if self._network.shows:
            return self._network.shows.pop(0)
        address = ContactId(self._values["address"])
        return LoginDone(address, address, {"password": self._values["password"]})

    async def cancel(self) -> None:
        self._network.log.append("cancelled")


class FakeNetwork:
    """A network named ``fake``."""

    name = FAKE
    title = "Fake Network"

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.submitted: list[dict[str, str]] = []
        self.log: list[str] = []
        self.trouble: Exception | None = None
        self.shows: list[WaitStep] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def start_login(self) -> FakeLoginProcess:
        return FakeLoginProcess(self)

    def open_session(self, login: Login, sink: EventSink) -> FakeSession:
        if login.remote.startswith("raises-in-open"):
            raise RuntimeError("a bug in open_session")
        session = FakeSession(login, sink)
        self.sessions.append(session)
        return session

    def parse_contact(self, text: str) -> ContactId:
        if "@" not in text:
            raise UserError("That is no address. One looks like `romeo@example.net`.")
        return ContactId(text.lower())

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return f"fake:{contact}"


class FakeHomeserver:
    """``calls``: what was asked, as (verb, what, user). ``rooms``: who is in which.

    ``state``: contents with an empty key by type, of every room.
    ``documents``: m.direct by user; ``before``: awaited before a read or a write of one.
    """

    url = "http://fake"

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, UserId | None]] = []
        self.rooms: dict[RoomId, dict[UserId, str]] = {}
        self.said: list[tuple[RoomId, str]] = []
        self.refuses: dict[str, HomeserverError] = {}
        self.documents: dict[UserId, bytes] = {}
        self.before: Callable[[str, UserId], Awaitable[None]] | None = None
        self.transactions: dict[str, EventId] = {}
        self.timeline: list[dict[str, Any]] = []
        self.state: dict[str, dict[str, Any]] = {}

    def _ask(self, verb: str, what: Any, user: UserId | None) -> None:
        self.calls.append((verb, what, user))
        if verb in self.refuses:
            raise self.refuses[verb]

    def verbs(self, *kinds: str) -> list[tuple[str, Any, UserId | None]]:
        return [call for call in self.calls if call[0] in kinds]

    async def send(
        self,
        room: RoomId,
        event_type: str,
        content: dict[str, Any],
        transaction: str,
        *,
        user: UserId,
        timestamp: float | None = None,
    ) -> EventId:
        self._ask("send", (room, content), user)
        if transaction not in self.transactions:
            self.said.append((room, content["body"]))
            self.transactions[transaction] = EventId(f"$sent-{len(self.transactions)}")
        return self.transactions[transaction]

    async def redact(
        self,
        room: RoomId,
        event: EventId,
        transaction: str,
        reason: str,
        *,
        user: UserId,
        mark: object = None,
    ) -> None:
        self._ask("redact", event, user)

    async def join(self, room: RoomId, *, user: UserId) -> None:
        self._ask("join", room, user)
        self.rooms.setdefault(room, {})[user] = "join"

    async def leave(self, room: RoomId, *, user: UserId, reason: str = "") -> None:
        self._ask("leave", (room, reason), user)
        self.rooms.setdefault(room, {}).pop(user, None)

    async def members(self, room: RoomId, *, user: UserId) -> dict[UserId, str]:
        self._ask("members", room, user)
        return dict(self.rooms.get(room, {}))

    async def request(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId | None = None,
        body: dict[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        **_: object,
    ) -> dict[str, Any]:
        self._ask("request", str(path), user)
        if "/state/" in str(path):
            event_type = str(path).rstrip("/").rpartition("/")[2]
            if event_type not in self.state:
                raise HomeserverError("no such state", status=404, errcode="M_NOT_FOUND")
            return self.state[event_type]
        return {"chunk": list(reversed(self.timeline))}

    async def request_raw(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId | None = None,
        data: bytes | None = None,
        **_: object,
    ) -> bytes:
        assert user is not None
        await asyncio.sleep(0)
        if self.before is not None:
            await self.before(method, user)
        self._ask(method, data, user)
        if method == "PUT":
            assert data is not None
            self.documents[user] = data
            return b"{}"
        if user not in self.documents:
            raise HomeserverError("never set", status=404, errcode="M_NOT_FOUND")
        return self.documents[user]
