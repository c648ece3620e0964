"""Ghosts, brought to life once: registered and named before they do anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ContactId, GhostNamespace, NetworkName, UserId
from dm_bridge.matrix import ghosts
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.store.portals import PortalStore

log = structlog.get_logger(__name__)


class Ghosts:
    """The ghosts of one bridge."""

    def __init__(
        self, homeserver: Homeserver, store: PortalStore, namespace: GhostNamespace
    ) -> None:
        self._homeserver = homeserver
        self._store = store
        self.namespace = namespace
        self._busy: dict[UserId, asyncio.Lock] = {}

    def user_id(self, network: NetworkName, contact: ContactId) -> UserId:
        """The ghost's user id."""
        return self.namespace.user_id(network, contact)

    async def ensure(self, network: NetworkName, contact: ContactId, name: str) -> UserId:
        """Register and name the ghost of ``contact`` unless that has been done; its user id.

        ``name`` is set when the ghost is new; a known ghost keeps the name it has.
        """
        user = self.user_id(network, contact)
        lock = self._busy.setdefault(user, asyncio.Lock())
        try:
            async with lock:
                row = await self._store.ghost(network, contact, user)
                if not row.registered:
                    await ghosts.register(self._homeserver, user)
                    await self.act(user, lambda: ghosts.set_name(self._homeserver, user, name))
                    await self._store.set_ghost(user, name)
        finally:
            if not lock.locked():
                self._busy.pop(user, None)
        return user

    async def act(self, user: UserId, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` as a ghost; once more, when it is refused: the homeserver may have forgotten the ghost."""
        try:
            await work()
        except HomeserverError as error:
            if error.status != 403:
                raise
            if not await self.revived(user):
                await self._name(user)  # who else revived it may not have come to that
            await work()

    async def revived(self, user: UserId) -> bool:
        """The homeserver refuses something to a ghost: register it again if it does not know it any more.

        Whether that was so. It happens when a homeserver is restored from a backup.
        """
        if not await ghosts.register(self._homeserver, user):
            return False
        await self._name(user)
        log.warning("the homeserver had forgotten a ghost", user=user)
        return True

    async def _name(self, user: UserId) -> None:
        contact = await self.contact(user)
        if contact is not None:
            row = await self._store.ghost(*contact, user)
            await ghosts.set_name(self._homeserver, user, row.name or contact[1])
            if row.avatar_url is not None:
                await ghosts.set_avatar(self._homeserver, user, row.avatar_url)

    async def contact(self, user: UserId) -> tuple[NetworkName, ContactId] | None:
        """Whom a ghost stands for; None when it is no ghost of ours, or one we cannot know."""
        name = self.namespace.parse(user)
        if name is None:
            return None
        contact = name.contact or await self._store.ghost_contact(user)
        return None if contact is None else (name.network, contact)
