"""Whose share a room belongs to.

A chat's room belongs to the owner of its login, as does a login's space, and the bot's to the user who talks
there. Any other room belongs to who wrote first of what still waits there: whoever invites the bot or a ghost is
the one whom it will belong to.

The rule that must never break: once it is recorded whose a room is, every process says the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.instances import InstanceStore

MAX_KNOWN = 100_000


class Whose:
    """Looks it up, and remembers what does not change."""

    def __init__(self, store: InstanceStore) -> None:
        self._store = store
        self._known: dict[RoomId, UserId] = {}

    async def of(
        self, rooms: Collection[RoomId], senders: Mapping[RoomId, UserId] | None = None
    ) -> dict[RoomId, UserId]:
        """Whose these rooms are; left out where nothing waits. Raises `StorageError`.

        ``senders``: who sent the first event that is about to wait there.
        """
        found = {room: self._known[room] for room in rooms if room in self._known}
        missing = [room for room in rooms if room not in found]
        if missing:
            chats, managed = await self._store.users_of(missing)
            self._remember(chats)
            found |= managed | chats
            others = [room for room in missing if room not in found]
            if others:
                waiting = await self._store.first_senders(others)
                found |= {**(senders or {}), **waiting, **found}
        return {room: found[room] for room in rooms if room in found}

    def forget(self, user: UserId) -> None:
        """Nothing is a user's any more."""
        self._known = {room: owner for room, owner in self._known.items() if owner != user}

    def _remember(self, rooms: Mapping[RoomId, UserId]) -> None:
        self._known.update(rooms)
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
