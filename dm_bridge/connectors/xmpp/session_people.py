"""What the bridge may ask a session about people: see `dm_bridge.network.people`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.directory import Directory
from dm_bridge.connectors.xmpp.people import People
from dm_bridge.ids import ContactId
from dm_bridge.network.api import Contact, EventSink
from dm_bridge.network.signals import RemoteProfile


class SessionPeople:
    """A part of `XmppSession`. ``timeout``: for each answer of the network, in seconds."""

    def __init__(self, sink: EventSink, timeout: float, log: Any) -> None:
        self._people = People(sink.signal, timeout, log)
        self._directory = Directory(timeout)

    @abstractmethod
    async def _ready_client(self) -> Client: ...

    async def contact(self, contact: ContactId) -> Contact:
        return self._people.contact(contact)

    async def profile(self, contact: ContactId) -> RemoteProfile:
        """See `Profiles`."""
        return await self._people.profile(await self._ready_client(), contact)

    async def avatar(self, contact: ContactId, avatar: str) -> bytes:
        """See `Profiles`."""
        return await self._people.avatar(await self._ready_client(), contact, avatar)

    async def contacts(self) -> list[Contact]:
        """See `Lists`."""
        return self._people.contacts()

    async def search(self, text: str) -> list[Contact]:
        """See `Searches`."""
        return await self._directory.search(await self._ready_client(), text)

    async def accept(self, contact: ContactId) -> None:
        """See `Answers`."""
        await self._people.accept(await self._ready_client(), contact)

    async def decline(self, contact: ContactId) -> None:
        """See `Answers`."""
        await self._people.decline(await self._ready_client(), contact)

    async def block(self, contact: ContactId) -> None:
        """See `Blocks`."""
        await self._people.block(await self._ready_client(), contact, block=True)

    async def unblock(self, contact: ContactId) -> None:
        """See `Blocks`."""
        await self._people.block(await self._ready_client(), contact, block=False)

    async def blocked(self) -> list[ContactId]:
        """See `Blocks`."""
        return await self._people.blocked(await self._ready_client())
