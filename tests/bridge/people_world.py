"""Logins on a network that knows people, over stores in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId, UserId
from dm_bridge.network.api import Capabilities, Contact, EventSink, Login
from dm_bridge.network.login import LoginDone
from dm_bridge.network.signals import RemoteProfile
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.sealing import SealingKey
from dm_bridge.testing.memory import (
    MemoryDatabase,
    MemoryInboxStore,
    MemoryLoginStore,
    MemoryPeopleStore,
    MemoryPortalStore,
)

from .fakes import FAKE, FakeNetwork, FakeSession

USER = UserId("@juliet:example.org")
NURSE = UserId("@nurse:example.org")
ROMEO = ContactId("romeo@example.net")
EVERYTHING = Capabilities(profiles=True, contacts=True, search=True, blocks=True, requests=True)


@dataclass
class People:
    """What a network knows of people. ``did``: what was done about them."""

    contacts: list[Contact] = field(default_factory=list)
    profiles: dict[ContactId, RemoteProfile] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    directory: list[Contact] = field(default_factory=list)
    blocked: list[ContactId] = field(default_factory=list)
    did: list[tuple[str, ContactId]] = field(default_factory=list)
    can: Capabilities = EVERYTHING
    trouble: NetworkError | None = None


class PeopleSession(FakeSession):
    """A session with all that there is about people."""

    def __init__(self, login: Login, sink: EventSink, people: People) -> None:
        super().__init__(login, sink)
        self.people = people

    @property
    def capabilities(self) -> Capabilities:
        return self.people.can

    async def contact(self, contact: ContactId) -> Contact:
        known = (each for each in self.people.contacts if each.id == contact)
        return next(known, Contact(contact))

    async def profile(self, contact: ContactId) -> RemoteProfile:
        self._trouble()
        return self.people.profiles.get(contact, RemoteProfile(contact))

    async def avatar(self, contact: ContactId, avatar: str) -> bytes:
        self._trouble()
        self.people.did.append((f"avatar {avatar}", contact))
        return self.people.pictures[avatar]

    async def contacts(self) -> Sequence[Contact]:
        return self.people.contacts

    async def search(self, text: str) -> Sequence[Contact]:
        self._trouble()
        return self.people.directory

    async def block(self, contact: ContactId) -> None:
        self.people.blocked.append(contact)

    async def unblock(self, contact: ContactId) -> None:
        self.people.blocked.remove(contact)

    async def blocked(self) -> Sequence[ContactId]:
        self._trouble()
        return self.people.blocked

    async def accept(self, contact: ContactId) -> None:
        self.people.did.append(("accept", contact))

    async def decline(self, contact: ContactId) -> None:
        self.people.did.append(("decline", contact))

    def _trouble(self) -> None:
        if self.people.trouble is not None:
            raise self.people.trouble


class PeopleNetwork(FakeNetwork):
    """``people``: what it knows of them; each login has a session that asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.people = People()

    def open_session(self, login: Login, sink: EventSink) -> PeopleSession:
        session = PeopleSession(login, sink, self.people)
        self.sessions.append(session)
        return session

    def readable(self, contact: ContactId) -> str:
        return contact.replace(r"\40", " at ")


@dataclass
class World:
    """``told``: what users were told by the bot, in order."""

    database: MemoryDatabase
    network: PeopleNetwork
    logins: Logins
    people: MemoryPeopleStore
    portals: MemoryPortalStore
    told: list[tuple[UserId, str]]

    async def log_in(self, address: str, user: UserId = USER) -> LoginRow:
        done = LoginDone(ContactId(address), address, {"password": "x"})
        return await self.logins.add(user, FAKE, done)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """A bridge's logins; nobody is logged in."""
    database, network = MemoryDatabase(), PeopleNetwork()
    told: list[tuple[UserId, str]] = []

    async def tell(user: UserId, text: str) -> None:
        told.append((user, text))

    logins = Logins(
        {FAKE: network},
        MemoryLoginStore(database),
        MemoryInboxStore(database),
        SealingKey(bytes(32)),
        tell,
        lambda chats: None,
        lambda login: None,
        Metrics(),
    )
    people, portals = MemoryPeopleStore(database), MemoryPortalStore(database)
    try:
        yield World(database, network, logins, people, portals, told)
    finally:
        await logins.stop()
