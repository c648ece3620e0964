"""What a room is to the bridge: a chat's, one that a chat had before, the bot's, or a space.

The rule that must never break: a room that belongs to a chat is found to, whichever is ahead of the other, the
homeserver or the database.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.management import Management
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.spaces import Spaces
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.portals import PortalRow, PortalStore


@dataclass(frozen=True, slots=True)
class Found:
    """``former``: the portal had this room before. ``manager``: whose room with the bot it is.

    ``space``: whose space it is.
    """

    portal: PortalRow | None = None
    former: bool = False
    manager: UserId | None = None
    space: UserId | None = None


class RoomPortals:
    """Looks rooms up. Raises `HomeserverError`, `StorageError`. ``spaces``: None where there are none."""

    def __init__(
        self,
        store: PortalStore,
        portals: Portals,
        logins: Logins,
        management: Management,
        spaces: Spaces | None = None,
    ) -> None:
        self._spaces = spaces
        self._store = store
        self._portals = portals
        self._logins = logins
        self._management = management

    async def find(self, room: RoomId, sender: UserId) -> Found:
        """What ``room`` is, in which ``sender`` did something."""
        portal = await self._store.by_room(room) or await self._succeeding(room)
        if portal is not None:
            return Found(portal)
        former = await self._store.by_former_room(room)
        if former is not None:
            return Found(former, former=True)
        manager = await self._management.user_of(room)
        if manager is not None:
            return Found(manager=manager)
        space = None if self._spaces is None else await self._spaces.owner(room)
        if space is not None:
            return Found(space=space)
        return Found(await self._being_made(room, sender))

    async def _succeeding(self, room: RoomId) -> PortalRow | None:
        """The portal whose room this is about to be."""
        waiting = await self._store.by_successor(room)
        login = None if waiting is None else await self._logins.row(waiting.key.login)
        if waiting is None or login is None:
            return None
        network = self._logins.network_of(login)
        if not await self._portals.follow(waiting.key, login, network, room):
            return None
        return await self._store.by_room(room)

    async def _being_made(self, room: RoomId, sender: UserId) -> PortalRow | None:
        """The portal whose room this is although that is not recorded yet: somebody was quicker than we."""
        for row in await self._store.creating(sender):
            login = await self._logins.row(row.key.login)
            if login is not None and await self._portals.recognise(row.key, login, room):
                return await self._store.by_room(room)
        return None
