"""Portals and ghosts, in memory.

The rule that must never break: they answer as `PortalStore` does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import asyncpg

from dm_bridge.direct.ledger import DMState
from dm_bridge.ids import ContactId, EventId, LoginId, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.store.logins import LoginState
from dm_bridge.store.portals import GhostRow, Membership, PortalRow, PortalState, PortalStore
from dm_bridge.testing.memory.database import MemoryDatabase

_NO_ROOM: dict[str, Any] = {
    "state": PortalState.RESERVED,
    "room": None,
    "membership": Membership.NONE,
    "crowded": False,
    "successor": None,
}


class MemoryPortalStore(PortalStore):
    """A `PortalStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._memory = database

    async def reserve(self, key: PortalKey, contact: ContactId, ghost: UserId) -> PortalRow:
        def work() -> PortalRow:
            tables = self._memory.tables
            if key.login not in tables.logins:
                raise asyncpg.ForeignKeyViolationError(f"no login {key.login}")
            fresh = PortalRow(
                key, contact, ghost, None, PortalState.RESERVED, Membership.NONE, False, None
            )
            return tables.portals.setdefault(key, fresh)

        return await self._memory.run(work)

    async def get(self, key: PortalKey) -> PortalRow | None:
        return await self._memory.run(lambda: self._memory.tables.portals.get(key))

    async def by_room(self, room: RoomId) -> PortalRow | None:
        return await self._memory.run(lambda: self._first(room=room))

    async def by_former_room(self, room: RoomId) -> PortalRow | None:
        def work() -> PortalRow | None:
            tables = self._memory.tables
            key = tables.former.get(room)
            return None if key is None else tables.portals.get(key)

        return await self._memory.run(work)

    async def by_successor(self, room: RoomId) -> PortalRow | None:
        return await self._memory.run(lambda: self._first(successor=room))

    def _first(self, **fields: object) -> PortalRow | None:
        for row in self._memory.tables.portals.values():
            if all(getattr(row, name) == value for name, value in fields.items()):
                return row
        return None

    async def of_login(self, login: LoginId) -> list[PortalRow]:
        def work() -> list[PortalRow]:
            rows = self._memory.tables.portals.values()
            return [row for row in rows if row.key.login == login and row.room is not None]

        return await self._memory.run(work)

    async def of_owner(self, owner: UserId) -> list[PortalRow]:
        def work() -> list[PortalRow]:
            tables = self._memory.tables
            return [
                row
                for row in tables.portals.values()
                if tables.logins[row.key.login].owner == owner
            ]

        return await self._memory.run(work)

    async def creating(self, owner: UserId) -> list[PortalRow]:
        rows = await self.of_owner(owner)
        return [row for row in rows if row.state is PortalState.CREATING]

    async def managed_without_login(self, owners: Collection[UserId] | None = None) -> list[RoomId]:
        def work() -> list[RoomId]:
            tables = self._memory.tables
            return [
                row.room
                for row in tables.portals.values()
                if tables.logins[row.key.login].state is LoginState.LOGGED_OUT
                and (owners is None or tables.logins[row.key.login].owner in owners)
                and row.room is not None
                and any(
                    row.room in rooms and rooms[row.room].state is not DMState.RETIRED
                    for rooms in tables.direct.values()
                )
            ]

        return await self._memory.run(work)

    async def set_creating(self, key: PortalKey) -> None:
        await self._set(key, state=PortalState.CREATING, room=None)

    async def set_open(self, key: PortalKey, room: RoomId, membership: Membership) -> None:
        await self._set(
            key,
            state=PortalState.OPEN,
            room=room,
            membership=membership,
            bot_joined=False,
            own_ghost=None,
            crowded=False,
            successor=None,
        )

    async def set_lost(self, key: PortalKey) -> None:
        await self._set(key, **_NO_ROOM)

    async def set_crowded(self, key: PortalKey, crowded: bool) -> None:
        await self._set(key, crowded=crowded)

    async def set_successor(self, key: PortalKey, room: RoomId | None) -> None:
        await self._set(key, successor=room, successor_at=self._memory.tables.clock())

    async def replace_room(self, key: PortalKey, old: RoomId, row: PortalRow | None) -> None:
        changes = {**_NO_ROOM, "bot_joined": False, "own_ghost": None}
        if row is not None:
            changes = {
                "state": PortalState.OPEN,
                "room": row.room,
                "membership": row.membership,
                "bot_joined": row.bot_joined,
                "own_ghost": row.own_ghost,
                "crowded": row.crowded,
                "successor": None,
            }

        def work() -> None:
            stored = self._memory.tables.portals.get(key)
            if stored is not None and stored.room == old:
                self._change(key, **changes)
                self._memory.tables.former.setdefault(old, key)

        await self._memory.run(work)

    async def former_rooms(self, key: PortalKey) -> list[RoomId]:
        def work() -> list[RoomId]:
            return [room for room, of in self._memory.tables.former.items() if of == key]

        return await self._memory.run(work)

    async def forget_former(self, room: RoomId) -> None:
        await self._memory.run(lambda: self._memory.tables.former.pop(room, None))

    async def move(self, key: PortalKey, new: PortalKey, contact: ContactId, ghost: UserId) -> bool:
        def work() -> bool:
            tables = self._memory.tables
            if new == key:
                self._change(key, contact=contact, ghost=ghost)
                return True
            taken = tables.portals.get(new)
            if taken is not None and taken.state is PortalState.RESERVED:
                self._delete(new)
            if key not in tables.portals or new in tables.portals:
                return False
            row = tables.portals.pop(key)
            tables.portals[new] = replace(row, key=new, contact=contact, ghost=ghost)
            for room, of in tables.former.items():
                if of == key:
                    tables.former[room] = new
            source, target = tables.inbox.get(key, {}), tables.inbox.setdefault(new, {})
            for remote, entry in list(source.items()):
                if entry.state != "waiting" and remote not in target:
                    target[remote] = source.pop(remote)
            return True

        return await self._memory.run(work)

    async def delete(self, key: PortalKey) -> None:
        await self._memory.run(lambda: self._delete(key))

    def _delete(self, key: PortalKey) -> None:
        tables = self._memory.tables
        tables.portals.pop(key, None)
        for room in [room for room, of in tables.former.items() if of == key]:
            del tables.former[room]

    async def set_membership(self, key: PortalKey, membership: Membership) -> None:
        await self._set(key, membership=membership)

    async def set_bot_joined(self, key: PortalKey, joined: bool) -> None:
        await self._set(key, bot_joined=joined)

    async def set_own_ghost(self, key: PortalKey, own_ghost: UserId | None) -> None:
        await self._set(key, own_ghost=own_ghost)

    async def set_shows_reads(self, key: PortalKey) -> None:
        await self._set(key, shows_reads=True)

    async def set_read(self, key: PortalKey, event: EventId) -> None:
        await self._set(key, read_event=event)

    async def set_private_name(self, key: PortalKey, name: str | None) -> None:
        await self._set(key, private_name=name)

    async def _set(self, key: PortalKey, **changes: Any) -> None:
        await self._memory.run(lambda: self._change(key, **changes))

    def _change(self, key: PortalKey, **changes: Any) -> None:
        portals = self._memory.tables.portals
        if key not in portals:
            return
        row = replace(portals[key], **changes)
        if row.room is not None and any(
            other.room == row.room for of, other in portals.items() if of != key
        ):
            raise asyncpg.UniqueViolationError(f"two portals in {row.room}")
        if (row.state is PortalState.OPEN) != (row.room is not None):
            raise asyncpg.CheckViolationError("a portal is open exactly while it has a room")
        portals[key] = row

    async def ghost(self, network: NetworkName, contact: ContactId, user_id: UserId) -> GhostRow:
        def work() -> GhostRow:
            ghosts = self._memory.tables.ghosts
            fresh = GhostRow(network, contact, user_id, None, False)
            return ghosts.setdefault((network, contact), fresh)

        return await self._memory.run(work)

    async def ghost_contact(self, user_id: UserId) -> ContactId | None:
        def work() -> ContactId | None:
            for row in self._memory.tables.ghosts.values():
                if row.user_id == user_id:
                    return row.contact
            return None

        return await self._memory.run(work)

    async def set_ghost(self, user_id: UserId, name: str | None) -> None:
        def work() -> None:
            ghosts = self._memory.tables.ghosts
            for key, row in ghosts.items():
                if row.user_id == user_id:
                    ghosts[key] = replace(row, name=name, registered=True)

        await self._memory.run(work)
