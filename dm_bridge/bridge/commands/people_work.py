"""What can be done about people by one of a user's logins: opening chats, and searching.

The rule that must never break: no room is made unless the user has said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dm_bridge.bridge.commands.resolving import By, Meant, listed_contacts, names_of
from dm_bridge.bridge.portal import OpenPortal, Portals
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId, PortalKey
from dm_bridge.network.api import Contact, capabilities_of
from dm_bridge.network.people import PEOPLE_SECONDS, Blocks, Searches
from dm_bridge.texts import phrase

T = TypeVar("T")

_BLOCKED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """Who was found: first those of the contact list, who are ``known``.

    ``problem``: why nobody of the network's directory is among them, if so; ``failed``: it could not be asked.
    """

    contacts: Sequence[Contact]
    known: frozenset[ContactId]
    problem: str = ""
    failed: bool = False


class People:
    """Does it."""

    def __init__(self, portals: Portals) -> None:
        self._portals = portals

    async def open(self, meant: Meant) -> tuple[OpenPortal, Contact]:
        """Open the chat with somebody. Raises `BridgeError`."""
        known = await meant.session.contact(meant.contact)
        portal = await self._portals.open(
            self.key(meant),
            meant.login,
            meant.network,
            meant.contact,
            name=known.name,
            private_name=known.private_name,
        )
        return portal, known

    def key(self, meant: Meant) -> PortalKey:
        """Of the chat with somebody."""
        return PortalKey(meant.login.id, meant.session.chat_with(meant.contact))

    async def is_blocked(self, meant: Meant) -> bool:
        """Whether the user has blocked somebody, as far as that can be told soon."""
        session = meant.session
        if not (capabilities_of(session).blocks and isinstance(session, Blocks)):
            return False
        try:
            async with asyncio.timeout(_BLOCKED_SECONDS):
                return meant.contact in await session.blocked()
        except (NetworkError, TimeoutError):
            return False  # whoever writes will hear of it

    async def search(self, by: By, text: str) -> Found:
        """Who is called so: in the contact list, and in a directory of the network."""
        wanted = " ".join(text.casefold().split())
        contacts = await listed_contacts(by)
        found = [
            each for each in contacts if any(wanted in name for name in names_of(by.network, each))
        ]
        known = frozenset(each.id for each in found)
        session = by.session
        if not (capabilities_of(session).search and isinstance(session, Searches)):
            return Found(found, known, phrase("search-no-directory"))
        try:
            elsewhere = await in_time(session.search(text))
        except NetworkError as error:
            return Found(found, known, str(error), failed=True)
        return Found([*found, *(each for each in elsewhere if each.id not in known)], known)


async def in_time(work: Awaitable[T]) -> T:
    """What ``work`` yields. Raises `NetworkError` when that takes too long."""
    try:
        async with asyncio.timeout(PEOPLE_SECONDS):
            return await work
    except TimeoutError as error:
        raise NetworkError(phrase("people-no-answer")) from error
